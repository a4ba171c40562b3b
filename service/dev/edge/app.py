"""The edge as an ASGI application: find the behaviour, check the signature, answer from the cache or the origin."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

import structlog
from starlette.requests import Request
from starlette.routing import Router

from service.dev.edge.cache import EdgeCache, Entry, Failure
from service.dev.edge.configuration import edge_settings
from service.dev.edge.management import management_routes
from service.dev.edge.responses import denied, failed, method_refused, serve
from service.dev.edge.verification import DenialCode, Denied, PublicKey, Target, verify
from service.errors import TemporarilyUnavailable
from service.object_keys import is_safe_key
from service.object_store import ObjectStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from service.dev.edge.configuration import Behavior, EdgeSettings
    from service.object_store import ObjectBody
    from service.settings import Settings

log = structlog.get_logger(__name__)

VIA = "1.1 edge.local (CloudFront)"


class Origin(Protocol):
    """Where objects come from; `ObjectStore` is one. Raises TemporarilyUnavailable when it does not answer."""

    async def get(self, bucket: str, key: str) -> ObjectBody | None: ...


class Edge:
    """One distribution: its behaviours, its keys and its cache."""

    def __init__(self, settings: EdgeSettings, origin: Origin, *, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._origin = origin
        self._clock = clock
        self._keys = {
            behavior.path_pattern: {key_id: PublicKey(pem) for key_id, pem in behavior.trusted_keys.items()}
            for behavior in settings.behaviors
        }
        self._cache = EdgeCache(
            settings.cache_bytes,
            default_ttl_s=settings.default_ttl_s,
            error_ttl_s=settings.error_ttl_s,
            clock=clock,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1002})
            return
        response = await self._answer(Request(scope))
        response.headers["Via"] = VIA
        response.headers["X-Amz-Cf-Id"] = uuid4().hex
        await response(scope, receive, send)

    def invalidate_paths(self, patterns: Iterable[str]) -> None:
        """Forget cached objects by path, e.g. `/community/processed/*`."""
        self._cache.invalidate_paths(patterns)

    def invalidate_tags(self, tags: Iterable[str]) -> None:
        """Forget cached objects by cache tag."""
        self._cache.invalidate_tags(tags)

    async def _answer(self, request: Request) -> Response:
        if request.method not in {"GET", "HEAD"}:
            return method_refused()
        # The target exactly as it arrived: a decoded or tidied path is not what was signed.
        path = request.scope["raw_path"].decode("utf-8", "surrogateescape")
        try:
            behavior = self._admit(request, path)
        except Denied as denial:
            log.info("edge.denied", path=path, code=str(denial.code), reason=denial.reason)
            return denied(denial.code)
        entry, hit = await self._cache.get(path, partial(self._fetch, behavior.bucket, path.removeprefix("/")))
        if isinstance(entry.answer, Failure):
            log.info("edge.failed", path=path, failure=entry.answer.value, hit=hit)
            return failed(entry.answer)
        return serve(request.method, request.headers, entry.answer, self._headers(request, entry, hit=hit))

    def _admit(self, request: Request, path: str) -> Behavior:
        behavior = next((each for each in self._settings.behaviors if each.covers(path)), None)
        if behavior is None:
            raise Denied(DenialCode.ACCESS_DENIED, "no behavior for this path")
        query = request.scope["query_string"].decode("utf-8", "surrogateescape")
        target = Target(request.scope["scheme"], request.headers.get("host", ""), path, query)
        client_ip = request.client.host if request.client else "0.0.0.0"  # noqa: S104 - the unspecified address
        verify(target, self._keys[behavior.path_pattern], now=self._clock(), client_ip=client_ip)
        return behavior

    async def _fetch(self, bucket: str, key: str) -> ObjectBody | Failure:
        # HTTP clients resolve dot segments and escapes: such a key could reach another object, or another bucket.
        if not is_safe_key(key):
            return Failure.MISSING
        try:
            return await self._origin.get(bucket, key) or Failure.MISSING
        except TemporarilyUnavailable:
            return Failure.UNREACHABLE

    def _headers(self, request: Request, entry: Entry, *, hit: bool) -> dict[str, str]:
        headers = {"X-Cache": f"{'Hit' if hit else 'Miss'} from cloudfront", "Vary": "Origin"}
        if hit:
            headers["Age"] = str(int(self._clock() - entry.fetched_at))
        origin = request.headers.get("origin")
        if origin in self._settings.allowed_origins:
            headers["Access-Control-Allow-Origin"] = origin
        return headers


def edge_from_settings(settings: Settings) -> ASGIApp:
    """The edge of a service running with `settings`, trusting the public halves of its signing keys."""
    store = ObjectStore(settings.storage)
    edge = Edge(edge_settings(settings), store)

    @asynccontextmanager
    async def lifespan(_: ASGIApp) -> AsyncIterator[None]:
        yield
        await store.close()

    return Router(management_routes(edge.invalidate_paths), default=edge, lifespan=lifespan)
