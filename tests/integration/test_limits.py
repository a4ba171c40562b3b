"""Limits as clients meet them: what is refused, how it is said over each transport, and what goes on."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import orjson
import pytest
import websockets
from starlette.applications import Starlette
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from indexes.ensure import ensure
from service.app import create_app
from service.backpressure import Strain
from service.dev.tokens import mint_token
from service.runtime import open_runtime
from service.settings import LimitsSettings, PerOwner, PerRole, Settings
from service.telemetry import Metrics
from service.transport.documents import Documents
from tests.api_client import ApiClient
from tests.integration.conftest import served
from tests.photos import small_photo

HELLO = "{ viewer { id bytesStored bytesAllowed } }"
DELETE_NOTHING = 'mutation { deleteMedia(input: {ids: [], idempotencyKey: "k"}) { userErrors { code } } }'
FOLLOW = "subscription { feedUpdates(purpose: COMMUNITY) { id } }"


@pytest.fixture(scope="module")
def limited(settings: Settings) -> Settings:
    limits = LimitsSettings(
        window_s=3_600,
        reads=PerRole(anonymous=20, user=60),
        writes=PerRole(anonymous=10, user=40_000),
        live=PerRole(user=2),
        failed_authentications=3,
        total_bytes=PerOwner(user=100_000),
        trusted_proxies=("127.0.0.0/8",),
        operations_at_once=5,
        sockets_at_once=3,
    )
    return settings.model_copy(update={"limits": limits})


@pytest.fixture(scope="module")
def app(limited: Settings) -> Starlette:
    return create_app(limited)


@pytest.fixture(scope="module")
async def url(app: Starlette, limited: Settings, ports: Iterator[int]) -> AsyncIterator[str]:
    async with open_runtime(limited, Metrics()) as runtime:
        await ensure(runtime.database.handle)
    async with served(app, next(ports)) as address:
        yield address


def token_of(settings: Settings, subject: str) -> str:
    return mint_token(settings.auth.issuers[0], subject)


async def ask(url: str, query: str = HELLO, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(timeout=30) as client:
        return await client.post(f"{url}/graphql", json={"query": query}, headers=headers)


def open_socket(url: str, **headers: str) -> websockets.connect:
    address = f"{url.replace('http', 'ws')}/graphql"
    return websockets.connect(address, subprotocols=[Subprotocol("graphql-transport-ws")], additional_headers=headers)


async def begin(socket: ClientConnection, token: str) -> None:
    said = {"authorization": f"Bearer {token}"}
    await socket.send(orjson.dumps({"type": "connection_init", "payload": said}).decode())


async def initialise(socket: ClientConnection, token: str) -> None:
    await begin(socket, token)
    assert orjson.loads(await socket.recv())["type"] == "connection_ack"


async def closed_with(socket: ClientConnection) -> int:
    with pytest.raises(ConnectionClosed) as closed:
        await socket.recv()
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


async def error_of(socket: ClientConnection, query: str, operation_id: str) -> str:
    message = {"id": operation_id, "type": "subscribe", "payload": {"query": query}}
    await socket.send(orjson.dumps(message).decode())
    answer = orjson.loads(await socket.recv())
    assert (answer["id"], answer["type"]) == (operation_id, "error")
    code: str = answer["payload"][0]["extensions"]["code"]
    return code


async def status_of_stream(url: str, **headers: str) -> int:
    accepted = {"Accept": "text/event-stream", **headers}
    async with (
        httpx.AsyncClient() as client,
        client.stream("POST", f"{url}/graphql", json={"query": FOLLOW}, headers=accepted) as answer,
    ):
        return answer.status_code


async def until_refused(url: str, query: str = HELLO, **headers: str) -> tuple[list[httpx.Response], httpx.Response]:
    answers: list[httpx.Response] = []
    for _ in range(100):
        answer = await ask(url, query, **headers)
        if answer.status_code == 429:
            return answers, answer
        answers.append(answer)
    raise AssertionError("nothing was refused")


def refusal(answer: httpx.Response) -> dict[str, Any]:
    [error] = answer.json()["errors"]
    extensions: dict[str, Any] = error["extensions"]
    return extensions


async def test_a_viewer_who_asks_for_too_much_is_told_when_to_come_back(url: str, limited: Settings) -> None:
    token = {"Authorization": f"Bearer {token_of(limited, 'anna')}", "Origin": "https://app.example"}
    answers, refused = await until_refused(url, **token)
    cost = answers[0].json()["extensions"]["cost"]["requested"]
    assert len(answers) == 60 // cost
    lefts = [int(re.fullmatch(r'"reads";r=(\d+);t=\d+', each.headers["ratelimit"])[1]) for each in answers]  # type: ignore[index]
    assert lefts == [60 - cost * n for n in range(1, len(answers) + 1)]
    assert {each.headers["ratelimit-policy"] for each in [*answers, refused]} == {'"reads";q=60;w=3600'}
    assert refused.headers["ratelimit"].startswith('"reads";r=0;t=')
    told = refusal(refused)
    assert (told["code"], told["retryable"]) == ("RATE_LIMITED", True)
    assert 0 <= int(refused.headers["retry-after"]) - told["retryAfterMs"] / 1_000 < 1
    # Other viewers, and what this one changes, have budgets of their own.
    assert (await ask(url, Authorization=f"Bearer {token_of(limited, 'ben')}")).status_code == 200
    written = await ask(url, DELETE_NOTHING, **token)
    assert written.status_code == 200
    assert written.headers["ratelimit-policy"] == '"writes";q=40000;w=3600'


async def test_browsers_may_read_the_headers(settings: Settings, url: str) -> None:
    answer = await ask(url, Origin=settings.http.allowed_origins[0], **{"X-Forwarded-For": "198.51.100.30"})
    exposed = {each.strip() for each in answer.headers["access-control-expose-headers"].split(",")}
    assert {"ratelimit", "ratelimit-policy", "retry-after"} <= exposed


async def test_who_does_not_say_who_they_are_is_counted_by_address(url: str) -> None:
    first, _ = await until_refused(url, **{"X-Forwarded-For": "203.0.113.1"})
    assert first
    assert (await ask(url, **{"X-Forwarded-For": "203.0.113.2"})).status_code == 200
    # A client that says more than its proxy does is still itself.
    made_up = {"X-Forwarded-For": "9.9.9.9, 203.0.113.1"}
    assert (await ask(url, **made_up)).status_code == 429
    await until_refused(url, **{"X-Forwarded-For": "2001:db8::1"})
    assert (await ask(url, **{"X-Forwarded-For": "2001:db8::ffff"})).status_code == 429


async def test_documents_that_are_refused_cost_something_and_are_not_read_without_end(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = {"X-Forwarded-For": "203.0.113.40"}
    answers, _ = await until_refused(url, "{ nonsense }", **here)
    assert len(answers) == 1
    # Whoever sends mutations with them has a second budget to use up.
    answers, _ = await until_refused(url, "mutation { nonsense }", **here)
    assert len(answers) == 1
    read: list[str] = []
    monkeypatch.setattr(Documents, "_parse", lambda _self, query: read.append(query))
    for text in ("{ other }", "mutation { other }"):
        refused = await ask(url, text, **here)
        assert (refused.status_code, refusal(refused)["code"]) == (429, "RATE_LIMITED")
    assert read == []


async def test_guesses_at_tokens_end_but_shut_out_nobody_behind_the_same_address(url: str, limited: Settings) -> None:
    here = {"X-Forwarded-For": "203.0.113.50"}
    answers, refused = await until_refused(url, Authorization="Bearer guess", **here)
    assert [each.status_code for each in answers] == [401] * 3
    assert refused.headers["ratelimit-policy"] == '"failed_authentications";q=3;w=3600'
    assert (await ask(url, Authorization=f"Bearer {token_of(limited, 'dora')}", **here)).status_code == 200
    # The same on sockets.
    async with open_socket(url, **here) as socket:
        await begin(socket, "guess")
        assert await closed_with(socket) == 1013
    async with open_socket(url, **here) as socket:
        await initialise(socket, token_of(limited, "dora"))
    async with open_socket(url, **{"X-Forwarded-For": "203.0.113.51"}) as socket:
        await begin(socket, "guess")
        assert await closed_with(socket) == 4403


async def test_sockets_at_once_are_bounded_for_each_of_many_at_an_address(url: str, limited: Settings) -> None:
    here = {"X-Forwarded-For": "203.0.113.60"}
    async with AsyncExitStack() as open_:
        held = [await open_.enter_async_context(open_socket(url, **here)) for _ in range(3)]
        with pytest.raises(InvalidStatus) as refused:
            await open_.enter_async_context(open_socket(url, **here))
        assert refused.value.response.status_code == 429
        # Whoever says who they are makes room for others, and has as many.
        for socket in held:
            await initialise(socket, token_of(limited, "gina"))
        more = await open_.enter_async_context(open_socket(url, **here))
        await begin(more, token_of(limited, "gina"))
        assert await closed_with(more) == 1013
        other = await open_.enter_async_context(open_socket(url, **here))
        await initialise(other, token_of(limited, "hugo"))
        # Documents that are refused cost something here too.
        for number, code in enumerate(("GRAPHQL_VALIDATION_FAILED", "RATE_LIMITED")):
            assert await error_of(other, "{ nonsense }", str(number)) == code


async def test_operations_at_once_are_bounded_over_all_transports_together(url: str) -> None:
    here = {"X-Forwarded-For": "203.0.113.70"}
    async with open_socket(url, **here) as socket:
        await socket.send('{"type": "connection_init"}')
        await socket.recv()
        for number in range(5):
            message = {"id": str(number), "type": "subscribe", "payload": {"query": FOLLOW}}
            await socket.send(orjson.dumps(message).decode())
        assert await error_of(socket, FOLLOW, "one too many") == "RATE_LIMITED"
        for query, accept in ((HELLO, "application/json"), (FOLLOW, "text/event-stream")):
            refused = await ask(url, query, Accept=accept, **here)
            assert (refused.status_code, refusal(refused)["code"]) == (429, "RATE_LIMITED")
            assert "5 operations" in refused.json()["errors"][0]["message"]
        assert (await ask(url, **{"X-Forwarded-For": "203.0.113.71"})).status_code == 200
        await socket.send('{"id": "0", "type": "complete"}')
        # Streams of those without a token are not charged here: it may be asked as often as it takes.
        async with asyncio.timeout(10):
            while await status_of_stream(url, **here) != 200:
                pass


async def test_on_a_socket_and_a_stream_it_is_the_operation_that_is_refused(url: str, limited: Settings) -> None:
    token = token_of(limited, "emil")
    async with open_socket(url) as socket:
        await initialise(socket, token)
        for number in range(3):
            message = {"id": str(number), "type": "subscribe", "payload": {"query": FOLLOW}}
            await socket.send(orjson.dumps(message).decode())
        # Nothing happens that the first two could tell.
        refused = orjson.loads(await socket.recv())
        assert refused["type"] == "error"
        [error] = refused["payload"]
        assert error["extensions"]["code"] == "RATE_LIMITED"
        assert error["extensions"]["retryAfterMs"] > 0
        # The socket itself stays, and so do other kinds of operations.
        await socket.send(orjson.dumps({"id": "q", "type": "subscribe", "payload": {"query": HELLO}}).decode())
        while (answer := orjson.loads(await socket.recv())).get("id") != "q":
            pass
        assert answer["payload"]["data"]["viewer"]["id"] == "emil"
    streamed = await ask(url, FOLLOW, Authorization=f"Bearer {token}", Accept="text/event-stream")
    assert streamed.status_code == 429
    assert refusal(streamed)["code"] == "RATE_LIMITED"


async def test_files_that_do_not_fit_are_refused_and_the_viewer_sees_what_is_stored(
    url: str, app: Starlette, limited: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = ApiClient(url, token_of(limited, "frida"))
    small, large = small_photo(1), small_photo(2) + b"\0" * 100_000
    payload = await client.create(large, small, key="quota")
    refused, granted = payload["outcomes"]
    assert refused["upload"] is None
    [problem] = refused["userErrors"]
    assert (problem["code"], problem["field"]) == ("QUOTA_EXCEEDED", ["files", "0", "byteSize"])
    # From now on workers are far behind: what has begun is finished, and what is deleted goes.
    monkeypatch.setattr(app.state.backpressure._gauges[Strain.QUEUE], "is_strained", True)
    held_back = await client.create(small_photo(3))
    [problem] = held_back["userErrors"]
    assert (problem["code"], problem["retryable"]) == ("TEMPORARILY_UNAVAILABLE", True)
    assert held_back["outcomes"] == []
    await client.put(granted["upload"], small)
    assert not (await client.complete(granted["upload"]["id"]))["userErrors"]
    viewer = (await client.run(HELLO))["viewer"]
    assert int(viewer["bytesStored"]) == len(small)
    assert int(viewer["bytesAllowed"]) == 100_000
    await client.run(
        'mutation($ids: [ID!]!) { deleteMedia(input: {ids: $ids, idempotencyKey: "gone"}) { userErrors { code } } }',
        ids=[granted["upload"]["media"]["id"]],
    )
    assert int((await client.run(HELLO))["viewer"]["bytesStored"]) == 0
