"""An answer as ASGI messages: headers made once as bytes, a body that is whole, compressed where that pays."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from starlette.types import Receive, Scope, Send

from service.transport.compression import MIN_BYTES, Coding

RawHeaders = tuple[tuple[bytes, bytes], ...]


class Reply:
    """ASGI application that sends one whole body."""

    __slots__ = ("_body", "_headers", "_status")

    def __init__(self, status: int, headers: RawHeaders, body: bytes, coding: Coding | None = None) -> None:
        self._status = status
        if coding is not None and len(body) >= MIN_BYTES:
            body = coding.encode(body)
            headers += ((b"content-encoding", coding.token),)
        self._headers = headers
        self._body = body

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [*self._headers, (b"content-length", b"%d" % len(self._body))]
        await send({"type": "http.response.start", "status": self._status, "headers": headers})
        await send({"type": "http.response.body", "body": self._body})


@lru_cache(maxsize=16)
def graphql_headers(media_type: str) -> RawHeaders:
    """What every GraphQL answer says of itself. It depends on who asks: no cache may keep it."""
    return raw_headers(
        {
            "Content-Type": f"{media_type}; charset=utf-8",
            "Cache-Control": "no-store",
            "Vary": "Accept, Accept-Encoding, Authorization",
            "X-Content-Type-Options": "nosniff",
        }
    )


def raw_headers(headers: Mapping[str, str]) -> RawHeaders:
    """Headers as ASGI wants them: names in lower case, all of it bytes."""
    return tuple((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items())


def header_of(scope: Scope, name: bytes) -> str | None:
    """The values of a request header, joined by commas; None where it was not sent. `name` is in lower case."""
    values = [value for key, value in scope["headers"] if key == name]
    if not values:
        return None
    return str((values[0] if len(values) == 1 else b",".join(values)).decode("latin-1"))
