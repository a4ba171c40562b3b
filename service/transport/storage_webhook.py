"""Where storage posts its events: hints that an object has appeared, checked against storage itself."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from typing import Any

import orjson
import structlog
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.errors import MediaServiceError
from service.event_intake import handle_storage_event
from service.runtime import Runtime
from service.storage_events import EventKind, StorageEvent
from service.stores.database import OUTAGE_ERRORS

StorageEventReader = Callable[[Mapping[str, Any]], tuple[str, str] | None]

MAX_EVENT_BYTES = 1_000_000

_MAY_PASS: tuple[type[Exception], ...] = (MediaServiceError, *OUTAGE_ERRORS)

log = structlog.get_logger(__name__)


def storage_webhook(token: SecretStr, read_event: StorageEventReader) -> Route:
    """`POST /events/storage`, open to whoever holds `token`; an empty token opens it to nobody.

    `read_event` turns a payload into the bucket and key of a created object, or None for anything else.
    """
    expected = f"Bearer {token.get_secret_value()}".encode()

    async def receive(request: Request) -> Response:
        presented = request.headers.get("authorization", "").encode()
        if not token.get_secret_value() or not hmac.compare_digest(presented, expected):
            return Response(status_code=401, headers={"WWW-Authenticate": "Bearer"})
        payload = await _payload(request)
        if payload is None:
            return Response(status_code=400)
        created = read_event(payload)
        return Response(status_code=204) if created is None else await _handle(request.app.state.runtime, *created)

    return Route("/events/storage", receive, methods=["POST"])


async def _payload(request: Request) -> Mapping[str, Any] | None:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_EVENT_BYTES:
            return None
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return payload if isinstance(payload, dict) else None


async def _handle(runtime: Runtime, bucket: str, key: str) -> Response:
    event = StorageEvent(EventKind.CREATED, bucket, key)
    try:
        outcome = await handle_storage_event(event, stores=runtime.stores, object_store=runtime.object_store)
    except _MAY_PASS as error:
        # Storage sends the event again; the sweeper would find the object in any case.
        log.warning("storage event not handled", bucket=bucket, key=key, error=repr(error))
        return Response(status_code=503, headers={"Retry-After": "1"})
    runtime.metrics.count_storage_event(event.kind, outcome)
    return Response(status_code=204)
