"""GraphQL over WebSocket, protocol graphql-transport-ws and no other: https://github.com/enisdenjo/graphql-ws.

The library's own handler was not used: a message that is a list or has a number for an id crashes it, every operation
of a socket shares one context, and a syntax error longer than 123 bytes makes an illegal close frame.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import structlog
from graphql import OperationType
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry.http.websocket_origin import is_same_origin, normalize_allowed_origins, normalize_origin

from service.access import Viewer
from service.errors import RateLimited
from service.settings import HttpSettings
from service.telemetry import Metrics
from service.transport.admission import Admission, UnderWay
from service.transport.operations import Operations
from service.transport.socket_session import GOING_AWAY, SocketSession

SUBPROTOCOL = "graphql-transport-ws"

log = structlog.get_logger("service.websocket")


class GraphQLOverWebSocket:
    """ASGI endpoint. `authenticate` gets the bearer token of `connection_init`, or None, and returns the viewer.

    Where it raises Unauthenticated or a MediaServiceError the socket closes with 4403, or with 1013 where the client
    may try again. `get_context` makes the context of one operation, and of every event of a subscription, so that
    nothing is remembered across them. `admission` charges each operation to the viewer; what it refuses is an error of
    that operation alone.
    """

    def __init__(
        self,
        operations: Operations,
        authenticate: Callable[[str | None], Awaitable[Viewer]],
        get_context: Callable[[WebSocket, Viewer], Awaitable[object]],
        settings: HttpSettings,
        metrics: Metrics,
        *,
        admission: Admission | None = None,
    ) -> None:
        self._operations = operations
        self._authenticate = authenticate
        self._get_context = get_context
        self._settings = settings
        self._metrics = metrics
        self._admission = admission
        self._allowed_origins = normalize_allowed_origins(settings.allowed_origins)
        self._sessions: set[SocketSession] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket(scope, receive, send)
        if not self._origin_allowed(socket):
            # Closed before it is accepted: the handshake is answered with 403.
            await socket.close(1008)
            return
        if self._draining or len(self._sessions) >= self._settings.max_sockets:
            await _refuse(socket, 503, "No more sockets fit here; try again.")
            return
        if self._admission is None:
            await self._serve(socket, self._authenticate)
            return
        try:
            place = self._admission.open_socket(scope)
        except RateLimited as error:
            await _refuse(socket, 429, error.message)
            return
        with place:
            await self._serve(socket, partial(self._sign_in, self._admission, socket, place))

    async def _sign_in(self, admission: Admission, socket: WebSocket, place: UnderWay, token: str | None) -> Viewer:
        if token is None:
            return await self._authenticate(None)
        return await admission.sign_in(socket.scope, token, self._authenticate, place)

    async def _serve(self, socket: WebSocket, authenticate: Callable[[str | None], Awaitable[Viewer]]) -> None:
        if SUBPROTOCOL not in socket.scope.get("subprotocols", ()):
            await socket.accept()
            await socket.close(4406, "Subprotocol not acceptable")
            return
        await socket.accept(SUBPROTOCOL)
        session = SocketSession(
            socket,
            self._operations,
            authenticate,
            self._get_context,
            self._settings,
            self._count,
            admission=self._admission,
        )
        self._sessions.add(session)
        try:
            with self._metrics.sockets.track_inprogress():
                await session.serve()
        finally:
            self._sessions.discard(session)

    async def drain(self) -> None:
        """Close every socket with 1001 and accept no more, so that clients reconnect elsewhere. For shutdown."""
        self._draining = True
        closing = [session.close(GOING_AWAY, "Server is shutting down") for session in self._sessions]
        # A client that does not read must not hold up the end of the process.
        deadline = max(self._settings.drain_s, 1)
        await asyncio.gather(*(asyncio.wait_for(close, deadline) for close in closing), return_exceptions=True)

    def end_withdrawn(self, still_holds: Callable[[Viewer], bool]) -> None:
        """Close the sockets whose token does not hold any more: 4403, or 1013 where that cannot be known."""
        for session in self._sessions:
            why = session.end_of_token(still_holds)
            if why is not None:
                ending = asyncio.create_task(session.end(why))
                self._ending.add(ending)
                ending.add_done_callback(self._ending.discard)

    def _count(self, operation: OperationType) -> None:
        self._metrics.socket_operations.labels(operation.value).inc()

    def _origin_allowed(self, socket: WebSocket) -> bool:
        origin = socket.headers.get("origin")
        if origin is None or is_same_origin(origin, socket.headers.get("host")):
            return True
        if normalize_origin(origin) in self._allowed_origins:
            return True
        log.warning("websocket refused: its origin is not in http.allowed_origins", origin=origin[:200])
        return False


async def _refuse(socket: WebSocket, status: int, text: str) -> None:
    """Answer the handshake; where the server can say nothing but 403, with that."""
    if "websocket.http.response" in socket.scope.get("extensions", {}):
        await socket.send_denial_response(PlainTextResponse(text, status, {"Retry-After": "1"}))
    else:
        await socket.close(1013)
