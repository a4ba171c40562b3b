"""GraphQL over Server-Sent Events, "distinct connections mode": one request, one stream of answers.

https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md. Lines end with LF alone and each event's JSON is one
line, because urql's own reader splits the stream at "\n\n" and looks for one `data: ` line in each piece.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from graphql import GraphQLError, OperationType
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from service.access import Viewer
from service.auth import Unauthenticated
from service.errors import TemporarilyUnavailable
from service.settings import HttpSettings
from service.telemetry import Metrics
from service.transport.admission import Admission
from service.transport.bearer import token_of_headers
from service.transport.documents import GraphQLRequest, Operation
from service.transport.http_request import RequestRefused, stream_quality
from service.transport.json_response import encode_json
from service.transport.operations import Answer, Operations
from service.transport.problems import format_errors, format_exception
from service.transport.reply import header_of, raw_headers

EVENT_STREAM = "text/event-stream"

# Proxies and load balancers close what is silent for a minute, some for half of one.
HEARTBEAT_S = 12.0

# A client that takes nothing for so long is given up.
_SEND_TIMEOUT_S = 40.0

_COMMENT = b":\n\n"
_COMPLETE = b"event: complete\ndata: \n\n"
_RESUME_VARIABLE = "after"
_MAX_EVENT_ID = 4_096
_SOON = {"Retry-After": "1"}

_HEADERS = raw_headers(
    {
        "Content-Type": f"{EVENT_STREAM}; charset=utf-8",
        # A proxy that compresses would hold events back until it has enough of them.
        "Cache-Control": "no-store, no-transform",
        "Vary": "Accept, Authorization",
        "X-Accel-Buffering": "no",
        "X-Content-Type-Options": "nosniff",
    }
)

MakeContext = Callable[[Request, Viewer], Awaitable[object]]


class Streaming(enum.Enum):
    """Which operations a client wants as a stream of events."""

    NEVER = enum.auto()
    SUBSCRIPTIONS = enum.auto()
    ALWAYS = enum.auto()

    def applies_to(self, operation: Operation) -> bool:
        """SUBSCRIPTIONS: the client would read a stream but takes JSON for what has one answer."""
        if self is Streaming.SUBSCRIPTIONS:
            return operation.type is OperationType.SUBSCRIPTION
        return self is Streaming.ALWAYS


def streaming(accept: str | None) -> Streaming:
    """What an `Accept` header says about streams. Only one that names `text/event-stream` gets any."""
    if accept is None or EVENT_STREAM not in accept:
        return Streaming.NEVER
    return _streaming(accept)


@lru_cache(maxsize=64)
def _streaming(accept: str) -> Streaming:
    wanted, plain = stream_quality(accept, EVENT_STREAM)
    if wanted == 0:
        return Streaming.NEVER
    return Streaming.SUBSCRIPTIONS if plain >= wanted else Streaming.ALWAYS


def resumed(read: GraphQLRequest, request: Request) -> GraphQLRequest:
    """The request as a browser's EventSource repeats it: with its `Last-Event-ID` as the variable `after`."""
    last = header_of(request.scope, b"last-event-id")
    if not last or len(last) > _MAX_EVENT_ID:
        return read
    return replace(read, variables={**read.variables, _RESUME_VARIABLE: last})


