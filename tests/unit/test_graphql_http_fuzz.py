"""Nothing a client can send makes the endpoint answer 5xx."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.graphql_app import GraphQLApp

PARAMETERS = ("query", "variables", "extensions", "operationName")

anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
TOKENS = """
{ } ( ) [ ] : ! = | & $ ... @include @skip @defer fragment on query mutation subscription hello photos first $n Photo
Query id 1 -1 1e999 99999999999999999999 similar search where also title null true "x" "\\ud800" "\\u{110000}" 😀 A
__typename __schema count rename if:
"""
tokens = st.sampled_from([*TOKENS.split(), "\x00", "\ufeff", '"""x"""'])
documents = st.lists(tokens, max_size=30).map(" ".join) | st.text(max_size=40)
quick = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(GraphQLApp().asgi)
    async with httpx.AsyncClient(transport=transport, base_url="http://api.example") as client:
        yield client


def check(response: httpx.Response) -> None:
    assert response.status_code < 500
    assert "data" in response.json() or response.json()["errors"]


@quick
@given(
    body=st.binary(max_size=300), content_type=st.just("application/json") | st.text(st.characters(max_codepoint=126))
)
async def test_random_bytes(client: httpx.AsyncClient, body: bytes, content_type: str) -> None:
    headers = {"content-type": content_type.encode("ascii", "ignore").translate(None, bytes(range(32)))}
    check(await client.post("/graphql", content=body, headers=headers))


@quick
@given(body=anything | st.dictionaries(st.sampled_from(PARAMETERS), anything))
async def test_random_json(client: httpx.AsyncClient, body: Any) -> None:
    content = json.dumps(body).encode()
    check(await client.post("/graphql", content=content, headers={"content-type": "application/json"}))


@quick
@given(query=documents, variables=st.dictionaries(st.sampled_from(["n", "w", "x"]), anything), accept=st.booleans())
async def test_random_documents(client: httpx.AsyncClient, query: str, variables: Any, accept: bool) -> None:
    content = json.dumps({"query": query, "variables": variables}).encode()
    headers = {"content-type": "application/json", "accept": "application/graphql-response+json" if accept else "*/*"}
    check(await client.post("/graphql", content=content, headers=headers))


@quick
@given(value=anything)
async def test_random_variables_for_every_kind_of_argument(client: httpx.AsyncClient, value: Any) -> None:
    query = "query($n: Int, $s: String, $w: Where) { photos(first: $n) { id } hello(name: $s) search(where: $w) }"
    for name in ("n", "s", "w"):
        content = json.dumps({"query": query, "variables": {name: value}}).encode()
        check(await client.post("/graphql", content=content, headers={"content-type": "application/json"}))


@quick
@given(query_string=st.binary(max_size=200), accept=st.text(st.characters(min_codepoint=32, max_codepoint=126)))
async def test_random_query_strings(client: httpx.AsyncClient, query_string: bytes, accept: str) -> None:
    for query in (
        quote(query_string),
        "query=" + quote(query_string),
        "query={hello}&variables=" + quote(query_string),
    ):
        check(await client.get(f"/graphql?{query}", headers={"accept": accept}))
