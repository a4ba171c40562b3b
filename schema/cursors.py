"""Places in a list of media, as clients keep them."""

from __future__ import annotations

import base64
import binascii
from uuid import UUID

from service.errors import InvalidInput

_MARK = b"m1"
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def encode_cursor(media_id: UUID) -> str:
    return binascii.b2a_base64(_MARK + media_id.bytes, newline=False).translate(_URL_SAFE).decode()


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
