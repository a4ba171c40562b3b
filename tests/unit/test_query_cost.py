"""What an operation of the service's own schema weighs: lists at their largest, sizes in whatever form they come."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Final

import orjson
import pytest
from graphql import GraphQLList, GraphQLNonNull, GraphQLObjectType, get_named_type

from resolvers.api import build_schema
from service.access import ANONYMOUS
from service.client.documents import CREATE_UPLOADS, FEED, FOLLOWED_MEDIA, SIGN_UPLOAD_PARTS, UPLOAD
from service.delivery import Delivery
from service.dev.environment import dev_delivery
from service.dev.keys import new_keys
from service.documents import MediaDocument
from service.settings import HttpSettings, LimitsSettings
from service.transport.documents import DocumentRefused, Documents, GraphQLRequest
from service.transport.field_costs import ARGUMENT_SURCHARGES, ITEM_SURCHARGES, LIST_SIZES, SURCHARGES
from service.transport.json_response import encode_json
from service.transport.operations import Operations
from service.transport.sizes import _SIZE_ARGUMENTS
from tests.documents import ready_media

SCHEMA = build_schema()
LIMIT = HttpSettings().max_query_cost
DOCUMENTS = Documents(SCHEMA._schema, HttpSettings(max_query_tokens=20_000, max_query_cost=10**12))

TEN_MEGABYTES: Final = 10_000_000

SIZED = """query ($n: Int) {
  feed(purpose: COMMUNITY, first: $n) { nodes { id title annotations(first: $n) { edges { node { id } } } } }
}"""
CARD = """query ($first: Int!) {
  feed(purpose: COMMUNITY, first: $first, hint: {width: 360, devicePixelRatio: 2, accept: [WEBP]}) {
    nodes {
      id altText title width height thumbhash dominantColor
      display { url width height cacheKey urlExpiresAt }
      large: display(hint: {width: 1080}) { url width height cacheKey urlExpiresAt }
      srcset(accept: [WEBP])
      renditions { name format width height byteSize url urlExpiresAt cacheKey }
    }
    pageInfo { hasNextPage endCursor }
  }
}"""


def cost(query: str, variables: dict[str, Any] | None = None) -> int:
    return DOCUMENTS.prepare(GraphQLRequest(query, variables or {})).cost


def cost_of_media(selection: str) -> int:
    """What a field of a media weighs."""
    return cost(f'{{ media(id: "x") {{ {selection} }} }}') - 1


@pytest.mark.parametrize("sent", ["100.0", "1e2", "1.0E+2"])
def test_a_size_costs_the_same_however_json_writes_it(sent: str) -> None:
    variables = orjson.loads(f'{{"n": {sent}}}')
    assert isinstance(variables["n"], float)
    assert cost(SIZED, variables) == cost(SIZED, {"n": 100}) > LIMIT


@pytest.mark.parametrize("value", [{"n": 1}, 99.5, {}])
def test_what_is_no_size_costs_the_largest_page(value: Any) -> None:
    assert cost(SIZED, {"n": value}) == cost(SIZED, {"n": 100})


def test_null_costs_what_leaving_it_out_does() -> None:
    literal = "{ feed(purpose: COMMUNITY%s) { nodes { id annotations%s { nodes { id } } } } }"
    expected = cost(literal % ("", ""))
    assert cost(literal % (", first: null", "(first: null)")) == expected
    variable = "query ($n: Int = 1) " + literal % (", first: $n", "(first: $n)")
    assert cost(variable, {"n": None}) == expected
    assert cost(variable) < expected


def _named_lists() -> list[tuple[str, str]]:
    return [
        (type_.name, name)
        for type_ in SCHEMA._schema.type_map.values()
        if isinstance(type_, GraphQLObjectType) and not type_.name.startswith("__")
        for name, field in type_.fields.items()
        if isinstance(field.type.of_type if isinstance(field.type, GraphQLNonNull) else field.type, GraphQLList)
        and not set(field.args) & set(_SIZE_ARGUMENTS)
    ]


def test_every_list_has_a_size() -> None:
    assert sorted(LIST_SIZES) == sorted(_named_lists())
    fields = SCHEMA._schema.type_map
    assert all(name in getattr(fields[parent], "fields", ()) for parent, name in SURCHARGES)
    assert all(argument in fields[parent].fields[name].args for parent, name, argument in ARGUMENT_SURCHARGES)
    for (parent, name), (items, _) in ITEM_SURCHARGES.items():
        assert items in get_named_type(fields[parent].fields[name].args["input"].type).fields


def test_mutations_are_charged_by_what_they_do_and_not_by_what_they_answer() -> None:
    files = [{"contentType": "image/jpeg", "byteSize": 1} for _ in range(20)]
    head = 'idempotencyKey: "k", purpose: COMMUNITY, files:'
    literals = ", ".join(['{contentType: "image/jpeg", byteSize: 1}'] * 20)
    literal = f"{{{head} [{literals}]}}"

    def asking(variable: str, given: str) -> str:
        return f"mutation {variable} {{ createUploads(input: {given}) {{ __typename }} }}"

    asked: list[tuple[str, dict[str, Any]]] = [
        (asking("($i: CreateUploadsInput!)", "$i"), {"i": {"files": files}}),
        (asking("", literal), {}),
        (asking("($f: [UploadFileInput!]!)", f"{{{head} $f}}"), {"f": files}),
        (asking(f"($i: CreateUploadsInput! = {literal})", "$i"), {}),
    ]
    assert all(2_000 < cost(text, variables) < 3_000 for text, variables in asked)
    assert cost(asked[0][0], {"i": {"files": files[0]}}) == cost(asked[0][0], {"i": {"files": files[:1]}}) < 400
    # What a person may do at once: twenty batches of twenty files a minute, each part of which is signed and completed.
    assert LimitsSettings().writes.user > 20 * 3_000 + 20 * 20 * 400
    for mutation, items, least in (
        ("deleteMedia", {"ids": ["x"] * 100}, 5_000),
        ("annotateMedia", {"annotations": [{"label": "x"}] * 1_000}, 2_000),
        ("embedMedia", {"vector": [0.1] * 512}, 500),
        ("signUploadParts", {"partNumbers": list(range(100))}, 700),
    ):
        kind = f"{mutation[0].upper()}{mutation[1:]}Input"
        text = f"mutation($i: {kind}!) {{ {mutation}(input: $i) {{ __typename }} }}"
        assert least < cost(text, {"i": items}) < 20_000


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ("", 10),
        ("(names: [THUMBNAIL])", 3),
        ("(names: THUMBNAIL)", 3),
        ("(formats: [WEBP])", 3),
        ("(names: [FEED], formats: [WEBP])", 1),
        ("(names: [FEED, THUMBNAIL], formats: [WEBP, JPEG])", 4),
        ("(names: null, formats: [AVIF, WEBP, JPEG, MP4])", 10),
    ],
)
def test_renditions_count_as_many_as_the_filters_leave(filters: str, count: int) -> None:
    both = cost_of_media(f"renditions{filters} {{ url width }}")
    one = cost_of_media(f"renditions{filters} {{ url }}")
    assert both - one == count


def test_filters_in_variables_may_let_everything_through() -> None:
    query = 'query ($n: [RenditionName!]) { media(id: "x") { renditions(names: $n) { url } } }'
    assert cost(query, {"n": ["FEED"]}) == 1 + cost_of_media("renditions { url }")


def test_lists_of_values_and_long_values_weigh_more_than_one() -> None:
    assert cost_of_media("tags") == 30
    assert cost_of_media("albumIds tags title") == 51
    assert cost_of_media("srcset") == 3


def test_what_clients_ask_for_fits() -> None:
    assert cost(CARD, {"first": 100}) < LIMIT
    hundred: dict[str, Any] = {"first": 100, "purpose": "COMMUNITY", "ids": ["x"] * 100, "id": "x", "input": {}}
    for query in (FEED, FOLLOWED_MEDIA, CREATE_UPLOADS, SIGN_UPLOAD_PARTS, UPLOAD):
        assert cost(query, hundred) < LIMIT


def test_many_aliases_of_a_list_are_refused() -> None:
    aliases = " ".join(f"r{number}: renditions {{ url width height }}" for number in range(30))
    with pytest.raises(DocumentRefused) as refused:
        Documents(SCHEMA._schema, HttpSettings()).prepare(
            GraphQLRequest(f"{{ feed(purpose: COMMUNITY, first: 100) {{ nodes {{ {aliases} }} }} }}")
        )
    assert refused.value.errors[0].extensions == {"code": "QUERY_TOO_COMPLEX"}


LARGEST = (
    "renditions { url }",
    "renditions(names: [FEED], formats: [WEBP]) { url }",
    "display { url }",
    "srcset(accept: [WEBP])",
    "altText",
    "title",
    "tags",
)


def _large_media() -> MediaDocument:
    """As large as a media gets: every rendition, and the longest texts in one-byte characters."""
    media = ready_media(alt_text="a" * 1_000, title="t" * 200, tags=["g" * 50] * 30)
    renditions = media["renditions"]
    media["renditions"] = (renditions * 10)[:10]
    return media


@pytest.mark.parametrize("selection", LARGEST)
async def test_the_largest_answers_within_the_limit_are_bounded(selection: str) -> None:
    page = [_large_media() for _ in range(101)]

    async def list_page(*_arguments: object, **_options: object) -> list[MediaDocument]:
        return page

    stores = SimpleNamespace(media=SimpleNamespace(list_page=list_page))
    context = SimpleNamespace(
        viewer=ANONYMOUS,
        first_pages=None,
        media_memory=None,
        change_feed=None,
        delivery=Delivery(dev_delivery(new_keys(), "https://media.example.org")),
        runtime=SimpleNamespace(stores=stores),
    )
    one = cost(f"{{ feed(purpose: COMMUNITY, first: 100) {{ nodes {{ {selection} }} }} }}")
    aliases = " ".join(f"a{number}: {selection}" for number in range((LIMIT - 200) // (one - 101)))
    operations = Operations(SCHEMA, HttpSettings())
    operation = operations.prepare(
        GraphQLRequest(f"{{ feed(purpose: COMMUNITY, first: 100) {{ nodes {{ {aliases} }} }} }}")
    )
    answer = await operations.run(operation, context)
    assert "errors" not in answer.body
    assert len(encode_json(answer.body)) < TEN_MEGABYTES


def test_a_wider_search_for_look_alikes_costs_more() -> None:
    def page(arguments: str, **variables: Any) -> int:
        declared = "($wide: Boolean!)" if variables else ""
        fields = f"nodes {{ {arguments} {{ distance }} }}"
        return cost(f"query {declared} {{ feed(purpose: COMMUNITY, first: 20) {{ {fields} }} }}", variables or None)

    usual = page("similar")
    assert usual < LIMIT / 2
    assert page("similar(includeTransformed: false)") == usual
    assert page("similar(maxDistance: 10)") == usual + 20 * 300
    assert page("similar(includeTransformed: true)") == usual + 20 * 1_300 > LIMIT
    # What a variable says is not known where documents are weighed once.
    assert page("similar(includeTransformed: $wide)", wide=False) > LIMIT


def test_the_largest_requests_of_annotations_may_have_all_of_their_answers() -> None:
    """Also beside as much of the media as clients show."""
    annotation = "__typename id label confidence source createdAt text boundingBox { __typename x y width height }"
    errors = "userErrors { __typename code message field retryable retryAfterMs }"
    box = {"x": 0.1, "y": 0.1, "width": 0.1, "height": 0.1}
    said = {"label": "x", "confidence": 0.5, "text": "x", "boundingBox": box}
    given = {"idempotencyKey": "k", "mediaId": "m", "source": "model:x@1", "annotations": [said] * 1_000}
    media = f"media {{ id annotations(first: 100) {{ nodes {{ {annotation} }} }} }}"
    fields = f"{{ {media} annotations {{ {annotation} }} {errors} }}"
    annotate = f"mutation ($input: AnnotateMediaInput!) {{ annotateMedia(input: $input) {fields} }}"
    assert LIMIT / 2 < cost(annotate, {"input": given}) <= LIMIT

    ids = {"idempotencyKey": "k", "ids": ["a"] * 1_000}
    delete = (
        f"mutation ($input: DeleteAnnotationsInput!) {{ deleteAnnotations(input: $input) {{ deletedIds {errors} }} }}"
    )
    assert LIMIT / 5 < cost(delete, {"input": ids}) <= LIMIT