class EventStreams:
    """Opens streams and ends them. `authenticate`, `get_context` and `admission` are those of WebSockets."""

    def __init__(
        self,
        operations: Operations,
        authenticate: Callable[[str | None], Awaitable[Viewer]],
        get_context: MakeContext,
        settings: HttpSettings,
        metrics: Metrics,
        *,
        admission: Admission | None = None,
    ) -> None:
        self._operations = operations
        self._admission = admission
        self._authenticate = authenticate
        self._get_context = get_context
        self._settings = settings
        self._metrics = metrics
        self._open: set[_EventStream] = set()
        self._draining = False

    async def open(self, request: Request, operation: Operation) -> ASGIApp:
        """The stream of an operation's answers. Raises RequestRefused, RateLimited, and as `authenticate` does."""
        viewer = await self._authenticate(token_of_headers(request.headers))
        if self._draining or len(self._open) >= self._settings.max_sockets:
            raise RequestRefused(503, "TEMPORARILY_UNAVAILABLE", "No more streams fit here; try again.", _SOON)

        async def make_context() -> object:
            return await self._get_context(request, viewer)

        async def answers() -> AsyncGenerator[Answer, None]:
            if operation.type is OperationType.SUBSCRIPTION:
                async for answer in self._operations.follow(operation, make_context):
                    yield answer
            else:
                yield await self._operations.run(operation, await make_context())

        stream = _EventStream(answers(), viewer, resumable=_is_resumable(operation))
        with contextlib.ExitStack() as opening:
            # Before it is admitted: what ends streams meanwhile must find this one.
            self._open.add(stream)
            opening.callback(self._open.discard, stream)
            if self._admission:
                await self._admission.begin(request.scope, viewer, operation, opening)
            stream.refuse_if_ended()
            lasting = opening.pop_all()

        async def serve(_scope: Scope, receive: Receive, send: Send) -> None:
            with lasting, self._metrics.event_streams.track_inprogress():
                await stream.serve(receive, send)

        return serve

    def refuse(self, errors: Sequence[GraphQLError]) -> ASGIApp:
        """A stream that says why a document is not run: a browser's EventSource could not read another answer."""

        async def serve(_scope: Scope, _receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
            refused = Answer({"errors": format_errors(errors)}, ran=False)
            await send({"type": "http.response.body", "body": _next(refused, resumable=False) + _COMPLETE})

        return serve

    def drain(self) -> None:
        """End every stream, saying so, and open no more, so that clients ask elsewhere. For shutdown."""
        self._draining = True
        for stream in self._open:
            stream.end(_End.DRAINED)

    def end_withdrawn(self, still_holds: Callable[[Viewer], bool]) -> None:
        """End the streams whose token does not hold any more, saying so."""
        for stream in self._open:
            try:
                if not still_holds(stream.viewer):
                    stream.end(_End.WITHDRAWN)
            except TemporarilyUnavailable:
                stream.end(_End.UNVERIFIABLE)


class _End(enum.Enum):
    """Why a stream ends before its operation does, and what the client is told: nothing, if it is gone."""

    GONE = ("", "", False)
    EXPIRED = ("The token has run out; ask again with a new one.", "UNAUTHENTICATED", False)
    WITHDRAWN = ("The token does not hold any more; ask again with a new one.", "UNAUTHENTICATED", False)
    UNVERIFIABLE = ("The token cannot be verified now; ask again to go on.", "TEMPORARILY_UNAVAILABLE", True)
    DRAINED = ("The server is restarting; ask again to go on.", "TEMPORARILY_UNAVAILABLE", True)

    def farewell(self) -> bytes:
        """The last that is sent; without `complete` where clients that resume by themselves are to do so."""
        if self is _End.GONE:
            return b""
        message, code, retryable = self.value
        error = {"message": message, "extensions": {"code": code, "retryable": retryable}}
        return _event({"errors": [error]}) + (b"" if retryable else _COMPLETE)


class _EventStream:
    __slots__ = ("_answers", "_ended", "_expiry", "_resumable", "viewer")

    def __init__(self, answers: AsyncGenerator[Answer, None], viewer: Viewer, *, resumable: bool) -> None:
        self._answers = answers
        self.viewer = viewer
        self._resumable = resumable
        loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[_End] = loop.create_future()
        # In the event loop's time.
        self._expiry = float("inf")
        if viewer.expires_at is not None:
            self._expiry = loop.time() + (viewer.expires_at - datetime.now(UTC)).total_seconds()

    def end(self, reason: _End) -> None:
        if not self._ended.done():
            self._ended.set_result(reason)

    def refuse_if_ended(self) -> None:
        """Raises Unauthenticated or RequestRefused if the token or the server has ended what has not begun to send."""
        if self._ended.done():
            message, code, retryable = self._ended.result().value
            raise RequestRefused(503, code, message, _SOON) if retryable else Unauthenticated(message)

    async def serve(self, receive: Receive, send: Send) -> None:
        """Send until the operation, the client, the token or the server ends it."""
        loop = asyncio.get_running_loop()
        watching = loop.create_task(self._watch(receive))
        expiry = None if self._expiry == float("inf") else loop.call_at(self._expiry, self.end, _End.EXPIRED)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
            await self._write(send, _COMMENT)
            await self._write(send, await self._pump(send), more=False)
        except TimeoutError:
            # What is not read is given up with the connection; the client sees that it broke.
            raise ConnectionAbortedError("the client of an event stream does not read") from None
        finally:
            watching.cancel()
            if expiry is not None:
                expiry.cancel()
            await self._answers.aclose()

    async def _pump(self, send: Send) -> bytes:
        """Send answers, and comments while there are none; what to say at the end."""
        while True:
            coming = asyncio.ensure_future(self._next_answer())
            try:
                while not coming.done() and not self._ended.done():
                    await asyncio.wait((coming, self._ended), timeout=HEARTBEAT_S, return_when=asyncio.FIRST_COMPLETED)
                    if not coming.done() and not self._ended.done():
                        await self._write(send, _COMMENT)
            finally:
                if not coming.done():
                    coming.cancel()
                    await asyncio.wait((coming,))
            # The timer may be late where the event loop has much to do: nothing is sent after the end all the same.
            if asyncio.get_running_loop().time() >= self._expiry:
                self.end(_End.EXPIRED)
            if self._ended.done():
                return self._ended.result().farewell()
            answer = coming.result()
            if answer is None:
                return _COMPLETE
            await self._write(send, _next(answer, resumable=self._resumable))

    async def _next_answer(self) -> Answer | None:
        try:
            return await anext(self._answers, None)
        except Exception as error:  # noqa: BLE001 - the edge: clients get a masked error, the log gets the trace
            return Answer({"errors": [format_exception(error)]}, ran=False)

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.end(_End.GONE)

    async def _write(self, send: Send, body: bytes, *, more: bool = True) -> None:
        async with asyncio.timeout(_SEND_TIMEOUT_S):
            await send({"type": "http.response.body", "body": body, "more_body": more})


def _is_resumable(operation: Operation) -> bool:
    return any(each.variable.name.value == _RESUME_VARIABLE for each in operation.node.variable_definitions or ())


def _next(answer: Answer, *, resumable: bool) -> bytes:
    cursor = _cursor(answer.body) if resumable else None
    return _event(answer.body) if cursor is None else b"id: %b\n%b" % (cursor.encode(), _event(answer.body))


def _event(body: Any) -> bytes:
    return b"event: next\ndata: %b\n\n" % encode_json(body)


def _cursor(body: dict[str, Any]) -> str | None:
    """Where an event's place is selected under its own name, that place."""
    for event in (body.get("data") or {}).values():
        cursor = event.get("cursor") if isinstance(event, dict) else None
        if isinstance(cursor, str) and cursor.isascii() and cursor.isprintable():
            return cursor
    return None
