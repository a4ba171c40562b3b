"""Requests, WebSockets and event streams with tokens of an issuer that publishes its keys."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from service.access import Viewer
from service.auth import Authenticator
from service.transport.socket_session import SocketEnd, SocketSession
from tests.graphql_app import GraphQLApp, Listener, listening
from tests.issuer_stand import EC_KEY, ED_KEY, IssuerStand, jwk, token

COUNT = {"query": "subscription { count(upto: 1) }"}
FOREVER = {"query": "subscription { forever }"}
GOOD, FORGED = token(EC_KEY, "ES256", "one"), token(ED_KEY, "EdDSA", "one")


@pytest.fixture(scope="module")
async def listener() -> AsyncIterator[Listener]:
    async with listening() as listener:
        yield listener


@pytest.fixture
def authenticator(issuer: IssuerStand) -> Authenticator:
    return Authenticator(issuer.settings)


@pytest.fixture
def app(listener: Listener, authenticator: Authenticator) -> GraphQLApp:
    app = listener.serve(GraphQLApp(authenticate=authenticator.authenticate))
    authenticator.on_withdrawal(lambda: app.streams.end_withdrawn(authenticator.still_holds))
    authenticator.on_withdrawal(lambda: app.sockets.end_withdrawn(authenticator.still_holds))
    return app


async def post(listener: Listener, bearer: str, body: Any, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
        headers["authorization"] = f"Bearer {bearer}"
        return await client.post(f"http://{listener.address}/graphql", json=body, headers=headers)


async def first_of_socket(app: GraphQLApp, bearer: str) -> Any:
    """The type of the answer to `connection_init`, or the code that the socket is closed with."""
    async with connect(app.socket_url, subprotocols=[Subprotocol("graphql-transport-ws")], proxy=None) as socket:
        await socket.send(json.dumps({"type": "connection_init", "payload": {"authToken": bearer}}))
        try:
            return json.loads(await socket.recv())["type"]
        except ConnectionClosed:
            return socket.close_code


async def test_requests(listener: Listener, app: GraphQLApp) -> None:
    assert (await post(listener, GOOD, {"query": "{ __typename }"})).status_code == 200
    contexts = app.contexts
    refused = await post(listener, FORGED, {"query": "{ __typename }"})
    assert (refused.status_code, refused.json()["errors"][0]["extensions"]["code"]) == (401, "UNAUTHENTICATED")
    assert app.contexts == contexts


async def test_sockets(app: GraphQLApp) -> None:
    assert await first_of_socket(app, GOOD) == "connection_ack"
    assert await first_of_socket(app, FORGED) == 4403
    assert app.contexts == 0


async def test_event_streams(listener: Listener, app: GraphQLApp) -> None:
    streamed = await post(listener, GOOD, COUNT, accept="text/event-stream")
    assert 'data: {"data":{"count":0}}' in streamed.text
    assert (await post(listener, FORGED, COUNT, accept="text/event-stream")).status_code == 401


async def end_of_stream(listener: Listener, bearer: str, started: asyncio.Event) -> str:
    """All that an endless stream sends until the server ends it; `started` once it flows."""
    headers = {"authorization": f"Bearer {bearer}", "accept": "text/event-stream"}
    text = ""
    async with (
        httpx.AsyncClient(timeout=10, trust_env=False) as client,
        client.stream("POST", f"http://{listener.address}/graphql", json=FOREVER, headers=headers) as answer,
    ):
        async for chunk in answer.aiter_text():
            text += chunk
            if "data:" in text:
                started.set()
    return text


@asynccontextmanager
async def following(app: GraphQLApp, bearer: str) -> AsyncIterator[ClientConnection]:
    """A socket with an endless subscription that has sent its first event."""
    async with connect(app.socket_url, subprotocols=[Subprotocol("graphql-transport-ws")], proxy=None) as socket:
        await socket.send(json.dumps({"type": "connection_init", "payload": {"authToken": bearer}}))
        await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": FOREVER}))
        assert [json.loads(await socket.recv())["type"] for _ in range(2)] == ["connection_ack", "next"]
        yield socket


async def test_what_is_open_ends_with_the_key_that_it_was_opened_with(
    listener: Listener, app: GraphQLApp, issuer: IssuerStand, authenticator: Authenticator
) -> None:
    issuer.keys.append(jwk(ED_KEY, "two", "EdDSA"))
    new, [keys] = token(ED_KEY, "EdDSA", "two"), authenticator._published.values()
    async with asyncio.timeout(10), following(app, GOOD) as old_socket, following(app, new) as new_socket:
        started = [asyncio.Event(), asyncio.Event()]
        old_stream, new_stream = (
            asyncio.create_task(end_of_stream(listener, bearer, event))
            for bearer, event in zip((GOOD, new), started, strict=True)
        )
        await asyncio.gather(*(event.wait() for event in started))
        # Both keys at once change nothing, the same keys once more neither.
        await keys.refresh()
        issuer.keys = issuer.keys[1:]
        await keys.refresh()
        assert '"code":"UNAUTHENTICATED"' in (ended := await old_stream)
        assert ended.endswith("event: complete\ndata: \n\n")
        with pytest.raises(ConnectionClosed):
            await old_socket.recv()
        assert (old_socket.close_code, old_socket.close_reason) == (4403, "Token withdrawn")
        assert await first_of_socket(app, GOOD) == 4403
        await (await new_socket.ping())
        assert not new_stream.done()
        assert await first_of_socket(app, new) == "connection_ack"
        # Keys that nobody could fetch for too long are no fault of the token.
        issuer.answer_with(b"", status="502 Bad Gateway")
        keys._max_age_s = -1
        await keys.refresh()
        assert '"code":"TEMPORARILY_UNAVAILABLE"' in (ended := await new_stream)
        assert "event: complete" not in ended
        with pytest.raises(ConnectionClosed):
            await new_socket.recv()
        assert new_socket.close_code == 1013
    assert app.alive == []


class Heedless:
    """A client that goes on sending after the close frame."""

    def __init__(self) -> None:
        self.sends: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.told: list[str] = []

    async def receive(self) -> dict[str, str]:
        return {"type": "websocket.receive", "text": json.dumps(await self.sends.get())}

    async def send_text(self, text: str) -> None:
        self.told.append(json.loads(text)["type"])

    async def close(self, code: int, _reason: str) -> None:
        self.told.append(str(code))


def renaming(title: str) -> dict[str, Any]:
    return {"type": "subscribe", "id": title, "payload": {"query": f'mutation {{ rename(title: "{title}") }}'}}


async def test_a_closed_socket_runs_nothing_more(app: GraphQLApp, authenticator: Authenticator) -> None:
    client: Any = Heedless()
    session = SocketSession(
        client, app.operations, authenticator.authenticate, app._viewer_context, app.settings, lambda _: None
    )
    client.sends.put_nowait({"type": "connection_init", "payload": {"authToken": GOOD}})
    client.sends.put_nowait(renaming("in-time"))
    serving = asyncio.create_task(session.serve())
    async with asyncio.timeout(10):
        while "complete" not in client.told:  # noqa: ASYNC110 - what is awaited happens in another task
            await asyncio.sleep(0.002)
        await session.end(SocketEnd(4403, "Token withdrawn"))
        client.sends.put_nowait(renaming("late"))
        await serving
    assert app.renamed == ["in-time"]
    assert client.told == ["connection_ack", "next", "complete", "4403"]


async def test_nothing_is_sent_after_the_end_of_the_token_however_late_its_timer(
    app: GraphQLApp,
) -> None:
    """As where the event loop has so much to do that the event of a subscription comes up before the timer."""
    client: Any = Heedless()
    started = asyncio.Event()

    async def brief(_token: str | None) -> Viewer:
        return Viewer("anna", expires_at=datetime.now(UTC) + timedelta(seconds=0.05))

    async def late(*_: object) -> Any:
        started.set()
        time.sleep(0.06)  # noqa: ASYNC251 - the loop is held up on purpose
        return app._context(client, Viewer("anna"))

    session = SocketSession(client, app.operations, brief, late, app.settings, lambda _: None)
    client.sends.put_nowait({"type": "connection_init"})
    client.sends.put_nowait({"type": "subscribe", "id": "1", "payload": {"query": "{ hello }"}})
    async with asyncio.timeout(10):
        await session.serve()
    assert started.is_set()
    assert client.told == ["connection_ack", "4403"]


async def test_while_the_issuer_is_away_clients_are_told_to_try_again(
    listener: Listener, app: GraphQLApp, issuer: IssuerStand
) -> None:
    issuer.answer_with(b"", status="502 Bad Gateway")
    for headers in ({}, {"accept": "text/event-stream"}):
        answer = await post(listener, GOOD, COUNT, **headers)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert await first_of_socket(app, GOOD) == 1013
    assert app.contexts == 0
