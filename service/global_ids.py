"""Global ids as clients know them: opaque to them, a type name and a UUID to us."""

from __future__ import annotations

import binascii
from uuid import UUID


def encode_id(type_name: str, value: UUID) -> str:
    """The id of something of that type: base64 of `{type_name}:{uuid}`."""
    # As `str(value)` would write it, in half the time: a page has dozens.
    text = f"{value.int:032x}"
    plain = f"{type_name}:{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
    return binascii.b2a_base64(plain.encode(), newline=False).decode()


def decode_id(global_id: str) -> tuple[str, UUID] | None:
    """The type name and UUID, or None for anything this service did not issue."""
    try:
        type_name, _, value = binascii.a2b_base64(global_id, strict_mode=True).decode("ascii").partition(":")
        parsed = UUID(value)
    except ValueError:
        return None
    return (type_name, parsed) if encode_id(type_name, parsed) == global_id else None
