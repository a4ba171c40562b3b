"""Perceptual hashes: as people write them (16 hex characters), as MongoDB stores them (signed 64-bit integers), and the
bands by which those near to one are found.

A hash is cut into three bands of 22, 21 and 21 bits. Two hashes that differ in at most d bits differ in at most r bits
of some band, where the radii r of the three bands add up to d - 2: if each band differed in more, that would be d + 1
bits in all (the generalised pigeonhole principle: Norouzi, Punjani and Fleet, "Fast exact search in Hamming space with
multi-index hashing", 2014; Qin and others, "GPH: similarity search in Hamming space", 2018). So whoever looks up every
value within r bits of each band of a hash misses nothing.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import combinations
from typing import Final

# Below every hash as it is stored.
LEAST_STORED: Final = -(2**63)

# From 42,486 pairs of photos: to 4 nearly all are one photo, encoded or scaled anew; to 8 somebody has to look; beyond
# 10 other photos are as near as copies.
DUPLICATE_DISTANCE: Final = 4
REVIEW_DISTANCE: Final = 8
MAX_DISTANCE: Final = 10

BAND_WIDTHS: Final = (22, 21, 21)
# A stored band says which one it is, above its bits.
BAND_NUMBER_SHIFT: Final = 22

_BAND_SHIFTS: Final = (42, 21, 0)
_ALL_BITS: Final = 2**64 - 1

# A hash is eight rows of eight frequencies, the lowest first; these are the odd ones of each row, and the odd rows.
_ODD_COLUMNS: Final = 0x5555_5555_5555_5555
_ODD_ROWS: Final = 0x00FF_00FF_00FF_00FF
# Blocks of 1, 2 and 4 bits that change places to transpose a matrix of 8 x 8 (Warren, "Hacker's Delight", 7-3).
_BLOCKS: Final = ((7, 0x00AA_00AA_00AA_00AA), (14, 0x0000_CCCC_0000_CCCC), (28, 0x0000_0000_F0F0_F0F0))

# Half of the bits say "above the median". Where fewer do, most frequencies are equal: the picture is flat or a ramp.
_LEAST_BITS: Final = 16


class Transform(enum.StrEnum):
    """How a picture may have been turned: mirrored left to right, then rotated clockwise."""

    IDENTITY = "IDENTITY"
    MIRRORED = "MIRRORED"
    ROTATED_90 = "ROTATED_90"
    ROTATED_180 = "ROTATED_180"
    ROTATED_270 = "ROTATED_270"
    MIRRORED_ROTATED_90 = "MIRRORED_ROTATED_90"
    MIRRORED_ROTATED_180 = "MIRRORED_ROTATED_180"
    MIRRORED_ROTATED_270 = "MIRRORED_ROTATED_270"


# In the order in which the hashes of a picture's transforms are stored.
TRANSFORMS: Final = tuple(Transform)[1:]

# Of each whether rows and columns change places, and which frequencies then change their sign: mirroring turns over
# those that are odd that way (of a cosine transform; `imagehash` says of each whether it is above their median).
_EFFECTS: Final = {
    Transform.IDENTITY: (False, 0),
    Transform.MIRRORED: (False, _ODD_COLUMNS),
    Transform.ROTATED_90: (True, _ODD_COLUMNS),
    Transform.ROTATED_180: (False, _ODD_COLUMNS ^ _ODD_ROWS),
    Transform.ROTATED_270: (True, _ODD_ROWS),
    Transform.MIRRORED_ROTATED_90: (True, _ODD_COLUMNS ^ _ODD_ROWS),
    Transform.MIRRORED_ROTATED_180: (False, _ODD_ROWS),
    Transform.MIRRORED_ROTATED_270: (True, 0),
}


def to_stored(hexadecimal: str) -> int:
    """The signed 64-bit integer with the same bits as 16 hex characters."""
    return int.from_bytes(bytes.fromhex(hexadecimal), "big", signed=True)


def from_stored(value: int) -> str:
    """The 16 lower-case hex characters with the same bits as a signed 64-bit integer."""
    return value.to_bytes(8, "big", signed=True).hex()


def distance(one: int, other: int) -> int:
    """In how many of 64 bits two stored hashes differ."""
    return ((one ^ other) & _ALL_BITS).bit_count()


def within(max_distance: int, *, of: int, among: Iterable[int]) -> list[int]:
    """Those stored hashes that differ from one in at most so many bits."""
    return [value for value in among if ((value ^ of) & _ALL_BITS).bit_count() <= max_distance]


def is_telling(value: int) -> bool:
    """Whether a stored hash tells its picture from others: those of flat pictures and plain ramps are all alike."""
    return _LEAST_BITS <= (value & _ALL_BITS).bit_count() <= 64 - _LEAST_BITS


def derived(value: int, transform: Transform) -> int:
    """About the hash, as stored, of the transformed picture, from that of the picture alone.

    Usually some bits away from the true one, as the median moves when signs change: over 2,000 made pictures 4 to 8
    by median, one in a hundred more than 10 to 14, and 0 to 2 for MIRRORED_ROTATED_270. Nothing bounds it: 18 have been
    seen. Processing knows the true ones.
    """
    transposes, flipped = _EFFECTS[transform]
    bits = value & _ALL_BITS
    for shift, mask in _BLOCKS if transposes else ():
        moved = (bits ^ bits >> shift) & mask
        bits ^= moved ^ moved << shift
    bits ^= flipped
    return bits - 2**64 if bits >> 63 else bits


def bands_of(value: int) -> list[int] | None:
    """The bands of a stored hash, as they are indexed; None for one that tells nothing: such are not looked for."""
    return list(_bands(value)) if is_telling(value) else None


def radii(max_distance: int) -> tuple[int, int, int]:
    """How many bits of each band may differ if no hash within `max_distance` (0 to 64) is to be missed.

    They add up to two less, as equal as may be; the first band is the widest and is given the most. -1: a band that
    need not be looked at.
    """
    each, rest = divmod(max_distance - 2, len(BAND_WIDTHS))
    first, second, third = (each + (number < rest) for number in range(len(BAND_WIDTHS)))
    return first, second, third


def neighbouring_bands(value: int, max_distance: int) -> list[int]:
    """Bands, as they are indexed: every telling hash within `max_distance` of a stored one has one of them at least."""
    return [
        band ^ mask
        for band, width, radius in zip(_bands(value), BAND_WIDTHS, radii(max_distance), strict=True)
        for mask in _masks(width, radius)
    ]


def _bands(value: int) -> Iterator[int]:
    for number, (width, shift) in enumerate(zip(BAND_WIDTHS, _BAND_SHIFTS, strict=True)):
        yield number << BAND_NUMBER_SHIFT | (value >> shift) & ((1 << width) - 1)


@cache
def _masks(width: int, radius: int) -> tuple[int, ...]:
    """Every value of `width` bits with at most `radius` of them set; none where that is -1."""
    return tuple(
        sum(1 << bit for bit in bits) for count in range(radius + 1) for bits in combinations(range(width), count)
    )
