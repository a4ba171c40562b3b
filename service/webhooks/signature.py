"""Signatures of the Standard Webhooks specification 1.0.0: HMAC-SHA256 over `id.timestamp.body`.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping

# A receiver refuses what was signed longer ago, or is signed for later: whoever overhears a request cannot keep it.
TOLERANCE_S = 300


class Unverified(Exception):
    """What arrived was not signed by who holds the key, or not now. The message says why."""


def signed_headers(event_id: str, timestamp: int, body: bytes, keys: Iterable[bytes]) -> dict[str, str]:
    """The headers of one attempt at `timestamp` (Unix seconds), signed with each key."""
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(_signature(event_id, str(timestamp), body, key) for key in keys),
    }


def verify(headers: Mapping[str, str], body: bytes, keys: Iterable[bytes], *, now: float) -> str:
    """The event's id, if one of `keys` has signed `body` within the tolerance. Raises Unverified.

    `headers`: by their names in lower case.
    """
    try:
        event_id, timestamp, given = (headers[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))
    except KeyError as missing:
        raise Unverified(f"{missing.args[0]} is missing") from None
    if not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > 15:
        raise Unverified("webhook-timestamp is no number of seconds")
    if abs(now - int(timestamp)) > TOLERANCE_S:
        raise Unverified("it was signed more than five minutes ago, or for later")
    signatures = [each.encode() for each in given.split(" ")]
    # All of them, whichever fits.
    matches = [
        hmac.compare_digest(_signature(event_id, timestamp, body, key).encode(), each)
        for key in keys
        for each in signatures
    ]
    if not any(matches):
        raise Unverified("no signature fits")
    return event_id


def _signature(event_id: str, timestamp: str, body: bytes, key: bytes) -> str:
    digest = hmac.new(key, f"{event_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
