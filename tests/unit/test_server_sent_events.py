"""GraphQL over Server-Sent Events: its framing, who gets a stream, and how one ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from service.auth import Unauthenticated
from service.settings import HttpSettings
from service.transport import server_sent_events
from service.transport.documents import GraphQLRequest
from service.transport.http_request import RequestRefused
from service.transport.server_sent_events import EventStreams
from tests.graphql_app import GraphQLApp, Listener, authenticate_by_name, listening

STREAM = {"accept": "text/event-stream"}
COUNT = {"query": "subscription ($n: Int!) { count(upto: $n) }", "variables": {"n": 2}}
FOREVER = {"query": "subscription { forever }"}
# What urql sends with a query.
URQL = (
    "application/graphql-response+json, application/graphql+json, application/json, text/event-stream, multipart/mixed"
)
COMPLETE = "event: complete\ndata: \n\n"


@pytest.fixture(scope="module")
async def listener() -> AsyncIterator[Listener]:
    async with listening() as listener:
        yield listener


@pytest.fixture
def app(listener: Listener) -> GraphQLApp:
    return listener.serve(GraphQLApp())


@pytest.fixture
async def client(listener: Listener, app: GraphQLApp) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://{listener.address}", timeout=10, trust_env=False) as client:
        yield client


async def ask(client: httpx.AsyncClient, body: object, **headers: str) -> httpx.Response:
    return await client.post("/graphql", json=body, headers=STREAM | headers)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is awaited happens in the server's tasks
            await asyncio.sleep(0.005)


def payloads(text: str) -> list[Any]:
    """The answers in a stream, read as the specification of event streams says."""
    found = []
    for block in text.split("\n\n"):
        lines = block.split("\n")
        if "event: next" in lines:
            [data] = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
            found.append(json.loads(data))
    return found


async def test_a_subscription_is_a_stream_of_lines(client: httpx.AsyncClient) -> None:
    response = await ask(client, COUNT)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-store, no-transform"
    assert response.headers["x-accel-buffering"] == "no"
    assert "content-encoding" not in response.headers
    assert response.text == (
        ':\n\nevent: next\ndata: {"data":{"count":0}}\n\nevent: next\ndata: {"data":{"count":1}}\n\n' + COMPLETE
    )


async def test_queries_and_mutations_are_one_event(client: httpx.AsyncClient, app: GraphQLApp) -> None:
    text = (await ask(client, {"query": 'mutation { rename(title: "a\\n\\nb") }'})).text
    assert payloads(text) == [{"data": {"rename": "a\n\nb"}}]
    assert text.endswith(COMPLETE)
    assert app.renamed == ["a\n\nb"]


async def test_a_page_follows_by_get_but_changes_nothing_so(client: httpx.AsyncClient, app: GraphQLApp) -> None:
    followed = await client.get("/graphql", params={"query": "subscription { count(upto: 1) }"}, headers=STREAM)
    assert payloads(followed.text) == [{"data": {"count": 0}}]
    changed = await client.get("/graphql", params={"query": 'mutation { rename(title: "x") }'}, headers=STREAM)
    assert changed.status_code == 405
    assert app.renamed == []


@pytest.mark.parametrize(
    "accept",
    [
        "application/json",
        "*/*",
        "text/*, */*",
        "application/json, text/event-stream",
        URQL,
        "text/event-stream;q=0.5, */*",
        "text/event-stream;q=0, application/json",
    ],
)
async def test_plain_requests_never_turn_into_streams(client: httpx.AsyncClient, accept: str) -> None:
    answer = await ask(client, {"query": "{ hello }"}, accept=accept)
    assert answer.json()["data"] == {"hello": "hello world"}
    assert "json" in answer.headers["content-type"]


async def test_subscriptions_are_streams_for_who_would_read_one(client: httpx.AsyncClient) -> None:
    both = await ask(client, COUNT, accept="application/json, text/event-stream")
    assert len(payloads(both.text)) == 2
    neither = await ask(client, COUNT, accept="application/json")
    assert neither.json()["errors"][0]["extensions"]["code"] == "SUBSCRIPTION_NEEDS_WEBSOCKET"


async def test_wrong_documents_are_told_of_within_a_stream(client: httpx.AsyncClient) -> None:
    for query, code in (("{ nothing }", "GRAPHQL_VALIDATION_FAILED"), ("{", "GRAPHQL_PARSE_FAILED")):
        response = await ask(client, {"query": query})
        assert response.status_code == 200
        [refused] = payloads(response.text)
        assert refused["errors"][0]["extensions"]["code"] == code
        assert response.text.endswith(COMPLETE)
    wrong_variable = await ask(client, {**COUNT, "variables": {}})
    assert payloads(wrong_variable.text)[0]["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


async def test_wrong_requests_and_tokens_get_no_stream(client: httpx.AsyncClient) -> None:
    assert (await ask(client, COUNT, authorization="Bearer rubbish")).status_code == 401
    assert (await ask(client, [COUNT])).status_code == 400
    assert (await client.post("/graphql", content=b"{}", headers=STREAM)).status_code == 415


async def test_bugs_are_masked(client: httpx.AsyncClient) -> None:
    text = (await ask(client, {"query": "subscription { photos }"})).text
    first, failed = payloads(text)
    assert first == {"data": {"photos": 1}}
    assert failed["errors"][0]["extensions"]["code"] == "INTERNAL"
    assert "hunter2" not in text
    assert text.endswith(COMPLETE)


async def test_a_client_that_leaves_ends_its_subscription(client: httpx.AsyncClient, app: GraphQLApp) -> None:
    async with client.stream("POST", "/graphql", json=FOREVER, headers=STREAM):
        await eventually(lambda: app.alive == [1])
    await eventually(lambda: app.alive == [])
    assert app.streams._open == set()


async def test_silence_is_filled_with_comments(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_sent_events, "HEARTBEAT_S", 0.02)
    heard = ""
    async with client.stream("POST", "/graphql", json=FOREVER, headers=STREAM) as response:
        async for text in response.aiter_text():
            heard += text
            if heard.count(":\n\n") > 4:
                break
    assert payloads(heard) == [{"data": {"forever": 0}}]


async def test_a_stream_does_not_outlive_its_token(client: httpx.AsyncClient, app: GraphQLApp) -> None:
    text = (await ask(client, FOREVER, authorization="Bearer brief")).text
    assert payloads(text)[-1]["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    assert text.endswith(COMPLETE)
    assert app.alive == []


async def test_a_server_that_stops_says_so_and_opens_no_more(client: httpx.AsyncClient, app: GraphQLApp) -> None:
    following = asyncio.create_task(ask(client, FOREVER))
    await eventually(lambda: app.alive == [1])
    app.streams.drain()
    text = (await following).text
    assert payloads(text)[-1]["errors"][0]["extensions"] == {"code": "TEMPORARILY_UNAVAILABLE", "retryable": True}
    # What has not completed is asked for again by those who do so by themselves.
    assert "event: complete" not in text
    refused = await ask(client, FOREVER)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert app.alive == []


@pytest.mark.parametrize("is_drained", [True, False])
async def test_what_ends_streams_ends_those_that_are_being_admitted(app: GraphQLApp, is_drained: bool) -> None:
    waiting, gate = asyncio.Event(), asyncio.Event()
    left: list[str] = []

    async def begin(_scope: object, _viewer: object, _operation: object, until: ExitStack) -> None:
        until.callback(left.append, "admitted")
        waiting.set()
        await gate.wait()

    admission: Any = SimpleNamespace(begin=begin)
    streams = EventStreams(
        app.operations, authenticate_by_name, app._viewer_context, app.settings, app.metrics, admission=admission
    )
    scope = {"type": "http", "method": "POST", "path": "/graphql", "query_string": b"", "headers": []}
    operation = app.operations.prepare(GraphQLRequest(FOREVER["query"]))
    opening = asyncio.create_task(streams.open(Request(scope), operation))
    await waiting.wait()
    if is_drained:
        streams.drain()
    else:
        streams.end_withdrawn(lambda _viewer: False)
    gate.set()
    with pytest.raises(RequestRefused if is_drained else Unauthenticated):
        await opening
    assert (left, len(streams._open)) == (["admitted"], 0)


async def test_streams_are_counted_and_limited(listener: Listener) -> None:
    app = listener.serve(GraphQLApp(HttpSettings(max_sockets=1)))
    async with httpx.AsyncClient(base_url=f"http://{listener.address}", timeout=10, trust_env=False) as client:
        async with client.stream("POST", "/graphql", json=FOREVER, headers=STREAM):
            await eventually(lambda: app.alive == [1])
            assert b"media_event_streams 1.0" in app.metrics.render()[0]
            assert (await ask(client, FOREVER)).status_code == 503
        await eventually(lambda: app.alive == [])
        assert (await ask(client, COUNT)).status_code == 200


async def test_a_browser_goes_on_after_the_last_event(client: httpx.AsyncClient) -> None:
    query = "subscription ($after: String) { steps(after: $after) { cursor } }"
    first = await ask(client, {"query": query})
    assert "id: c1\nevent: next\n" in first.text
    again = await ask(client, {"query": query}, **{"last-event-id": "c1"})
    assert [each["data"]["steps"]["cursor"] for each in payloads(again.text)] == ["c2"]
    # Where the operation has no such variable, nothing is promised.
    assert "id:" not in (await ask(client, {"query": "subscription { steps { cursor } }"})).text
