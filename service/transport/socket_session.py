"""One graphql-transport-ws connection: its messages, its operations, and the codes it closes with."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson
import structlog
from graphql import GraphQLError, OperationType
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected
from uuid6 import uuid7

from service.access import Viewer
from service.auth import Unauthenticated
from service.errors import MediaServiceError, RateLimited, TemporarilyUnavailable
from service.settings import HttpSettings
from service.transport.admission import Admission
from service.transport.bearer import token_of_params
from service.transport.documents import DocumentRefused, GraphQLRequest, Operation
from service.transport.http_request import RequestRefused, parse_parameters
from service.transport.json_response import encode_json
from service.transport.operations import Answer, Operations
from service.transport.problems import format_errors, format_exception
from service.transport.received import received_bytes

GOING_AWAY = 1001
TOO_BIG = 1009
# Clients connect again after it, as after other codes of its range that tell of no mistake of theirs.
TRY_AGAIN_LATER = 1013
INVALID = 4400
UNAUTHORIZED = 4401
FORBIDDEN = 4403
INIT_TIMEOUT = 4408
ALREADY_EXISTS = 4409
TOO_MANY_INITS = 4429
INTERNAL = 4500

# RFC 6455: a control frame carries 125 bytes, two of which are the code.
_MAX_REASON_BYTES = 123
_MAX_ID_CHARACTERS = 200

log = structlog.get_logger("service.websocket")


class _Close(Exception):
    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason


class SocketEnd(NamedTuple):
    """What a socket is closed with."""

    code: int
    reason: str


class SocketSession:
    """Serves one accepted socket until either side closes it."""

    def __init__(
        self,
        socket: WebSocket,
        operations: Operations,
        authenticate: Callable[[str | None], Awaitable[Viewer]],
        get_context: Callable[[WebSocket, Viewer], Awaitable[object]],
        settings: HttpSettings,
        count: Callable[[OperationType], None],
        *,
        admission: Admission | None = None,
    ) -> None:
        self._socket = socket
        self._operations = operations
        self._authenticate = authenticate
        self._get_context = get_context
        self._settings = settings
        self._count = count
        self._admission = admission
        self._viewer: Viewer | None = None
        self._init_received = False
        # In the event loop's time; None while the token, if any, does not run out.
        self._expiry: float | None = None
        self._running: dict[str, asyncio.Task[None]] = {}
        # Also those that were told to stop and have not yet: they still hold resources.
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def serve(self) -> None:
        """Read messages until the socket closes, then stop every operation and wait for it."""
        try:
            async with asyncio.timeout(self._settings.socket_init_timeout_s) as deadline:
                while True:
                    message = await self._receive()
                    # Closed from elsewhere, which a client need not heed.
                    if self._closed:
                        return
                    await self._handle(message)
                    if self._viewer is not None:
                        deadline.reschedule(self._expiry)
        except TimeoutError:
            if self._viewer is None:
                await self.close(INIT_TIMEOUT, "Connection initialisation timeout")
            else:
                await self.close(FORBIDDEN, "Token expired")
        except _Close as close:
            await self.close(close.code, close.reason)
        except (WebSocketDisconnect, WebSocketDisconnected):
            self._closed = True
        except Exception:
            log.exception("websocket session crashed")
            await self.close(INTERNAL, "Internal server error")
        finally:
            await self._stop_operations()

    def end_of_token(self, still_holds: Callable[[Viewer], bool]) -> SocketEnd | None:
        """How to close it where the key of its token has been withdrawn; None where that still holds."""
        try:
            holds = self._viewer is None or still_holds(self._viewer)
        except TemporarilyUnavailable as error:
            return SocketEnd(TRY_AGAIN_LATER, error.message)
        return None if holds else SocketEnd(FORBIDDEN, "Token withdrawn")

    async def end(self, why: SocketEnd) -> None:
        """Close it, and stop what it runs without waiting for the client."""
        await self.close(why.code, why.reason)
        await self._stop_operations()

    async def close(self, code: int, reason: str) -> None:
        """Close with `code`, once; `reason` is cut to what a close frame can carry."""
        if self._closed:
            return
        self._closed = True
        short = reason.encode("utf-8", "replace")[:_MAX_REASON_BYTES].decode("utf-8", "ignore")
        with contextlib.suppress(WebSocketDisconnect, WebSocketDisconnected):
            await self._socket.close(code, short)

    async def _stop_operations(self) -> None:
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _receive(self) -> dict[str, Any]:
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        text = message.get("text")
        if text is None:
            raise _Close(INVALID, "Messages must be text")
        raw = text.encode("utf-8", "surrogatepass")
        if len(raw) > self._settings.max_body_bytes:
            raise _Close(TOO_BIG, f"A message may have {self._settings.max_body_bytes} bytes")
        received_bytes.add(len(raw))
        try:
            decoded = orjson.loads(raw)
        except orjson.JSONDecodeError:
            raise _Close(INVALID, "Messages must be valid JSON") from None
        if not isinstance(decoded, dict) or not isinstance(decoded.get("type"), str):
            raise _Close(INVALID, "Messages must be objects with a type")
        return decoded

    async def _handle(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "connection_init":
                await self._initialise(message.get("payload"))
            case "ping":
                _check_payload(message.get("payload"))
                await self._send({"type": "pong"})
            case "pong":
                _check_payload(message.get("payload"))
            case "subscribe":
                await self._start(message)
            case "complete":
                if task := self._running.pop(_operation_id(message), None):
                    task.cancel()
            case _:
                raise _Close(INVALID, "Unknown message type")

    async def _initialise(self, payload: object) -> None:
        if self._init_received:
            raise _Close(TOO_MANY_INITS, "Too many initialisation requests")
        self._init_received = True
        payload = _check_payload(payload)
        try:
            viewer = await self._authenticate(token_of_params(payload))
        except (TemporarilyUnavailable, RateLimited) as error:
            raise _Close(TRY_AGAIN_LATER, error.message) from None
        except (Unauthenticated, MediaServiceError):
            raise _Close(FORBIDDEN, "Forbidden") from None
        self._viewer = viewer
        if viewer.expires_at is not None:
            left = (viewer.expires_at - datetime.now(UTC)).total_seconds()
            self._expiry = asyncio.get_running_loop().time() + left
        await self._send({"type": "connection_ack"})

    async def _start(self, message: dict[str, Any]) -> None:
        if self._viewer is None:
            raise _Close(UNAUTHORIZED, "Unauthorized")
        operation_id = _operation_id(message)
        try:
            request = parse_parameters(message.get("payload"))
        except RequestRefused as refused:
            raise _Close(INVALID, refused.message) from None
        if operation_id in self._running:
            raise _Close(ALREADY_EXISTS, f"Subscriber for {operation_id} already exists")
        if len(self._tasks) >= self._settings.max_socket_operations:
            limit = self._settings.max_socket_operations
            text = f"A socket may run {limit} operations at once; complete one, then try again."
            await self._send_errors(operation_id, [GraphQLError(text, extensions={"code": "TOO_MANY_OPERATIONS"})])
            return
        task = asyncio.create_task(self._run(operation_id, request, self._viewer))
        self._running[operation_id] = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, operation_id: str, request: GraphQLRequest, viewer: Viewer) -> None:
        # Tasks copy the context: the id is bound for this operation alone.
        structlog.contextvars.bind_contextvars(request_id=str(uuid7()))
        try:
            operation = await self._read(request, viewer)
            self._count(operation.type)
            with contextlib.ExitStack() as admitted:
                if self._admission is not None:
                    await self._admission.begin(self._socket.scope, viewer, operation, admitted)
                await self._answer(operation_id, operation, viewer)
        except DocumentRefused as refused:
            await self._finish(operation_id, {"type": "error", "payload": format_errors(refused.errors)})
        except Exception as error:  # noqa: BLE001 - the edge: clients get a masked error, the log gets the trace
            await self._finish(operation_id, {"type": "error", "payload": [format_exception(error)]})

    async def _read(self, request: GraphQLRequest, viewer: Viewer) -> Operation:
        if self._admission is None:
            return self._operations.prepare(request)
        return await self._admission.read(self._socket.scope, viewer, request, self._operations)

    async def _answer(self, operation_id: str, operation: Operation, viewer: Viewer) -> None:
        async def make_context() -> object:
            return await self._get_context(self._socket, viewer)

        if operation.type is not OperationType.SUBSCRIPTION:
            answer = await self._operations.run(operation, await make_context())
            if await self._next(operation_id, answer):
                await self._finish(operation_id, {"type": "complete"})
            return
        async with contextlib.aclosing(self._operations.follow(operation, make_context)) as answers:
            async for answer in answers:
                if not await self._next(operation_id, answer):
                    return
        await self._finish(operation_id, {"type": "complete"})

    async def _next(self, operation_id: str, answer: Answer) -> bool:
        """Send one answer; False where it ended the operation, because the request was refused."""
        if not answer.ran:
            await self._finish(operation_id, {"type": "error", "payload": answer.body["errors"]})
            return False
        # The timer may be late where the event loop has much to do: nothing is sent after the end all the same.
        if self._expiry is not None and asyncio.get_running_loop().time() >= self._expiry:
            await self.close(FORBIDDEN, "Token expired")
            return False
        await self._send({"id": operation_id, "type": "next", "payload": answer.body})
        return True

    async def _finish(self, operation_id: str, message: Mapping[str, object]) -> None:
        # The id is free before the client hears of it; it may start the next operation at once.
        if self._running.get(operation_id) is asyncio.current_task():
            del self._running[operation_id]
            await self._send({"id": operation_id, **message})

    async def _send_errors(self, operation_id: str, errors: list[GraphQLError]) -> None:
        await self._send({"id": operation_id, "type": "error", "payload": format_errors(errors)})

    async def _send(self, message: Mapping[str, object]) -> None:
        if self._closed:
            return
        try:
            await self._socket.send_text(encode_json(message).decode())
        except (WebSocketDisconnect, WebSocketDisconnected):
            self._closed = True


def _check_payload(payload: object) -> dict[str, Any]:
    if payload is not None and not isinstance(payload, dict):
        raise _Close(INVALID, "A payload must be an object or null")
    return payload or {}


def _operation_id(message: Mapping[str, Any]) -> str:
    operation_id = message.get("id")
    if not isinstance(operation_id, str) or not 0 < len(operation_id) <= _MAX_ID_CHARACTERS:
        raise _Close(INVALID, f"An id must be a string of 1 to {_MAX_ID_CHARACTERS} characters")
    return operation_id
