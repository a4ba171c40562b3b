"""What an operation may cost: refused before it runs, in time linear in its text."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from graphql import get_introspection_query

from service.settings import HttpSettings
from service.transport.documents import DocumentRefused, Documents, GraphQLRequest
from tests.graphql_app import GraphQLApp

JSON = "application/json"


@pytest.fixture(scope="module")
def app() -> GraphQLApp:
    return GraphQLApp()


async def send(app: GraphQLApp, query: str, **parameters: Any) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app.asgi), base_url="http://api.example") as client:
        return await client.post("/graphql", json={"query": query, **parameters}, headers={"accept": JSON})


def code_of(response: httpx.Response) -> str:
    assert response.status_code == 400, response.text
    return str(response.json()["errors"][0]["extensions"]["code"])


def calls_made_by(work: Callable[[], object]) -> int:
    """How many functions `work` calls: its cost, whatever else the machine is doing."""
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def cost_of_preparing(app: GraphQLApp, query: str) -> int:
    """Function calls it takes to accept or refuse a document."""

    def prepare() -> None:
        with contextlib.suppress(DocumentRefused):
            app.operations.prepare(GraphQLRequest(query))

    return calls_made_by(prepare)


def doubling(levels: int, *, field: str) -> str:
    """A document of 2^levels fields in a few lines per level."""
    spread = "{ ...F%d }" if field else "...F%d"
    lines = []
    for level in range(levels):
        inner = spread % (level + 1) if level < levels - 1 else ("{ id }" if field else "id")
        lines.append(f"fragment F{level} on Photo {{ a: {field}{inner} b: {field}{inner} }}")
    return "{ photos(first: 1) { ...F0 } } " + " ".join(lines)


NESTED = {
    "selections": "{ photos " + "{ similar " * 10_000 + "{ id }" + "}" * 10_001,
    "a list": "{ search(where: {also: " + "[" * 10_000 + "]" * 10_000 + "}) }",
    "an object": "{ search(where: " + "{also: " * 10_000 + "null" + "}" * 10_000 + ") }",
    "inline fragments": "{ " + "... { " * 10_000 + "hello" + " }" * 10_001,
    "types": "query($x: " + "[" * 10_000 + "Int" + "]" * 10_000 + ") { hello }",
    "fewer selections": "{ photos " + "{ similar " * 150 + "{ id }" + "}" * 151,
    "a chain of fragments": "{ ...F0 } "
    + " ".join(f"fragment F{n} on Query {{ ...F{n + 1} }}" for n in range(220))
    + " fragment F220 on Query { hello }",
}


@pytest.mark.parametrize("what", NESTED)
async def test_deep_nesting_is_400(app: GraphQLApp, what: str) -> None:
    assert code_of(await send(app, NESTED[what])) in ("QUERY_TOO_LONG", "QUERY_TOO_DEEP")


async def test_deep_variables_are_400(app: GraphQLApp) -> None:
    where: dict[str, Any] = {}
    for _ in range(400):
        where = {"also": [where]}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app.asgi), base_url="http://api.example") as client:
        response = await client.post(
            "/graphql",
            json={"query": "query($w: Where) { search(where: $w) }", "variables": {"w": where}},
            headers={"accept": "application/graphql-response+json"},
        )
    assert response.status_code == 400


async def test_too_many_tokens_or_comments_are_400(app: GraphQLApp) -> None:
    for query in ("{ " + "hello " * 3000 + "}", "#\n" * 3000 + "{ hello }"):
        assert code_of(await send(app, query)) == "QUERY_TOO_LONG"


async def test_depth_is_counted_through_fragments(app: GraphQLApp) -> None:
    deep = "{ photos { ...A } } fragment A on Photo { similar { similar { similar { ...B } } } } fragment B on Photo { "
    fits, exceeds = deep + "similar { " * 11 + "id" + " }" * 12, deep + "similar { " * 12 + "id" + " }" * 13
    small = GraphQLApp(HttpSettings(max_query_cost=10**30))
    assert "QUERY_TOO_DEEP" not in (await send(small, fits.replace("similar {", "similar(first: 1) {"))).text
    assert code_of(await send(small, exceeds)) == "QUERY_TOO_DEEP"


@pytest.mark.parametrize("field", ["similar(first: 1)", ""])
async def test_doubling_fragments_are_weighed_in_no_time(app: GraphQLApp, field: str) -> None:
    if not field:
        query = "{ photos(first: 1) { ...F0 } } " + " ".join(
            f"fragment F{n} on Photo {{ ...F{n + 1} ...F{n + 1} }}" for n in range(40)
        )
        query += " fragment F40 on Photo { id }"
    else:
        query = doubling(14, field=field)
    assert cost_of_preparing(app, query) < 100_000
    assert code_of(await send(app, query)) == "QUERY_TOO_COMPLEX"


async def test_cycles_are_validation_errors_not_loops(app: GraphQLApp) -> None:
    query = "{ photos { ...A } } fragment A on Photo { similar { ...B } } fragment B on Photo { similar { ...A ...A } }"
    response = await send(app, query)
    assert response.json()["errors"][0]["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"


@pytest.mark.parametrize(
    ("query", "variables", "refused"),
    [
        ("{ photos(first: 10) { similar(first: 10) { id } } }", {}, False),
        ("{ photos(first: 100) { similar(first: 100) { id title } } }", {}, True),
        ("{ photos { similar { similar { similar { similar { id } } } } } }", {}, True),
        ("query($n: Int!) { photos(first: $n) { id } }", {"n": 100}, False),
        ("query($n: Int!) { photos(first: $n) { id } }", {"n": 10**9}, True),
        ("query($n: Int = 99999) { photos(first: $n) { id } }", {}, True),
        ("query($n: Int = 99999) { photos(first: $n) { id } }", {"n": 2}, False),
        ("query($n: Int) { photos(first: $n) { similar(first: $n) { id title } } }", {"n": 150}, True),
        ("{ photos(first: 99999999999999999999999999) { id } }", {}, True),
    ],
)
async def test_page_sizes_multiply(app: GraphQLApp, query: str, variables: dict[str, Any], refused: bool) -> None:
    response = await send(app, query, variables=variables)
    assert ("QUERY_TOO_COMPLEX" in response.text) is refused


async def test_a_remembered_document_is_weighed_with_each_requests_variables(app: GraphQLApp) -> None:
    query = "query($n: Int!) { photos(first: $n) { id title } }"
    assert (await send(app, query, variables={"n": 2})).status_code == 200
    assert code_of(await send(app, query, variables={"n": 50_000})) == "QUERY_TOO_COMPLEX"
    assert (await send(app, query, variables={"n": 2})).json()["data"]["photos"]


async def test_root_fields_are_bounded_through_aliases_and_fragments(app: GraphQLApp) -> None:
    aliases = " ".join(f'a{n}: rename(title: "x")' for n in range(21))
    for query in (f"mutation {{ {aliases} }}", f"mutation {{ ...A }} fragment A on Mutation {{ ... {{ {aliases} }} }}"):
        assert code_of(await send(app, query)) == "TOO_MANY_ROOT_FIELDS"
    assert app.renamed == []


async def test_the_standard_introspection_query_fits(app: GraphQLApp) -> None:
    response = await send(app, get_introspection_query(input_value_deprecation=True, specified_by_url=True))
    assert response.json()["data"]["__schema"]


QUADRATIC = {
    "one field many times": "{ photos(first: 1) { " + "id " * 1900 + "} }",
    "selections to merge": "{ " + "photos(first: 1) { similar(first: 1) { id title } } " * 19 + "}",
    "conflicts": "{ photos(first: 1) { " + "a: id a: title " * 300 + "} }",
    "unknown fields": "{ photos { " + " ".join(f"x{n}" for n in range(1900)) + " } }",
}


@pytest.mark.parametrize("what", QUADRATIC)
async def test_validation_does_not_keep_the_event_loop(app: GraphQLApp, what: str) -> None:
    assert cost_of_preparing(app, QUADRATIC[what]) < 500_000
    response = await send(app, QUADRATIC[what])
    assert response.status_code in (200, 400)
    assert len(response.json().get("errors", [])) <= 21


def test_documents_are_parsed_once_and_forgotten_when_many() -> None:
    app = GraphQLApp()
    documents: Documents = app.operations._documents
    first = documents.prepare(GraphQLRequest("{ hello }"))
    assert documents.prepare(GraphQLRequest("{ hello }")).document is first.document
    for number in range(20):
        documents.prepare(GraphQLRequest("{ hello } #" + "x" * 10_000 + str(number)))
    assert documents._characters == sum(map(len, documents._known)) <= 128_000
    assert documents.prepare(GraphQLRequest("{ hello }")).document is not first.document


def test_refused_documents_are_not_remembered() -> None:
    documents = GraphQLApp().operations._documents
    for query in ("{", "{ nope }", "{ photos(first: 100000) { id } }"):
        with pytest.raises(DocumentRefused):
            documents.prepare(GraphQLRequest(query))
    assert not documents._known


@pytest.mark.parametrize("fields", [1, 10])
async def test_large_variables_are_refused_before_they_are_read_for_every_field(app: GraphQLApp, fields: int) -> None:
    aliases = " ".join(f"a{n}: rename(title: $title)" for n in range(fields))
    query = f"mutation($title: String!, $rest: [String!]) {{ {aliases} }}"
    many = {"title": "x", "rest": ["y"] * (12_000 // fields)}
    assert code_of(await send(app, query, variables=many)) == "VARIABLES_TOO_LARGE"
    assert app.renamed == []


async def test_an_answer_says_what_it_cost_and_a_refusal_what_it_would_have(app: GraphQLApp) -> None:
    query = "query($n: Int!) { photos(first: $n) { id title } }"

    async def cost_of(query: str, **variables: Any) -> Any:
        return (await send(app, query, variables=variables)).json().get("extensions", {}).get("cost")

    assert await cost_of("{ hello }") == {"requested": 1, "limit": 20_000}
    assert await cost_of(query, n=10) == {"requested": 21, "limit": 20_000}
    assert await cost_of(query, n=20) == {"requested": 41, "limit": 20_000}
    assert await cost_of(query, n=10**6) == {"requested": 2_000_001, "limit": 20_000}
    assert await cost_of("{ missing }") == {"requested": 1, "limit": 20_000}
    assert await cost_of("{ nope }") is None


async def test_twenty_doubling_fragments_take_milliseconds(app: GraphQLApp) -> None:
    query = "{ photos(first: 1) { ...F0 } } " + " ".join(
        f"fragment F{n} on Photo {{ ...F{n + 1} ...F{n + 1} }}" for n in range(20)
    )
    assert cost_of_preparing(app, query + " fragment F20 on Photo { id }") < 20_000


@pytest.mark.parametrize("literal", [True, False])
async def test_long_lists_count_for_every_object_they_are_read_for(app: GraphQLApp, literal: bool) -> None:
    """A page of a hundred would otherwise have a list of thousands converted a hundred times, for each alias."""
    tags = ["a"] * 400
    aliases = " ".join(f"t{n}: tagged(tags: {json.dumps(tags) if literal and not n else '$tags'})" for n in range(2))
    query = f"query($tags: [String!]!) {{ photos(first: 100) {{ {aliases} }} }}"
    assert code_of(await send(app, query, variables={"tags": tags})) == "QUERY_TOO_COMPLEX"
    few = query.replace(json.dumps(tags), "$tags")
    assert (await send(app, few, variables={"tags": ["a"] * 20})).status_code == 200
