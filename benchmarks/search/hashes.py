"""A million perceptual hashes as a real collection has them: not uniform, and in clusters.

What makes a pHash is 64 low frequencies of a picture and their median (Krawetz's pHash, as `imagehash.phash` works it
out), so half of its bits are set, and bits are neither fair nor independent: skies are bright, horizons are level. How
those frequencies vary together is taken from crops of the sample photos; hashes are drawn from a normal distribution
with that mean and covariance, so that the few photos do not come back themselves.

Then pictures come back: bursts of one owner, and re-posts of something earlier, each with a few bits flipped. Those
often taken are taken more often (Simon's process), and the early ones most of all, which gives clusters a long tail.
A few pictures are flat.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Bits = NDArray[np.bool_]

SAMPLES: Final = Path(__file__).parents[2] / "service/dev/samples"
PHOTOS: Final = ("cat.jpg", "coffee.jpg", "raccoon.jpg", "rocket.jpg")
# Of 32 x 32 frequencies a pHash keeps the lowest 8 x 8.
_SIDE: Final = 32
_KEPT: Final = 8
_CROPS: Final = 1_500

BURST, REPOST, FLAT = 0.12, 0.18, 0.02
_BURST_REACH: Final = 8
# 1: any earlier picture is as likely to be posted again.
_OLD_FAME: Final = 1.5
# A re-post is scaled and encoded again (distances 0, 2, 4 ...); the next of a burst has moved.
_REPOST_PAIRS: Final = 1.0
_BURST_PAIRS: Final = 2.5
_MOST_PAIRS: Final = 8


@dataclass(frozen=True, slots=True)
class Hashes:
    """`stored`: as signed 64-bit integers. `burst_of`: for each the media whose owner took it, or itself."""

    stored: NDArray[np.int64]
    burst_of: NDArray[np.int64]


def realistic(count: int, seed: int = 6) -> Hashes:
    """The hashes of the media 0 to `count`; the same on every run."""
    random = np.random.default_rng(seed)
    fresh = _fresh(random, count)
    flat = random.random(count) < FLAT
    fresh[flat] &= random.random((int(flat.sum()), 64)) < 0.1
    drawn = random.random(count)
    is_burst, is_repost = drawn < BURST, (drawn >= BURST) & (drawn < BURST + REPOST)
    roots, earlier = _roots(random, is_burst, is_repost)
    pairs = np.where(is_burst, random.poisson(_BURST_PAIRS, count), random.poisson(_REPOST_PAIRS, count))
    pairs[~(is_burst | is_repost)] = 0
    bits = fresh[roots]
    for start in range(0, count, 50_000):
        part = slice(start, start + 50_000)
        bits[part] ^= _flips(random, bits[part], np.minimum(pairs[part], _MOST_PAIRS))
    stored = np.packbits(bits, axis=1).view(">u8").ravel().astype(np.uint64).view(np.int64)
    return Hashes(stored, np.where(is_burst, earlier, np.arange(count)))


def flipped(stored: NDArray[np.int64], pairs: int, seed: int) -> NDArray[np.int64]:
    """The same hashes, each with so many of its set bits cleared and so many others set."""
    bits = np.unpackbits(stored.astype(">i8").view(np.uint8)).reshape(-1, 64).astype(bool)
    bits ^= _flips(np.random.default_rng(seed), bits, np.full(len(bits), pairs))
    return np.packbits(bits, axis=1).view(">u8").ravel().astype(np.uint64).view(np.int64)


def fresh_hashes(count: int, seed: int) -> NDArray[np.int64]:
    """Hashes of pictures that nobody has posted."""
    bits = _fresh(np.random.default_rng(seed), count)
    return np.packbits(bits, axis=1).view(">u8").ravel().astype(np.uint64).view(np.int64)


def _roots(random: Any, is_burst: Bits, is_repost: Bits) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each picture the one that it is a copy of, through all copies, and the one it was taken after."""
    numbers = np.arange(len(is_burst))
    reach = random.integers(1, _BURST_REACH + 1, len(numbers))
    chosen = (random.random(len(numbers)) ** _OLD_FAME * numbers).astype(np.int64)
    earlier = np.where(is_burst, np.maximum(numbers - reach, 0), np.where(is_repost, chosen, numbers))
    roots = numbers.tolist()
    for number in np.flatnonzero(is_burst | is_repost).tolist():
        roots[number] = roots[int(earlier[number])]
    return np.array(roots), earlier


def _flips(random: Any, bits: Bits, pairs: NDArray[np.int64]) -> Bits:
    """Which bits to turn over: as many set ones as others, for half of the frequencies stay above the median."""
    keys = random.random(bits.shape)
    first_set = np.argsort(np.argsort(keys + ~bits, axis=1), axis=1)
    first_clear = np.argsort(np.argsort(keys + bits, axis=1), axis=1)
    bound = pairs[:, None]
    return np.asarray((bits & (first_set < bound)) | (~bits & (first_clear < bound)))


def _fresh(random: Any, count: int) -> Bits:
    mean, covariance = _frequencies()
    bits = np.empty((count, 64), bool)
    for start in range(0, count, 50_000):
        drawn = random.multivariate_normal(mean, covariance, min(50_000, count - start), method="cholesky")
        bits[start : start + len(drawn)] = drawn > np.median(drawn, axis=1)[:, None]
    return bits


@cache
def _frequencies() -> tuple[NDArray[Any], NDArray[Any]]:
    """Mean and covariance of what pHash takes the median of, over crops of real photos.

    Signs stay and magnitudes are drawn together by the square root: few crops have most of the contrast.
    """
    random = np.random.default_rng(1)
    step = np.arange(_SIDE)
    cosines = np.cos(np.pi * np.outer(np.arange(_KEPT), 2 * step + 1) / (2 * _SIDE))
    rows = []
    for pixels in _crops(random):
        low = (cosines @ pixels @ cosines.T).ravel()
        rows.append(np.sign(low) * np.sqrt(np.abs(low)))
    found = np.array(rows)
    return found.mean(axis=0), np.cov(found.T) + 1e-6 * np.eye(64) * found.var()


def _crops(random: Any) -> Iterator[NDArray[Any]]:
    for name in PHOTOS:
        picture = Image.open(SAMPLES / name).convert("L")
        for _ in range(_CROPS):
            share = random.uniform(0.25, 1)
            width, height = picture.width * share, picture.height * share
            left, top = random.uniform(0, picture.width - width), random.uniform(0, picture.height - height)
            box = (left, top, left + width, top + height)
            small = picture.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS, box=box, reducing_gap=2)
            pixels = np.asarray(small, np.float64)
            yield pixels[:, ::-1] if random.random() < 0.5 else pixels
