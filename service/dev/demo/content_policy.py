"""What our pages may load and where they may connect: https://www.w3.org/TR/CSP3/."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from service.settings import Settings

# `trusted-types 'none'` refuses every string that would be parsed as HTML or script, whoever put it there.
_COMMON = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
)


def page_policy(settings: Settings) -> str:
    """The demo page: pictures from edge and memory, clips from the edge, bytes to storage, all the rest from here."""
    sockets = (f"ws{origin.removeprefix('http')}" for origin in settings.http.allowed_origins)
    storage = settings.storage.public_endpoint or settings.storage.endpoint
    storage = storage or f"https://s3.{settings.storage.region}.amazonaws.com"
    edge = _origin(settings.delivery.base_url)
    policy = _policy(image_sources=("'self'", "blob:", edge), connect_sources=("'self'", *sockets, _origin(storage)))
    return f"{policy}; media-src {edge}"


def explorer_policy() -> str:
    """The explorer: this origin only."""
    return _policy(image_sources=("'self'",), connect_sources=("'self'",))


def _policy(*, image_sources: Iterable[str], connect_sources: Iterable[str]) -> str:
    return "; ".join([*_COMMON, f"img-src {' '.join(image_sources)}", f"connect-src {' '.join(connect_sources)}"])


def _origin(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"
