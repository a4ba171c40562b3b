"""How long an object may be kept and served: Cache-Control and Expires between a behaviour's three TTLs.

Rules: Amazon CloudFront Developer Guide, "Manage how long content stays in the cache (expiration)".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.dev.edge.dates import http_date

if TYPE_CHECKING:
    from collections.abc import Mapping

    from service.dev.edge.origin import OriginObject

DAY = 86_400

_SECONDS = re.compile(r"[0-9]{1,10}")
_NOT_TO_BE_KEPT = frozenset({"no-store", "private"})
_NO_STALE = frozenset({"no-cache", "no-store", "private", "must-revalidate", "proxy-revalidate"})


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """A cache policy's TTLs in seconds, and how long an error is kept. CloudFront's defaults."""

    minimum_s: int = 0
    default_s: int = DAY
    maximum_s: int = 365 * DAY
    error_s: int = 10

    def clamp(self, seconds: int) -> int:
        return max(self.minimum_s, min(seconds, self.maximum_s))


def lifetime(found: OriginObject, limits: Lifetimes, now: float) -> int | None:
    """Seconds for which `found` stays fresh after `now` (Unix): 0 to ask about it each time, None not to keep it.

    A minimum above 0 overrules even `no-store` and `private`, as it does at CloudFront.
    """
    directives = _directives(found.cache_control)
    if _NOT_TO_BE_KEPT & directives.keys():
        return limits.minimum_s or None
    if "no-cache" in directives:
        return limits.minimum_s
    seconds = directives.get("s-maxage", directives.get("max-age", ""))
    if _SECONDS.fullmatch(seconds):
        return limits.clamp(int(seconds))
    if found.expires is not None:
        return limits.clamp(_until(found.expires, now))
    return max(limits.minimum_s, limits.default_s)


def stale_until(found: OriginObject, fresh_until: float) -> float:
    """When `found` may no longer stand in for an origin that is down (Unix seconds, or infinity)."""
    directives = _directives(found.cache_control)
    if _NO_STALE & directives.keys():
        return fresh_until
    seconds = directives.get("stale-if-error", "")
    return fresh_until + int(seconds) if _SECONDS.fullmatch(seconds) else float("inf")


def _directives(cache_control: str | None) -> Mapping[str, str]:
    parts = (cache_control or "").lower().split(",")
    named = (part.strip().partition("=")[::2] for part in parts)
    return {name.strip(): value.strip() for name, value in named}


def _until(date: str, now: float) -> int:
    moment = http_date(date)
    # RFC 9111 5.3: what is not a date, 0 above all, is in the past.
    return 0 if moment is None else max(0, int(moment.timestamp() - now))
