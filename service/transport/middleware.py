"""Around every request: an id, one access log line, metrics, safe headers, and an answer where the app crashed."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence

import structlog
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid6 import uuid7

from service.telemetry import Metrics
from service.transport.json_response import json_response
from service.transport.reply import header_of, raw_headers

_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_NOTES = "media.notes"
# Nothing was sent because nobody was there to read it; nginx's number for that.
CLIENT_LEFT = 499

log = structlog.get_logger("service.http")


def note(scope: Scope, **fields: str) -> None:
    """Add fields to the access log line of this request; `operation` also labels its metrics."""
    scope.setdefault(_NOTES, {}).update(fields)


class TelemetryMiddleware:
    """Outermost: binds the request id, logs and counts each answer, and turns a crash into a masked 500."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope[_NOTES] = {}
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            if scope["type"] == "websocket":
                await self._app(scope, receive, send)
            else:
                await self._answer(scope, receive, send, request_id)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        started, status = time.perf_counter(), 0
        request_id_header = ((b"x-request-id", request_id.encode("ascii")),)

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = with_headers(message, request_id_header)
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            log.exception("request crashed", path_length=len(scope["path"]))
            # Once headers are out, only breaking the connection tells the client that the answer is not whole.
            if status:
                raise
            crash = json_response(500, code="INTERNAL", message="Internal error", requestId=request_id)
            await crash(scope, receive, send_with_id)
        finally:
            self._record(scope, status or CLIENT_LEFT, time.perf_counter() - started)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        notes: dict[str, str] = scope[_NOTES]
        route = getattr(scope.get("route"), "path", None) or "unmatched"
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        self._metrics.count_request(
            route=route, method=method, status=status, operation=notes.get("operation", "none"), seconds=seconds
        )
        log.info("request", route=route, method=method, status=status, duration_ms=round(seconds * 1000, 1), **notes)


def _request_id(scope: Scope) -> str:
    inbound = header_of(scope, b"x-request-id")
    return inbound if inbound is not None and _SANE_REQUEST_ID.fullmatch(inbound) else str(uuid7())


def with_headers(start: Message, headers: Iterable[tuple[bytes, bytes]]) -> Message:
    """The start of a response with more headers; those that it sets itself stay. Its own list is left as it is:
    a response may be sent more than once.
    """
    given = list(start.get("headers", ()))
    present = {name for name, _ in given}
    return {**start, "headers": given + [header for header in headers if header[0] not in present]}


class SecurityHeadersMiddleware:
    """Adds the headers a browser needs to keep an answer in its place.

    `content_security_policy` is the default; a route that sets its own policy keeps it. `frame-ancestors 'none'` is
    added where a policy names none. `https_only` adds HSTS for a year.
    """

    def __init__(self, app: ASGIApp, content_security_policy: str, *, https_only: bool = False) -> None:
        self._app = app
        policy = content_security_policy.strip().rstrip(";")
        if "frame-ancestors" not in policy:
            policy = "; ".join(filter(None, (policy, "frame-ancestors 'none'")))
        self._headers = raw_headers(
            {
                "Content-Security-Policy": policy,
                "X-Content-Type-Options": "nosniff",
                "X-Frame-Options": "DENY",
                "Referrer-Policy": "no-referrer",
                "Cross-Origin-Opener-Policy": "same-origin",
            }
            | ({"Strict-Transport-Security": "max-age=31536000; includeSubDomains"} if https_only else {})
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = with_headers(message, self._headers)
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


class CrossOriginMiddleware(CORSMiddleware):
    """Starlette's CORS rules for a list of exact origins, without credentials.

    Preflights are answered by Starlette; ordinary answers get the same headers as from it, without taking them apart.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        allow_origins: Sequence[str],
        allow_methods: Sequence[str],
        allow_headers: Sequence[str],
        expose_headers: Sequence[str],
        max_age: int,
    ) -> None:
        super().__init__(
            app, allow_origins, allow_methods, allow_headers, expose_headers=expose_headers, max_age=max_age
        )
        self._origins = {origin.encode("latin-1") for origin in allow_origins}
        self._exposed = (b"access-control-expose-headers", ", ".join(expose_headers).encode("latin-1"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] == "OPTIONS":
            await super().__call__(scope, receive, send)
            return
        origin = next((value for name, value in scope["headers"] if name == b"origin"), None)
        added = ((b"access-control-allow-origin", origin), self._exposed) if origin in self._origins else ()

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [(n, v + b", Origin" if n == b"vary" else v) for n, v in message.get("headers", ())]
                if not any(name == b"vary" for name, _ in headers):
                    headers.append((b"vary", b"Origin"))
                message = {**message, "headers": [*headers, *added]}
            await send(message)

        await self.app(scope, receive, send_with_headers)
