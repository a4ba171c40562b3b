"""A perceptual hash as people write it (16 hex characters) and as MongoDB stores it (a signed 64-bit integer)."""

from __future__ import annotations


def to_stored(hexadecimal: str) -> int:
    """The signed 64-bit integer with the same bits as 16 hex characters."""
    return int.from_bytes(bytes.fromhex(hexadecimal), "big", signed=True)


def from_stored(value: int) -> str:
    """The 16 lower-case hex characters with the same bits as a signed 64-bit integer."""
    return value.to_bytes(8, "big", signed=True).hex()
