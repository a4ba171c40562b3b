"""The edge as an ASGI application: find the behaviour, check the signature, answer from the cache or the origin."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING
from uuid import uuid4

import structlog
from starlette.requests import Request
from starlette.routing import Router

from service.dev.edge.cache import EdgeCache, Outcome, Served
from service.dev.edge.configuration import edge_settings
from service.dev.edge.denials import DenialCode, Denied
from service.dev.edge.invalidations import Invalidations
from service.dev.edge.management import management_routes
from service.dev.edge.origin import Answer, Failure, Origin, StorageOrigin
from service.dev.edge.patterns import normal_form
from service.dev.edge.responses import denied, failed, method_refused, serve, url_too_long
from service.dev.edge.verification import PublicKey, Target, verify
from service.object_keys import is_safe_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from service.dev.edge.configuration import Behavior, EdgeSettings
    from service.settings import Settings

log = structlog.get_logger(__name__)

VIA = "1.1 edge.local (CloudFront)"
# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/cloudfront-limits.html
MAX_URL_BYTES = 8_192


class Edge:
    """One distribution: its behaviours, its keys, its cache and the `invalidations` of that."""

    def __init__(self, settings: EdgeSettings, origin: Origin, *, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._origin = origin
        self._clock = clock
        self._keys = {
            behavior.path_pattern: {key_id: PublicKey(pem) for key_id, pem in behavior.trusted_keys.items()}
            for behavior in settings.behaviors
        }
        self._cache = EdgeCache(settings.cache_bytes, settings.lifetimes, clock=clock)
        self.invalidations = Invalidations(self._cache.forget, delay_s=settings.invalidation_delay_s, clock=clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1002})
            return
        response = await self._answer(Request(scope))
        response.headers["Via"] = VIA
        response.headers["X-Amz-Cf-Id"] = uuid4().hex
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if request.method not in {"GET", "HEAD"}:
            return method_refused()
        # The target exactly as it arrived: a decoded or tidied path is not what was signed.
        path = request.scope["raw_path"].decode("utf-8", "surrogateescape")
        query = request.scope["query_string"].decode("utf-8", "surrogateescape")
        if len(path) + len(query) >= MAX_URL_BYTES:
            return url_too_long()
        try:
            behavior = self._admit(request, path, query)
        except Denied as denial:
            log.info("edge.denied", path=path, code=str(denial.code), reason=denial.reason)
            return denied(denial.code)
        self.invalidations.settle()
        # No part of the query is in the cache key: signing parameters never are, and the buckets know no others.
        served = await self._cache.get(path, partial(self._fetch, behavior.bucket, path.removeprefix("/")))
        if isinstance(served.entry.answer, Failure):
            log.info("edge.failed", path=path, failure=served.entry.answer.value, outcome=str(served.outcome))
            return failed(served.entry.answer)
        headers = {**behavior.response_headers, **self._headers(request, served)}
        return serve(request.method, request.headers, served.entry.answer, headers)

    def _admit(self, request: Request, path: str, query: str) -> Behavior:
        """The behaviour of a request that may pass. Raises Denied."""
        # What a proxy or a server on the way would read in another way than the one that signed.
        if not path.startswith("/") or "#" in path or "#" in query:
            raise Denied(DenialCode.ACCESS_DENIED, "not a path and a query")
        if len(request.headers.getlist("host")) != 1:
            raise Denied(DenialCode.ACCESS_DENIED, "not one host")
        normal = normal_form(path)
        behavior = next((each for each in self._settings.behaviors if each.covers(normal)), None)
        if behavior is None:
            raise Denied(DenialCode.ACCESS_DENIED, "no behavior for this path")
        host, cookies = request.headers.get("host", ""), tuple(request.headers.getlist("cookie"))
        target = Target(request.scope["scheme"], host, path, query, cookies)
        client_ip = request.client.host if request.client else "0.0.0.0"  # noqa: S104 - no address  # nosec B104
        verify(target, self._keys[behavior.path_pattern], now=self._clock(), client_ip=client_ip)
        return behavior

    async def _fetch(self, bucket: str, key: str, known_etag: str | None) -> Answer:
        # HTTP clients resolve dot segments and escapes: such a key could reach another object, or another bucket.
        if not is_safe_key(key):
            return Failure.MISSING
        return await self._origin.get(bucket, key, known_etag=known_etag)

    def _headers(self, request: Request, served: Served) -> dict[str, str]:
        headers = {"X-Cache": f"{served.outcome} from cloudfront", "Vary": "Origin"}
        if served.outcome is not Outcome.MISS:
            headers["Age"] = str(int(self._clock() - served.entry.fetched_at))
        origin = request.headers.get("origin")
        if origin in self._settings.allowed_origins:
            headers["Access-Control-Allow-Origin"] = origin
            # Pages that sign with cookies ask with credentials.
            headers["Access-Control-Allow-Credentials"] = "true"
        return headers


def edge_from_settings(settings: Settings, *, invalidation_delay_s: float = 0.0) -> ASGIApp:
    """The edge of a service running with `settings`, trusting the public halves of its signing keys."""
    origin = StorageOrigin(settings.storage)
    edge = Edge(replace(edge_settings(settings), invalidation_delay_s=invalidation_delay_s), origin)

    @asynccontextmanager
    async def lifespan(_: ASGIApp) -> AsyncIterator[None]:
        yield
        await origin.close()

    return Router(management_routes(edge.invalidations), default=edge, lifespan=lifespan)
