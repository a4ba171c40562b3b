"""The API process: routes, middleware and lifespan."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import structlog
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from indexes.ensure import check
from resolvers.api import build_schema
from schema.context import Context
from service.access import ANONYMOUS, Viewer
from service.auth import Authenticator
from service.backpressure import Backpressure, Strain
from service.cancellation import end
from service.change_feed import ChangeFeed
from service.delivery import Delivery
from service.first_pages import FirstPages
from service.look_alike_memory import open_look_alike_memory
from service.media_memory import MediaMemory
from service.original_access import OriginalAccess
from service.rate_limits import RateLimiter
from service.runtime import open_runtime
from service.settings import Environment, Settings
from service.stores.database import Database
from service.stores.rate_limits import open_rate_limit_store
from service.telemetry import Metrics
from service.transport.admission import EXPOSED_HEADERS, Admission
from service.transport.bearer import token_of_headers
from service.transport.delivery_cookies import delivery_cookies
from service.transport.graphql_http import GraphQLOverHTTP
from service.transport.middleware import CrossOriginMiddleware, SecurityHeadersMiddleware, TelemetryMiddleware
from service.transport.operations import Operations
from service.transport.operator_routes import operator_routes
from service.transport.server_sent_events import EventStreams
from service.transport.storage_webhook import StorageEventReader, storage_webhook
from service.transport.websocket import GraphQLOverWebSocket
from service.vector_search import open_vector_search

log = structlog.get_logger(__name__)

CONTENT_SECURITY_POLICY = "default-src 'none'"


def create_app(
    settings: Settings,
    *,
    routes: Sequence[BaseRoute] = (),
    graphiql: Response | None = None,
    read_storage_event: StorageEventReader | None = None,
) -> Starlette:
    """The API as an ASGI application; nothing is opened before its lifespan begins.

    Raises ConfigurationError if signing keys, or those of token issuers, cannot be used.

    `routes` are added before ours. `read_storage_event` understands what this deployment's storage posts to
    `/events/storage`; without it there is no such route.
    """
    metrics = Metrics()
    delivery = Delivery(settings.delivery)
    authenticator = Authenticator(settings.auth)
    operations = Operations(build_schema(), settings.http)
    admission = Admission(settings.limits)

    def context_of(app: Starlette, viewer: Viewer) -> Context:
        state = app.state
        return Context(
            state.runtime,
            delivery,
            state.change_feed,
            viewer,
            state.originals,
            state.backpressure,
            state.first_pages,
            state.media_memory,
            state.vector_search,
            state.look_alike_memory,
        )

    async def http_context(request: Request) -> Context:
        token = token_of_headers(request.headers)
        if token is None:
            return context_of(request.app, ANONYMOUS)
        return context_of(request.app, await admission.guarded(request.scope, token, authenticator.authenticate))

    async def viewer_context(connection: HTTPConnection, viewer: Viewer) -> Context:
        return context_of(connection.app, viewer)

    streams = EventStreams(
        operations, authenticator.authenticate, viewer_context, settings.http, metrics, admission=admission
    )
    over_http = GraphQLOverHTTP(
        operations, http_context, settings.http, streams=streams, graphiql=graphiql, admission=admission
    )
    over_socket = GraphQLOverWebSocket(
        operations, authenticator.authenticate, viewer_context, settings.http, metrics, admission=admission
    )

    def end_withdrawn() -> None:
        streams.end_withdrawn(authenticator.still_holds)
        over_socket.end_withdrawn(authenticator.still_holds)

    authenticator.on_withdrawal(end_withdrawn)

    async def drain() -> None:
        streams.drain()
        await over_socket.drain()

    webhook = [] if read_storage_event is None else [storage_webhook(settings.storage.event_token, read_storage_event)]
    app = Starlette(
        routes=[
            *routes,
            Route("/graphql", over_http),
            WebSocketRoute("/graphql", over_socket),
            *operator_routes(),
            *delivery_cookies(settings),
            *webhook,
        ],
        middleware=[
            Middleware(TelemetryMiddleware, metrics=metrics),
            Middleware(
                SecurityHeadersMiddleware,
                content_security_policy=CONTENT_SECURITY_POLICY,
                https_only=settings.environment is Environment.PRODUCTION,
            ),
            Middleware(
                CrossOriginMiddleware,
                allow_origins=settings.http.allowed_origins,
                allow_methods=["GET", "POST"],
                allow_headers=["authorization", "content-type", "last-event-id", "x-request-id"],
                expose_headers=["x-request-id", *EXPOSED_HEADERS],
                max_age=3600,
            ),
        ],
        lifespan=_lifespan(settings, metrics, authenticator, admission),
    )
    # The server calls this before it stops listening; the lifespan ends too late to say goodbye to sockets.
    app.state.drain = drain
    return app


def _lifespan(
    settings: Settings, metrics: Metrics, authenticator: Authenticator, admission: Admission
) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with authenticator.following(), open_runtime(settings, metrics) as runtime:
            await runtime.database.require_replica_set()
            await _tell_missing_indexes(runtime.database)
            admission.count_by(
                RateLimiter(
                    open_rate_limit_store(settings.limits, runtime.database),
                    window_s=settings.limits.window_s,
                    on_refused=metrics.limits.count_refused,
                    on_away=metrics.limits.count_uncounted,
                )
            )
            change_feed = ChangeFeed(runtime.database)
            metrics.measure_change_stream(change_feed.lag_s)
            metrics.measure_issuer_keys(authenticator.key_ages())
            app.state.runtime, app.state.change_feed = runtime, change_feed
            app.state.originals = OriginalAccess(runtime.stores.audit)
            app.state.media_memory = MediaMemory(
                runtime.stores.media, change_feed, capacity=settings.http.media_in_memory
            )
            first_pages = settings.http.first_pages
            app.state.first_pages = (
                FirstPages(runtime.stores.media, change_feed, capacity=first_pages) if first_pages else None
            )
            search = app.state.vector_search = open_vector_search(settings.vectors, runtime.database)
            app.state.backpressure = pressure = Backpressure(
                settings.limits,
                runtime.stores.job_inspection.waiting_s,
                on_held_back=metrics.limits.count_held_back,
                on_unsampled=metrics.limits.count_unsampled,
            )
            for strain in Strain:
                metrics.limits.measure_pressure(strain.value, partial(pressure.is_strained, strain))
            watching, sampling = asyncio.create_task(change_feed.run()), asyncio.create_task(pressure.run())
            hashes = open_look_alike_memory(
                runtime.stores.look_alikes, change_feed, capacity=settings.look_alikes.hashes_in_memory
            )
            try:
                async with hashes as app.state.look_alike_memory:
                    yield
            finally:
                await end(watching, sampling)
                if search is not None:
                    await search.close()

    return lifespan


async def _tell_missing_indexes(database: Database) -> None:
    # Not refused: the process may have been started while they are being built, and most of it works.
    for drift in await check(database.handle):
        if unusable := (*drift.missing, *drift.building, *drift.hidden):
            log.warning("indexes are missing", collection=drift.collection, indexes=unusable, remedy="indexes --apply")
