"""A perceptual hash as people write it (16 hex characters) and as MongoDB stores it (a signed 64-bit integer)."""

from __future__ import annotations

from typing import Final

# Below every hash as it is stored.
LEAST_STORED: Final = -(2**63)

_ALL_BITS: Final = 2**64 - 1

# Half of the bits say "above the median". Where fewer do, most frequencies are equal: the picture is flat or a ramp.
_LEAST_BITS: Final = 16


def to_stored(hexadecimal: str) -> int:
    """The signed 64-bit integer with the same bits as 16 hex characters."""
    return int.from_bytes(bytes.fromhex(hexadecimal), "big", signed=True)


def from_stored(value: int) -> str:
    """The 16 lower-case hex characters with the same bits as a signed 64-bit integer."""
    return value.to_bytes(8, "big", signed=True).hex()


def distance(one: int, other: int) -> int:
    """In how many of 64 bits two stored hashes differ."""
    return ((one ^ other) & _ALL_BITS).bit_count()


def is_telling(value: int) -> bool:
    """Whether a stored hash tells its picture from others: those of flat pictures and plain ramps are all alike."""
    return _LEAST_BITS <= (value & _ALL_BITS).bit_count() <= 64 - _LEAST_BITS
