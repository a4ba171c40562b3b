"""How a file is cut into parts: a few megabytes each, and never more of them than clients can keep track of."""

from __future__ import annotations

from typing import NamedTuple

MEBIBYTE = 1024**2
# S3 takes no smaller part but the last (https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html).
MIN_PART_BYTES = 5 * MEBIBYTE
MAX_PART_BYTES = 16 * MEBIBYTE
DEFAULT_PART_BYTES = 8 * MEBIBYTE
MAX_PARTS = 1_000


class PartPlan(NamedTuple):
    """Parts 1 to `part_count`, of `part_size` bytes each but for the last, which has the rest."""

    part_size: int
    part_count: int


def plan_parts(byte_size: int, preferred: int = DEFAULT_PART_BYTES) -> PartPlan:
    """Parts of `preferred` bytes, or of as many whole mebibytes as keep them within MAX_PARTS."""
    smallest = -(-byte_size // MAX_PARTS)
    part_size = max(preferred, -(-smallest // MEBIBYTE) * MEBIBYTE)
    return PartPlan(part_size, -(-byte_size // part_size))


def bytes_of_part(number: int, byte_size: int, part_size: int) -> int:
    """How many bytes part `number` of a file of `byte_size` bytes has."""
    return min(part_size, byte_size - (number - 1) * part_size)
