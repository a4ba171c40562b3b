"""Places in a list of media, as clients keep them."""

from __future__ import annotations

import base64
import binascii
from uuid import UUID

from service.errors import InvalidInput

_MARK = b"m1"


def encode_cursor(media_id: UUID) -> str:
    return base64.urlsafe_b64encode(_MARK + media_id.bytes).decode()


def decode_cursor(cursor: str) -> UUID:
    """The id to continue after. Raises InvalidInput for anything that is not a cursor of ours."""
    try:
        raw = base64.b64decode(cursor, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 18 or not raw.startswith(_MARK):
        raise InvalidInput(
            "`after` is not a cursor of this list; leave it out to begin at the newest.", field=["after"]
        )
    return UUID(bytes=raw[2:])
