"""Requests, WebSockets and event streams with tokens of an issuer that publishes its keys."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from service.auth import Authenticator
from tests.graphql_app import GraphQLApp, Listener, listening
from tests.issuer_stand import EC_KEY, ED_KEY, IssuerStand, issuing, jwk, token

COUNT = {"query": "subscription { count(upto: 1) }"}
GOOD, FORGED = token(EC_KEY, "ES256", "one"), token(ED_KEY, "EdDSA", "one")


@pytest.fixture(scope="module")
async def listener() -> AsyncIterator[Listener]:
    async with listening() as listener:
        yield listener


@pytest.fixture
async def issuer() -> AsyncIterator[IssuerStand]:
    async with issuing() as stand:
        stand.keys = [jwk(EC_KEY, "one", "ES256")]
        yield stand


@pytest.fixture
def app(listener: Listener, issuer: IssuerStand) -> GraphQLApp:
    return listener.serve(GraphQLApp(authenticate=Authenticator(issuer.settings).authenticate))


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


async def test_while_the_issuer_is_away_clients_are_told_to_try_again(
    listener: Listener, app: GraphQLApp, issuer: IssuerStand
) -> None:
    issuer.answer_with(b"", status="502 Bad Gateway")
    for headers in ({}, {"accept": "text/event-stream"}):
        answer = await post(listener, GOOD, COUNT, **headers)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert await first_of_socket(app, GOOD) == 1013
    assert app.contexts == 0
