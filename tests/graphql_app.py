"""A small schema and the two GraphQL endpoints over it, for the tests of the transports."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import strawberry
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.routing import Route, WebSocketRoute
from starlette.types import Receive, Scope, Send

from service.access import ANONYMOUS, Viewer
from service.auth import Unauthenticated
from service.errors import NotFound, RateLimited
from service.settings import HttpSettings
from service.telemetry import Metrics
from service.transport.bearer import token_of_headers
from service.transport.graphql_http import GraphQLOverHTTP
from service.transport.middleware import SecurityHeadersMiddleware, TelemetryMiddleware
from service.transport.operations import Operations
from service.transport.server import GracefulServer
from service.transport.server_sent_events import EventStreams
from service.transport.websocket import GraphQLOverWebSocket

SECRET_DETAIL = "mongodb://admin:hunter2@db.internal"


@strawberry.type
class Photo:
    id: strawberry.ID
    title: str

    @strawberry.field
    def tagged(self, tags: list[str]) -> bool:
        return self.title in tags

    @strawberry.field
    def similar(self, first: int = 20) -> list[Photo]:
        return [Photo(id=strawberry.ID(f"{self.id}.{n}"), title="copy") for n in range(min(first, 3))]


@strawberry.input
class Where:
    title: str | None = None
    also: list[Where] | None = None


@strawberry.type
class Query:
    @strawberry.field
    def hello(self, name: str = "world") -> str:
        return f"hello {name}"

    @strawberry.field
    def photos(self, first: int = 20) -> list[Photo]:
        return [Photo(id=strawberry.ID(str(n)), title="photo") for n in range(min(first, 3))]

    @strawberry.field
    def search(self, where: Where | None = None) -> str:
        return "found"

    @strawberry.field
    def context_number(self, info: strawberry.Info[Any, None]) -> int:
        return int(info.context["number"])

    @strawberry.field
    def viewer_id(self, info: strawberry.Info[Any, None]) -> str | None:
        viewer: Viewer = info.context["viewer"]
        return viewer.id

    @strawberry.field
    def bug(self) -> str | None:
        raise RuntimeError(SECRET_DETAIL)

    @strawberry.field
    def required_bug(self) -> str:
        raise RuntimeError(SECRET_DETAIL)

    @strawberry.field
    def missing(self) -> str | None:
        raise NotFound("No such photo.")

    @strawberry.field
    def limited(self) -> str | None:
        raise RateLimited("Too many reads; wait.", retry_after_ms=1500)


@strawberry.type
class Mutation:
    @strawberry.mutation
    def rename(self, info: strawberry.Info[Any, None], title: str) -> str:
        info.context["renamed"].append(title)
        return title


@strawberry.type
class Step:
    cursor: str


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def steps(self, after: str | None = None, upto: int = 2) -> AsyncIterator[Step]:
        for number in range(1, upto + 1):
            if after is None or f"c{number}" > after:
                yield Step(cursor=f"c{number}")

    @strawberry.subscription
    async def count(self, upto: int = 3) -> AsyncIterator[int]:
        for number in range(upto):
            yield number

    @strawberry.subscription
    async def photos(self) -> AsyncIterator[int]:
        yield 1
        raise RuntimeError(SECRET_DETAIL)

    @strawberry.subscription
    async def refused(self) -> AsyncIterator[int]:
        raise NotFound("No such photo.")
        yield 0

    @strawberry.subscription
    async def numbers(self, info: strawberry.Info[Any, None]) -> AsyncIterator[Photo]:
        for number in range(2):
            yield Photo(id=strawberry.ID(str(number)), title=str(info.context["number"]))

    @strawberry.subscription
    async def forever(self, info: strawberry.Info[Any, None]) -> AsyncIterator[int]:
        info.context["alive"].append(1)
        try:
            yield 0
            await asyncio.Event().wait()
        finally:
            info.context["alive"].pop()


Authenticate = Callable[[str | None], Awaitable[Viewer]]


class GraphQLApp:
    """The application under test, and what its resolvers did."""

    def __init__(self, settings: HttpSettings | None = None, authenticate: Authenticate | None = None) -> None:
        self._authenticate = authenticate = authenticate or authenticate_by_name
        self.settings = settings or HttpSettings(introspection=True, allowed_origins=("https://app.example",))
        self.metrics = Metrics()
        self.renamed: list[str] = []
        self.alive: list[int] = []
        self.contexts = 0
        self.socket_url = ""
        schema = strawberry.Schema(Query, Mutation, Subscription)
        self.operations = Operations(schema, self.settings)
        self.streams = EventStreams(self.operations, authenticate, self._viewer_context, self.settings, self.metrics)
        self.http = GraphQLOverHTTP(self.operations, self._http_context, self.settings, streams=self.streams)
        self.sockets = GraphQLOverWebSocket(
            self.operations, authenticate, self._viewer_context, self.settings, self.metrics
        )
        self.asgi = Starlette(
            routes=[Route("/graphql", self.http), WebSocketRoute("/graphql", self.sockets)],
            middleware=[
                Middleware(TelemetryMiddleware, metrics=self.metrics),
                Middleware(SecurityHeadersMiddleware, content_security_policy="default-src 'none'"),
            ],
        )

    async def _http_context(self, request: Request) -> dict[str, Any]:
        if "x-crash" in request.headers:
            raise RuntimeError(SECRET_DETAIL)
        if "x-limited" in request.headers:
            raise RateLimited("Too many requests; wait.", retry_after_ms=1500)
        return self._context(request, await self._authenticate(token_of_headers(request.headers)))

    async def _viewer_context(self, connection: HTTPConnection, viewer: Viewer) -> dict[str, Any]:
        return self._context(connection, viewer)

    def _context(self, _connection: HTTPConnection, viewer: Viewer) -> dict[str, Any]:
        self.contexts += 1
        return {"viewer": viewer, "renamed": self.renamed, "alive": self.alive, "number": self.contexts}


class Listener:
    """A server on a free loopback port that serves whichever app it was last given."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.app: GraphQLApp | None = None
        self.server = GracefulServer(self, HttpSettings(), self.drain)
        self.server.config.lifespan = "off"

    def serve(self, app: GraphQLApp) -> GraphQLApp:
        app.socket_url = f"ws://{self.address}/graphql"
        self.app = app
        return app

    async def drain(self) -> None:
        if self.app is not None:
            self.app.streams.drain()
            await self.app.sockets.drain()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self.app is not None
        await self.app.asgi(scope, receive, send)


@asynccontextmanager
async def listening() -> AsyncIterator[Listener]:
    """Run a real server in this event loop for as long as the block lasts."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        listener = Listener(f"127.0.0.1:{bound.getsockname()[1]}")
        serving = asyncio.create_task(listener.server.serve(sockets=[bound]))
        try:
            yield listener
        finally:
            listener.server.should_exit = True
            await serving


async def authenticate_by_name(token: str | None) -> Viewer:
    if token is None:
        return ANONYMOUS
    if token == "brief":
        return Viewer(id="ada", expires_at=datetime.now(UTC) + timedelta(seconds=0.2))
    if token != "good":
        raise Unauthenticated("The token is not valid.")
    return Viewer(id="ada")
