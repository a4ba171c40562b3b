"""Files are cut into parts that S3 takes and that clients can keep track of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.part_plan import DEFAULT_PART_BYTES, MAX_PART_BYTES, MAX_PARTS, MIN_PART_BYTES, bytes_of_part, plan_parts
from service.policies import MAX_BYTES


@given(st.integers(1, MAX_BYTES), st.integers(MIN_PART_BYTES, MAX_PART_BYTES))
def test_parts_cover_the_file_once(byte_size: int, preferred: int) -> None:
    part_size, part_count = plan_parts(byte_size, preferred)
    sizes = [bytes_of_part(number, byte_size, part_size) for number in range(1, part_count + 1)]
    assert sum(sizes) == byte_size
    assert all(size == part_size for size in sizes[:-1])
    assert 0 < sizes[-1] <= part_size
    assert part_count <= MAX_PARTS


@pytest.mark.parametrize(
    ("byte_size", "expected"),
    [
        (DEFAULT_PART_BYTES, (DEFAULT_PART_BYTES, 1)),
        (DEFAULT_PART_BYTES + 1, (DEFAULT_PART_BYTES, 2)),
        (40_000_000, (DEFAULT_PART_BYTES, 5)),
        (MAX_BYTES, (DEFAULT_PART_BYTES, 640)),
    ],
)
def test_parts_stay_small(byte_size: int, expected: tuple[int, int]) -> None:
    assert plan_parts(byte_size) == expected


def test_a_huge_file_has_larger_parts_rather_than_more() -> None:
    assert plan_parts(MAX_BYTES, MIN_PART_BYTES) == (6 * 1024**2, 854)
