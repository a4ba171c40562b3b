"""Requests that are over leave nothing large behind, however seldom the garbage collector comes by."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from graphql.execution.values import VariableValues

from service.transport.documents import DocumentRefused, GraphQLRequest
from service.transport.received import COLLECT_AFTER_BYTES
from tests.graphql_app import ANONYMOUS, GraphQLApp


@pytest.fixture
def app() -> GraphQLApp:
    return GraphQLApp()


@pytest.fixture
def nobody_collects() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def alive(kind: type) -> int:
    return sum(isinstance(each, kind) for each in gc.get_objects())


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ("query ($a: Int) { photos(first: $a) { id } }", {"a": "no number"}),
        ("query ($t: [String!]!) { photos { tagged(tags: $t) } }", {"t": ["a", 1]}),
        ("{ bug }", {}),
        ("{ requiredBug }", {}),
        ("{ missing }", {}),
        ("{ photos(first: 99999) { id } }", {}),
        ("{ nope }", {}),
        ("{", {}),
    ],
)
@pytest.mark.usefixtures("nobody_collects")
async def test_errors_do_not_keep_their_request(app: GraphQLApp, query: str, variables: dict[str, Any]) -> None:
    context = {"viewer": ANONYMOUS, "renamed": [], "alive": [], "number": 1}
    before = alive(GraphQLRequest)
    for _ in range(3):
        with suppress(DocumentRefused):
            await app.operations.run(app.operations.prepare(GraphQLRequest(query, variables)), context)
    assert alive(GraphQLRequest) == before


@pytest.mark.usefixtures("nobody_collects")
async def test_large_bodies_bring_the_collector(app: GraphQLApp) -> None:
    size, before = 240_000, alive(VariableValues)
    most = 0
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app.asgi), base_url="http://api.example") as client:
        for number in range(150):
            body = {"query": "query ($n: String!) { hello(name: $n) }", "variables": {"n": "x" * size}}
            assert (await client.post("/graphql", json=body)).status_code == 200
            most = most if number % 10 else max(most, alive(VariableValues) - before)
    assert most <= COLLECT_AFTER_BYTES / size + 1
