"""A receiver of webhooks for trying them: it verifies what arrives as any receiver should, and prints it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from service.webhooks.signature import Unverified, verify

_MAX_BODY_BYTES = 64 * 1024


def webhook_receiver(keys: Sequence[bytes], tell: Callable[[str], None]) -> Starlette:
    """Accepts what one of `keys` has signed; `tell`s a line of each, and of what it refuses with 401."""
    seen: dict[str, None] = {}

    async def receive(request: Request) -> Response:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MAX_BODY_BYTES:
                return PlainTextResponse("too large", status_code=413)
        try:
            event_id = verify(request.headers, body, keys, now=time.time())
        except Unverified as error:
            tell(f"refused: {error}")
            return PlainTextResponse("unverified", status_code=401)
        event = orjson.loads(body)
        again = "again  " if event_id in seen else ""
        seen[event_id] = None
        if len(seen) > 10_000:
            seen.pop(next(iter(seen)))
        tell(f"{again}{event_id}  {event['type']}  {orjson.dumps(event['data']).decode()}")
        return Response(status_code=204)

    async def alive(_: Request) -> Response:
        return PlainTextResponse("a receiver of webhooks; POST only")

    return Starlette(
        routes=[
            Route("/{path:path}", receive, methods=["POST"]),
            Route("/{path:path}", alive, methods=["GET"]),
        ]
    )
