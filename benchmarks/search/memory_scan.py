"""How long the service's own memory of hashes takes to compare, up to tens of millions: `LookAlikeMemory` by itself.

Hashes are those of half a million realistic media, and again with all bits moved by one place, by two and so on.
Nothing is asked of MongoDB, whose part is the same however many there are.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.search.asking import times_of
from benchmarks.search.hashes import flipped, realistic
from benchmarks.search.questions import DISTANCES
from benchmarks.stack import machine
from service.look_alike_memory import LookAlikeMemory, open_look_alike_memory
from service.perceptual_hash import Transform, derived

COUNTS: Final = (1_000_000, 10_000_000, 30_000_000)
ALL_TRANSFORMS: Final = "6, turned and mirrored"
_TIMES: Final = 40
_MADE: Final = 500_000
_BATCH: Final = 100_000
_BLINK_S: Final = 0.001


class _Stored:
    """The hashes, as the database gives them. One that is asked for searches has no memory to compare with."""

    def __init__(self, hashes: NDArray[np.int64]) -> None:
        self._hashes = hashes

    async def all_hashes(self) -> AsyncIterator[list[int]]:
        for start in range(0, len(self._hashes), _BATCH):
            yield self._hashes[start : start + _BATCH].tolist()
            await asyncio.sleep(0)


class _Live:
    """A change stream that has begun, and on which nothing happens."""

    beginnings = 1

    def listen(self, callback: Callable[[None], None]) -> None:
        self.begin = callback

    def is_live(self) -> bool:
        return True


async def measure(counts: Sequence[int] = COUNTS) -> dict[str, Any]:
    """By number of hashes and by distance, how long one search takes, and how long others wait meanwhile at most."""
    made = realistic(_MADE).stored
    chosen = made[np.random.default_rng(1).choice(_MADE, _TIMES)]
    asked = flipped(chosen, 1, seed=2).tolist()
    return {"machine": machine(), "counts": {str(count): await _of(_spread(made, count), asked) for count in counts}}


def _spread(made: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """So many hashes: those made, and then those with all bits moved by one place, by two and so on."""
    unsigned, tiles = made.view(np.uint64), -(-count // len(made))
    moved = [
        (unsigned << np.uint64(places)) | (unsigned >> np.uint64(64 - places)) if places else unsigned
        for places in range(tiles)
    ]
    return np.concatenate(moved)[:count].view(np.int64)


async def _of(hashes: NDArray[np.int64], asked: list[int]) -> dict[str, Any]:
    store: Any = _Stored(hashes)
    feed: Any = _Live()
    async with open_look_alike_memory(store, feed, capacity=len(hashes)) as memory:
        assert memory is not None
        feed.begin(None)
        while not memory.is_ready():  # noqa: ASYNC110 - it tells nobody when it has loaded
            await asyncio.sleep(0.1)
        found = {str(each): await _timed(memory, [[one] for one in asked], each) for each in DISTANCES}
        turned = [[derived(one, transform) for transform in Transform] for one in asked]
        return {**found, ALL_TRANSFORMS: await _timed(memory, turned, 6)}


async def _timed(memory: LookAlikeMemory, asked: Sequence[Sequence[int]], distance: int) -> dict[str, Any]:
    waits: list[float] = []
    watching = asyncio.create_task(_watch(waits))
    seconds, found = [], 0
    for each in asked:
        started = time.perf_counter()
        found += len(await memory.hashes_near(each, distance))
        seconds.append(time.perf_counter() - started)
    watching.cancel()
    return {**asdict(times_of(seconds)), "found": found / len(asked), "others_ms": 1e3 * max(waits, default=0)}


async def _watch(waits: list[float]) -> None:
    """How much later than asked for the event loop comes back to somebody else."""
    while True:
        started = time.perf_counter()
        await asyncio.sleep(_BLINK_S)
        waits.append(time.perf_counter() - started - _BLINK_S)
