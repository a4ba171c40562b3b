"""No hash within a distance is missed, bands are what is stored, and turned pictures have about the derived hashes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import imagehash
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from service.perceptual_hash import (
    BAND_NUMBER_SHIFT,
    BAND_WIDTHS,
    DUPLICATE_DISTANCE,
    MAX_DISTANCE,
    REVIEW_DISTANCE,
    Transform,
    bands_of,
    derived,
    distance,
    from_stored,
    is_telling,
    neighbouring_bands,
    radii,
    to_stored,
)
from tests import photos
from tests.turns import TURNS

PAIRS = 10_000
DISTANCES = range(MAX_DISTANCE + 1)
Hashes = NDArray[np.uint64]


def telling(random: np.random.Generator, count: int) -> Hashes:
    """Hashes as `imagehash.phash` makes them: half of the bits are set."""
    bits = np.argsort(np.argsort(random.random((count, 64)), axis=1), axis=1) < 32
    return np.packbits(bits, axis=1).view(">u8").ravel().astype(np.uint64)


def differing(random: np.random.Generator, hashes: Hashes, by: int) -> Hashes:
    """Each with exactly so many of its bits turned over."""
    order = np.argsort(random.random((len(hashes), 64)), axis=1)[:, :by].astype(np.uint64)
    masks = np.bitwise_or.reduce(np.uint64(1) << order, axis=1, initial=np.uint64(0))
    return np.asarray(hashes ^ masks, np.uint64)


def bands(hashes: Hashes) -> Iterator[Hashes]:
    for number, (width, shift) in enumerate(zip(BAND_WIDTHS, (42, 21, 0), strict=True)):
        bits = hashes >> np.uint64(shift) & np.uint64((1 << width) - 1)
        yield np.uint64(number << BAND_NUMBER_SHIFT) | bits


def is_candidate(one: Hashes, other: Hashes, max_distance: int) -> NDArray[np.bool_]:
    """Whether `other` has a band that is asked for to find all within `max_distance` of `one`: those of the hash 0 tell
    by which differences.
    """
    found = np.zeros(len(one), bool)
    asked = np.array(neighbouring_bands(0, max_distance), np.uint64)
    for number, (ours, theirs) in enumerate(zip(bands(one), bands(other), strict=True)):
        found |= np.isin((ours ^ theirs) | np.uint64(number << BAND_NUMBER_SHIFT), asked)
    return found


@pytest.mark.parametrize("max_distance", DISTANCES)
def test_none_of_ten_thousand_near_pairs_is_missed(max_distance: int) -> None:
    random = np.random.default_rng(max_distance)
    hashes = telling(random, PAIRS)
    for by in range(max_distance + 1):
        assert is_candidate(hashes, differing(random, hashes, by), max_distance).all()


@pytest.mark.parametrize("max_distance", DISTANCES)
def test_of_ten_thousand_random_pairs_those_that_are_near_are_found_and_few_others(max_distance: int) -> None:
    random = np.random.default_rng(100 + max_distance)
    # Far fewer bits are free, so that some are near by chance.
    free = np.uint64(0x0F0F_0F0F_00FF_00FF)
    one, other = telling(random, PAIRS), telling(random, PAIRS)
    other_near_one = (one & ~free) | (other & free)
    near = np.bitwise_count(one ^ other_near_one) <= max_distance
    found = is_candidate(one, other_near_one, max_distance)
    assert not (near & ~found).any()
    assert max_distance < 5 or near.any()
    assert is_candidate(one, other, max_distance).mean() < 0.01


@pytest.mark.parametrize("value", [0, -1, -(2**63), 2**63 - 1, 0x0F0F_F0F0_1234_5678, -0x0F0F_F0F0_1234_5678])
def test_neighbours_are_those_of_the_bands_that_are_stored(value: int) -> None:
    stored = [int(band[0]) for band in bands(np.array([value & 2**64 - 1], np.uint64))]
    assert bands_of(value) in (None, stored)
    for max_distance in DISTANCES:
        asked = neighbouring_bands(value, max_distance)
        differences = {(band >> BAND_NUMBER_SHIFT, band ^ stored[band >> BAND_NUMBER_SHIFT]) for band in asked}
        assert len(asked) == len(differences)
        within = {
            (number, sum(1 << bit for bit in chosen))
            for number, (width, radius) in enumerate(zip(BAND_WIDTHS, radii(max_distance), strict=True))
            for count in range(min(radius, 2) + 1)
            for chosen in combinations(range(width), count)
        }
        assert {each for each in differences if each[1].bit_count() <= 2} == within


@given(st.integers(0, 64), st.data())
def test_whatever_way_bits_differ_one_band_differs_in_no_more_than_its_radius(apart: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, min(apart, BAND_WIDTHS[0])))
    second = data.draw(st.integers(0, min(apart - first, BAND_WIDTHS[1])))
    differences = (first, second, apart - first - second)
    for max_distance in range(apart, 65):
        assert any(each <= radius for each, radius in zip(differences, radii(max_distance), strict=True))


@given(st.integers(0, 64))
def test_radii_are_as_small_and_as_equal_as_may_be(max_distance: int) -> None:
    found = radii(max_distance)
    assert sum(found) == max_distance - 2
    assert max(found) - min(found) <= 1
    assert min(found) >= -1
    assert list(found) == sorted(found, reverse=True)


def test_thresholds_are_in_order() -> None:
    assert DUPLICATE_DISTANCE < REVIEW_DISTANCE < MAX_DISTANCE


@given(st.integers(-(2**63), 2**63 - 1))
def test_flat_pictures_have_no_bands(value: int) -> None:
    assert (bands_of(value) is not None) == is_telling(value) == (16 <= (value & 2**64 - 1).bit_count() <= 48)


def _phash(picture: Image.Image) -> int:
    return to_stored(str(imagehash.phash(picture)))


def test_derived_hashes_are_about_those_of_the_turned_picture() -> None:
    apart: dict[Transform, list[int]] = {transform: [] for transform in TURNS}
    for seed in range(12):
        picture = photos.scene(360, 270, seed=seed)
        value = _phash(picture)
        assert derived(value, Transform.IDENTITY) == value
        for transform, turn in TURNS.items():
            apart[transform].append(distance(derived(value, transform), _phash(picture.transpose(turn))))
    assert max(apart[Transform.MIRRORED_ROTATED_270]) <= 2
    # Strangers are 32 apart; this is how far off it is, and why processing stores the true ones.
    assert all(sum(each) / len(each) < 9 for each in apart.values()), apart


@given(st.integers(-(2**63), 2**63 - 1))
def test_turning_back_gives_the_hash_itself(value: int) -> None:
    for transform in Transform:
        back = {Transform.ROTATED_90: Transform.ROTATED_270, Transform.ROTATED_270: Transform.ROTATED_90}
        turned = derived(value, transform)
        assert -(2**63) <= turned < 2**63
        assert derived(turned, back.get(transform, transform)) == value
    assert to_stored(from_stored(value)) == value
