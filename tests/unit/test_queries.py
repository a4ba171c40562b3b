"""Reading: what the store is asked for, what is signed, what pages hold and what strangers get."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.global_id import encode_id
from service.access import ANONYMOUS, MODERATOR_ROLE, Viewer
from service.labels import labels_of
from tests.documents import ready_media
from tests.unit.conftest import Library

ANNA, BERT = Viewer("anna"), Viewer("bert")
MODERATOR = Viewer("mod", frozenset({MODERATOR_ROLE}))

CHOICE = {"purpose", *(f"renditions.{each}" for each in ("name", "format", "width", "bytes"))}
ALWAYS = {"_id", "owner_id", "status", "visibility"}


def projected(library: Library) -> set[str]:
    [(_, projection)] = library.media.finds
    return set(projection)


@pytest.mark.parametrize(
    ("selection", "paths"),
    [
        ("id", set()),
        ("title width", {"title", "content.width"}),
        ("status statusSequence statusHistory { at }", {"status_sequence", "status_history"}),
        ("thumbhash dominantColor", {"placeholder.thumbhash", "placeholder.dominant_color"}),
        ("display { url }", CHOICE | {"renditions.key"}),
        ("display { width }", CHOICE),
        ("... on Media { tags } ...More", {"tags", "alt_text"}),
        ("title @skip(if: true) tags @include(if: $yes)", {"tags"}),
        ("title @include(if: $no)", set()),
        ("original { url }", {"original.key", "failure.code"}),
        ("id __typename", set()),
    ],
)
async def test_sparse_fields_become_a_projection(library: Library, selection: str, paths: set[str]) -> None:
    await library.add(media := ready_media())
    query = f"""
    query Q($id: ID!, $yes: Boolean! = true, $no: Boolean! = false) {{
      media(id: $id) {{ ...All }} viewer @include(if: $no) {{ id }} v: viewer @include(if: $yes) {{ id }}
    }}
    fragment All on Media {{ {selection} }}
    """
    if "...More" in selection:
        query += " fragment More on Media { altText }"
    await library.run(query, id=encode_id("Media", media["_id"]))
    assert projected(library) == ALWAYS | paths


async def test_feed_projects_through_edges_and_nodes(library: Library) -> None:
    await library.add(ready_media())
    await library.run("{ feed(purpose: COMMUNITY) { edges { cursor node { title } } nodes { tags } } }")
    assert projected(library) == ALWAYS | {"title", "tags"}


async def test_rendition_width_is_not_the_width_of_the_media(library: Library) -> None:
    await library.add(ready_media())
    await library.run("{ feed(purpose: COMMUNITY) { nodes { renditions { width height } } } }")
    seen = {f"renditions.{each}" for each in ("name", "format", "width", "height")}
    assert projected(library) == ALWAYS | seen | {"purpose"}


@pytest.mark.parametrize("holder", ["display", "display(hint: {width: 300, network: TWO_G})", "renditions"])
@pytest.mark.parametrize(
    "selected", ["name", "format", "width", "height", "byteSize", "cacheKey", "url", "urlExpiresAt", "unsignedUrl"]
)
async def test_each_field_of_a_rendition_can_be_read_alone(library: Library, holder: str, selected: str) -> None:
    await library.add(ready_media())
    answer = await library.run(f"{{ feed(purpose: COMMUNITY) {{ nodes {{ it: {holder} {{ {selected} }} }} }} }}")
    assert selected == "unsignedUrl" or "None" not in str(answer)


@pytest.mark.parametrize(
    "selected",
    ["renditions { cacheKey url }", "renditions(names: [THUMBNAIL]) { cacheKey url }", "srcset(accept: [JPEG])"],
)
async def test_addresses_stay_the_same_while_more_renditions_are_made(library: Library, selected: str) -> None:
    media = ready_media()
    every = media["renditions"]
    # What makes it viewable comes first: JPEG, and no FULL.
    first = [each for each in every if each["format"] == "JPEG" and each["name"] != "FULL"]

    async def addresses() -> set[str]:
        node = (await library.run(f"{{ feed(purpose: COMMUNITY) {{ nodes {{ it: {selected} }} }} }}"))["feed"]["nodes"]
        it = node[0]["it"]
        return {part.split()[0] for part in it.split(", ")} if isinstance(it, str) else {each["url"] for each in it}

    await library.add({**media, "renditions": first})
    before = await addresses()
    await library.runtime.database.media.update_one({"_id": media["_id"]}, {"$set": {"renditions": every}})
    assert before < await addresses()


async def test_one_rendition_that_was_asked_for_has_a_short_address_of_its_own(library: Library) -> None:
    await library.add(ready_media())
    shown = await library.run(
        "{ feed(purpose: COMMUNITY) { nodes { renditions(names: [FEED], formats: [JPEG]) { url } display { url } } } }"
    )
    [media] = shown["feed"]["nodes"]
    assert media["renditions"] == [media["display"]]
    assert "Policy=" not in media["display"]["url"]


async def test_nothing_is_signed_that_was_not_selected(library: Library) -> None:
    await library.add(*(ready_media() for _ in range(3)))
    await library.run("{ feed(purpose: COMMUNITY) { nodes { display { width cacheKey } renditions { name } } } }")
    assert library.delivery.signed == 0
    answer = await library.run("{ feed(purpose: COMMUNITY) { nodes { renditions { url urlExpiresAt } } } }")
    # One signature a media, however many of its renditions were asked for.
    addresses = [each["url"] for media in answer["feed"]["nodes"] for each in media["renditions"]]
    assert len(addresses) > len({address.partition("?")[2] for address in addresses}) == 3


async def test_private_is_indistinguishable_from_unknown(library: Library) -> None:
    private = ready_media(visibility="PRIVATE")
    await library.add(private)
    query = "query Q($id: ID!) { media(id: $id) { id } node(id: $id) { id } nodes(ids: [$id]) { id } }"
    nothing = {"media": None, "node": None, "nodes": [None]}
    unknown = encode_id("Media", ready_media()["_id"])
    for viewer in (BERT, ANONYMOUS):
        for asked in (encode_id("Media", private["_id"]), unknown, "rubbish", "", "TWVkaWE6eA=="):
            assert await library.run(query, viewer, id=asked) == nothing
    for viewer in (ANNA, MODERATOR):
        assert (await library.run(query, viewer, id=encode_id("Media", private["_id"])))["media"] is not None


async def test_what_says_more_than_the_picture_is_for_its_owner(library: Library) -> None:
    await library.add(media := ready_media())
    query = "query Q($id: ID!) { media(id: $id) { location { latitude longitude } sha256 title } }"
    asked = encode_id("Media", media["_id"])
    for viewer in (BERT, ANONYMOUS):
        assert (await library.run(query, viewer, id=asked))["media"] == {
            "location": None,
            "sha256": None,
            "title": "Miso",
        }
    for viewer in (ANNA, MODERATOR):
        assert (await library.run(query, viewer, id=asked))["media"] == {
            "location": {"latitude": 52.5, "longitude": 13.4},
            "sha256": "a" * 64,
            "title": "Miso",
        }


@pytest.mark.parametrize("status", ["UPLOADED", "PROCESSING", "FAILED", "QUARANTINED"])
async def test_only_ready_media_are_ever_signed(library: Library, status: str) -> None:
    await library.add(media := ready_media(status=status))
    query = "query Q($id: ID!) { media(id: $id) { display { url } renditions { url } srcset original { url } } }"
    for viewer in (ANNA, MODERATOR):
        assert (await library.run(query, viewer, id=encode_id("Media", media["_id"])))["media"] == {
            "display": None,
            "renditions": [],
            "srcset": None,
            "original": None,
        }


async def test_feed_holds_what_is_ready_and_visible_newest_first(library: Library) -> None:
    first, second = ready_media(), ready_media()
    mine = ready_media(owner_id="bert", visibility="PRIVATE")
    await library.add(
        first,
        second,
        mine,
        ready_media(visibility="PRIVATE"),
        ready_media(status="PROCESSING", owner_id="bert"),
        ready_media(purpose="PROFILE"),
    )
    feed = "{ feed(purpose: COMMUNITY) { nodes { id } } }"
    ids = [encode_id("Media", media["_id"]) for media in (mine, second, first)]
    assert [node["id"] for node in (await library.run(feed, BERT))["feed"]["nodes"]] == ids
    assert [node["id"] for node in (await library.run(feed))["feed"]["nodes"]] == ids[1:]


async def test_feed_hint_reaches_every_display_and_can_be_overridden(library: Library) -> None:
    await library.add(ready_media())
    query = """{
      feed(purpose: COMMUNITY, hint: { width: 100 }) {
        nodes { display { name } big: display(hint: { width: 1000 }) { name } }
      }
    }"""
    [node] = (await library.run(query))["feed"]["nodes"]
    assert node == {"display": {"name": "THUMBNAIL"}, "big": {"name": "FULL"}}


@pytest.mark.parametrize("hint", ["width: 0", "width: -5", "width: 99999", "width: 1, devicePixelRatio: 1e999"])
async def test_an_odd_hint_is_told_and_nothing_is_signed(library: Library, hint: str) -> None:
    await library.add(ready_media())
    feed = await library.post(f"{{ feed(purpose: COMMUNITY, hint: {{ {hint} }}) {{ nodes {{ display {{ url }} }} }} }}")
    assert "must be" in feed.errors[0].message
    assert library.media.finds == []
    display = f"{{ feed(purpose: COMMUNITY) {{ nodes {{ id display(hint: {{ {hint} }}) {{ url }} }} }} }}"
    result = await library.post(display)
    assert "must be" in result.errors[0].message
    assert result.data["feed"]["nodes"][0]["display"] is None
    assert library.delivery.signed == 0


async def test_srcset_is_ready_for_html(library: Library) -> None:
    await library.add(ready_media())
    [node] = (await library.run("{ feed(purpose: COMMUNITY) { nodes { srcset(accept: [WEBP]) } } }"))["feed"]["nodes"]
    candidates = node["srcset"].split(", ")
    assert [candidate.split(" ")[1] for candidate in candidates] == ["720w", "1080w"]
    assert all(".webp?" in candidate for candidate in candidates)


@pytest.mark.parametrize("first", [0, -1, 101])
async def test_page_size_is_bounded(library: Library, first: int) -> None:
    result = await library.post("query Q($n: Int) { feed(purpose: COMMUNITY, first: $n) { nodes { id } } }", n=first)
    assert "1 to 100" in result.errors[0].message
    assert library.media.finds == []


@given(st.one_of(st.text(max_size=40), st.binary(max_size=40).map(lambda raw: base64.urlsafe_b64encode(raw).decode())))
@settings(max_examples=60, deadline=None)
def test_rubbish_cursors_are_refused(cursor: str) -> None:
    from schema.cursors import decode_cursor
    from service.errors import InvalidInput

    with pytest.raises(InvalidInput):
        decode_cursor(cursor)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
async def test_pages_partition_the_list_while_it_changes(library: Library, size: int) -> None:
    documents = [ready_media() for _ in range(7)]
    await library.add(*documents)
    query = """query Q($n: Int, $after: String) {
      mediaList(first: $n, after: $after) { nodes { id } pageInfo { hasNextPage hasPreviousPage endCursor } }
    }"""
    seen: list[str] = []
    after, pages = None, 0
    while True:
        page = (await library.run(query, n=size, after=after))["mediaList"]
        seen += [node["id"] for node in page["nodes"]]
        assert page["pageInfo"]["hasPreviousPage"] is (pages > 0)
        # Newer ones that arrive meanwhile belong to pages already read.
        await library.add(ready_media())
        pages, after = pages + 1, page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert seen == [encode_id("Media", media["_id"]) for media in reversed(documents)]


@pytest.mark.parametrize(
    ("narrowed", "expected"),
    [
        ({"purpose": "PROFILE"}, {"profile"}),
        ({"ownerId": "bert"}, {"bert"}),
        ({"captureId": "other"}, {"capture"}),
        ({"subject": {"type": "post", "id": "2"}}, {"subject"}),
        ({"albumId": "winter"}, {"album"}),
        ({"tags": ["dog"]}, {"tags"}),
        ({"tags": ["dog", "garden"], "ownerId": "anna"}, {"tags"}),
        ({"tags": ["dog", "dog"]}, {"tags"}),
        ({"label": "dog"}, {"sure", "unsure"}),
        ({"label": " dog "}, {"sure", "unsure"}),
        ({"label": "dog", "minConfidence": 0.65}, {"sure"}),
        ({"label": "dog", "minConfidence": 0.95}, set()),
        ({"status": ["PROCESSING"]}, {"processing"}),
        ({"kind": "VIDEO"}, set()),
        ({"createdBefore": "2020-01-01T00:00:00Z"}, set()),
        ({"createdAfter": "2100-01-01T00:00:00+01:00"}, set()),
    ],
)
async def test_filters(library: Library, narrowed: dict[str, Any], expected: set[str]) -> None:
    await library.add(
        ready_media(title="plain"),
        ready_media(title="profile", purpose="PROFILE"),
        ready_media(title="bert", owner_id="bert"),
        ready_media(title="capture", capture_id="other"),
        ready_media(title="subject", subject={"type": "post", "id": "2"}),
        ready_media(title="album", album_ids=["summer", "winter"]),
        ready_media(title="tags", tags=["garden", "dog"]),
        ready_media(title="processing", status="PROCESSING"),
        # One found a dog, the other is sure of something else.
        ready_media(title="sure", labels=labels_of({"dog": 0.9})),
        ready_media(title="unsure", labels=labels_of({"dog": 0.6, "cat": 0.99})),
    )
    data = await library.run(
        "query Q($filter: MediaFilter) { mediaList(filter: $filter) { nodes { title } } }", ANNA, filter=narrowed
    )
    assert {node["title"] for node in data["mediaList"]["nodes"]} == expected


@pytest.mark.parametrize(
    ("narrowed", "field", "reason"),
    [
        ({"tags": ["dog", "garden"]}, [], "Add `ownerId`"),
        ({"tags": ["dog"], "kind": "IMAGE"}, [], "Add `ownerId`"),
        ({"label": "dog", "tags": ["dog"]}, [], "Add `ownerId`"),
        ({"minConfidence": 0.5}, ["label"], "give one"),
        ({"label": " "}, ["label"], "give one"),
        ({"label": "dog", "minConfidence": 1.5}, ["minConfidence"], "0 to 1"),
        ({"label": "dog", "minConfidence": -0.1}, ["minConfidence"], "0 to 1"),
        ({"tags": [f"tag-{n}" for n in range(21)]}, ["tags"], "`tags` takes at most 20"),
    ],
)
async def test_filters_that_no_index_serves_are_refused(
    library: Library, narrowed: dict[str, Any], field: list[str], reason: str
) -> None:
    query = "query Q($filter: MediaFilter) { mediaList(filter: $filter) { nodes { id } } }"
    result = await library.post(query, ANNA, filter=narrowed)
    [error] = result.errors
    assert reason in error.message
    assert (error.original_error.code, error.original_error.field) == ("INVALID_INPUT", ("filter", *field))


async def test_filters_never_widen_what_a_viewer_may_see(library: Library) -> None:
    await library.add(ready_media(visibility="PRIVATE"), ready_media(status="FAILED"))
    query = "query Q($filter: MediaFilter) { mediaList(filter: $filter) { nodes { id } } }"
    for narrowed in ({"ownerId": "anna"}, {"status": ["FAILED", "READY"]}, {"status": ["DELETED"]}, {}):
        assert (await library.run(query, BERT, filter=narrowed))["mediaList"]["nodes"] == []


async def test_nodes_keep_their_order_and_their_gaps(library: Library) -> None:
    first, second = ready_media(), ready_media()
    await library.add(first, second)
    ids = [
        encode_id("Media", second["_id"]),
        "rubbish",
        encode_id("Media", first["_id"]),
        encode_id("Media", second["_id"]),
    ]
    nodes = (await library.run("query Q($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=ids))["nodes"]
    assert [node and node["id"] for node in nodes] == [ids[0], None, ids[2], ids[3]]
    result = await library.post("query Q($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=ids * 26)
    assert "at most 100" in result.errors[0].message


async def test_viewer(library: Library) -> None:
    assert (await library.run("{ viewer { id roles } }", MODERATOR))["viewer"] == {"id": "mod", "roles": ["moderator"]}
    assert (await library.run("{ viewer { id roles } }"))["viewer"] is None
