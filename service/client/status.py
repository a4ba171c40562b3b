"""Following media over graphql-transport-ws: https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Literal

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from service.client.answers import StatusUpdate
from service.client.connection import Connection
from service.client.documents import MEDIA_STATUS
from service.client.errors import ApiError, ClientError, Unreachable
from service.client.graphql_http import api_error
from service.client.outages import Outages, in_words
from service.client.retrying import pause

_SUBPROTOCOL = Subprotocol("graphql-transport-ws")
_OPERATION = "1"
_FORBIDDEN = 4403
# What the server closes with when this client breaks the protocol: it would again.
_OUR_FAULT = range(4400, 4500)
_INIT_TIMEOUT = 4408


async def follow(
    connection: Connection,
    media_ids: Sequence[str],
    *,
    after: str | None,
    delays_s: Sequence[float],
    outages: Outages,
) -> AsyncGenerator[StatusUpdate]:
    """Updates until every media is at a terminal status; reconnects and resumes without a gap.

    Raises ApiError, or Unreachable if the API stays away through all of `delays_s` (seconds, begun anew by an update).
    """
    cursor, failures = after, 0
    while True:
        try:
            async with aclosing(_follow_once(connection, media_ids, cursor)) as updates:
                async for update in updates:
                    cursor, failures = update.cursor, 0
                    outages.note(connection.place, None)
                    yield update
        except ClientError as error:
            outages.note(connection.place, error)
            if not error.retryable or failures == len(delays_s):
                raise
            await pause(error, delays_s[failures])
            failures += 1
        else:
            return


async def _follow_once(
    connection: Connection, media_ids: Sequence[str], after: str | None
) -> AsyncGenerator[StatusUpdate]:
    try:
        # No proxy of the environment can reach what listens on this machine's loopback.
        proxy: Literal[True] | None = None if connection.is_local else True
        async with connect(connection.websocket_url, subprotocols=[_SUBPROTOCOL], proxy=proxy) as socket:
            await _subscribe(socket, connection, {"ids": list(media_ids), "after": after})
            while (message := await _receive(socket))["type"] != "complete":
                yield _update(message)
    except ConnectionClosed as closed:
        raise _closing_error(closed) from closed
    except InvalidStatus as refused:
        raise _handshake_error(connection, refused.response.status_code) from refused
    except (OSError, InvalidHandshake) as error:
        reason = f"does not answer ({in_words(error)})"
        raise Unreachable(f"{connection.place} {reason}.", reason=reason) from error


async def _subscribe(socket: ClientConnection, connection: Connection, variables: dict[str, Any]) -> None:
    params = {name.lower(): value for name, value in connection.headers.items()}
    await _send(socket, {"type": "connection_init", "payload": params})
    if (await _receive(socket))["type"] != "connection_ack":
        raise ApiError("PROTOCOL_ERROR", "The API does not speak graphql-transport-ws as it should.")
    payload = {"query": MEDIA_STATUS, "variables": variables}
    await _send(socket, {"type": "subscribe", "id": _OPERATION, "payload": payload})


async def _send(socket: ClientConnection, message: dict[str, Any]) -> None:
    await socket.send(orjson.dumps(message).decode())


async def _receive(socket: ClientConnection) -> dict[str, Any]:
    """The next message that is not just a sign of life."""
    while True:
        message: dict[str, Any] = orjson.loads(await socket.recv())
        match message["type"]:
            case "ping":
                await _send(socket, {"type": "pong"})
            case "pong":
                continue
            case _:
                return message


def _update(message: dict[str, Any]) -> StatusUpdate:
    payload = message.get("payload")
    if message["type"] == "error" and isinstance(payload, list):
        raise api_error(payload)
    if message["type"] != "next" or not isinstance(payload, dict):
        raise ApiError("PROTOCOL_ERROR", "The API does not speak graphql-transport-ws as it should.")
    if errors := payload.get("errors"):
        raise api_error(errors)
    return StatusUpdate.model_validate(payload["data"]["mediaStatus"])


def _closing_error(closed: ConnectionClosed) -> ClientError:
    code, reason = (1006, "") if closed.rcvd is None else (closed.rcvd.code, closed.rcvd.reason)
    if code == _FORBIDDEN:
        return ApiError("UNAUTHENTICATED", "The API does not take this token, or no longer; get a new one.")
    if code in _OUR_FAULT and code != _INIT_TIMEOUT:
        return ApiError("PROTOCOL_ERROR", f"The API closed the connection: {reason or code}.")
    lost = f"({reason or code})"
    return Unreachable(f"The connection to the API was lost {lost}.", reason=f"has ended the connection {lost}")


def _handshake_error(connection: Connection, status: int) -> ClientError:
    # A draining server refuses handshakes with 403; another is about to take its place.
    if status >= 500 or status in {403, 408, 429}:
        reason = f"answers with status {status}"
        return Unreachable(f"{connection.place} {reason}.", reason=reason)
    message = f"{connection.websocket_url} answers with status {status} instead of a WebSocket; is the address right?"
    return ApiError("NOT_GRAPHQL", message)
