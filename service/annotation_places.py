"""Where annotations stand among those of their media: the surest first, equally sure ones by their id. Pure."""

from __future__ import annotations

import struct
from typing import Final
from uuid import UUID

_DOUBLE, _BITS = struct.Struct(">d"), struct.Struct(">Q")
_EVERY_BIT: Final = 2**64 - 1
_LAST_ID: Final = UUID(int=2**128 - 1)


def place_of(confidence: float, annotation_id: UUID) -> bytes:
    """24 bytes that sort as annotations are listed.

    The bits of an IEEE 754 double that is not negative sort as the number does; inverted, the greatest comes first.
    """
    # Adding 0 makes a negative zero a positive one.
    [bits] = _BITS.unpack(_DOUBLE.pack(confidence + 0.0))
    return _BITS.pack(bits ^ _EVERY_BIT) + annotation_id.bytes


def last_place(confidence: float) -> bytes:
    """The last place that any annotation of at least this confidence may have."""
    return place_of(max(confidence, 0.0), _LAST_ID)
