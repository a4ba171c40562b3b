"""All perceptual hashes in memory, to compare one with all of them in a millisecond a million."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Final
from uuid import UUID

import structlog
from anyio import CapacityLimiter, to_thread

from service.cancellation import end
from service.change_feed import MAX_LAG_S, ChangeFeed
from service.stores.changes import Change
from service.stores.database import OUTAGE_ERRORS
from service.stores.look_alikes import LookAlikeStore

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

log = structlog.get_logger(__name__)

_PAUSE_S: Final = 5.0
# Media whose hashes are asked for at once.
_READ_AT_ONCE: Final = 1_000
# More of them than this are not caught up with one by one.
_MOST_WRITTEN: Final = 100_000
# What is compared at once stays in the processor's cache, for all that is asked.
_COMPARED_AT_ONCE: Final = 1 << 18
# Comparing so many takes half a millisecond; with more a thread does it, meanwhile others have their turn.
_MOST_COMPARED_HERE: Final = 500_000
_THREADS: Final = 2
_FIRST_SIZE: Final = 1 << 14
_ALL_BITS: Final = 2**64 - 1


class LookAlikeMemory:
    """Says which hashes lie near to others: from memory while it is true, else from the database. `run` keeps it so.

    Hashes are only ever added: one that no media has any more is looked for in vain, and gone with the next loading. So
    nothing is missed of what was written before the change stream's lag, and who may see what is never decided here.
    The database answers while hashes are being loaded, while the stream is not live, while a written hash is still
    unread after MAX_LAG_S, and where there are more than `capacity`; each takes 8 bytes.
    """

    def __init__(self, store: LookAlikeStore, change_feed: ChangeFeed, *, capacity: int) -> None:
        self._store = store
        self._change_feed = change_feed
        self._capacity = capacity
        # Of which the first `_count` are hashes; None before they are loaded, and where there are too many.
        self._hashes: NDArray[np.uint64] | None = None
        self._count = 0
        # Media whose hashes were written since, and when that was heard of.
        self._written: dict[UUID, float] = {}
        self._is_stale = False
        # Which of the stream's beginnings all that is held comes after.
        self._loaded_in = 0
        self._woken = asyncio.Event()
        self._threads = CapacityLimiter(_THREADS)
        change_feed.listen(self._hear)

    async def run(self) -> None:
        """Load, and add what is written, until cancelled."""
        await to_thread.run_sync(import_module, "numpy")
        while True:
            await self._woken.wait()
            self._woken.clear()
            try:
                if self._is_stale:
                    await self._load()
                await self._add_written()
            except Exception as error:
                # Whatever it is, the database answers until it is over.
                is_outage = isinstance(error, OUTAGE_ERRORS)
                log.warning("perceptual hashes cannot be read; trying again", exc_info=not is_outage, error=repr(error))
                self._woken.set()
                await asyncio.sleep(_PAUSE_S)

    def is_ready(self) -> bool:
        """Whether memory answers at present."""
        unread_since = next(iter(self._written.values()), None)
        is_late = unread_since is not None and time.monotonic() - unread_since > MAX_LAG_S
        return self._hashes is not None and not self._is_stale and not is_late and self._change_feed.is_live()

    async def hashes_near(self, asked: Collection[int], max_distance: int) -> set[int]:
        """What `LookAlikeStore.hashes_near` answers; of the latest writes what the change stream has told of."""
        if self._hashes is None or not self.is_ready():
            return await self._store.hashes_near(asked, max_distance)
        held = self._hashes[: self._count]
        if len(held) * len(asked) <= _MOST_COMPARED_HERE:
            return _near(held, tuple(asked), max_distance)
        return await to_thread.run_sync(_near, held, tuple(asked), max_distance, limiter=self._threads)

    async def _load(self) -> None:
        # What is written from here on is heard of: the stream was open before.
        self._is_stale, self._hashes, self._count = False, None, 0
        self._loaded_in = self._change_feed.beginnings
        loaded = _grown(None, _FIRST_SIZE)
        count = 0
        try:
            async for hashes in self._store.all_hashes():
                if count + len(hashes) > self._capacity:
                    self._give_up()
                    return
                loaded, count = _added(loaded, count, hashes)
        except Exception:
            self._is_stale = True
            raise
        self._hashes, self._count = loaded, count
        log.info("perceptual hashes are in memory", count=count)

    async def _add_written(self) -> None:
        while self._written and not self._is_stale:
            taken = dict(list(self._written.items())[:_READ_AT_ONCE])
            hashes = await self._store.hashes_of(taken.keys()) if self._hashes is not None else []
            if self._hashes is not None:
                if self._count + len(hashes) > self._capacity:
                    self._give_up()
                else:
                    self._hashes, self._count = _added(self._hashes, self._count, hashes)
            for media_id, heard_at in taken.items():
                # Written once more while it was read, it is read once more.
                if self._written.get(media_id) == heard_at:
                    del self._written[media_id]

    def _give_up(self) -> None:
        log.warning("more perceptual hashes than memory may hold: the database answers", capacity=self._capacity)
        self._hashes = None

    def _hear(self, change: Change | None) -> None:
        if change is None:
            # A stream that was interrupted or late tells all in the end; only where it begins anew something is missed.
            self._is_stale = self._is_stale or self._change_feed.beginnings != self._loaded_in
        elif _writes_a_hash(change):
            self._written.pop(change.id, None)
            self._written[change.id] = time.monotonic()
            self._is_stale = self._is_stale or len(self._written) > _MOST_WRITTEN
        if self._is_stale:
            self._written.clear()
        if self._is_stale or self._written:
            self._woken.set()


@asynccontextmanager
async def open_look_alike_memory(
    store: LookAlikeStore, change_feed: ChangeFeed, *, capacity: int
) -> AsyncIterator[LookAlikeMemory | None]:
    """A memory of up to `capacity` hashes, kept for as long as the block lasts; None for a capacity of 0.

    Enter it before the change feed runs, or it misses the beginning and stays empty.
    """
    if not capacity:
        yield None
        return
    memory = LookAlikeMemory(store, change_feed, capacity=capacity)
    keeping = asyncio.create_task(memory.run())
    try:
        yield memory
    finally:
        await end(keeping)


def _writes_a_hash(change: Change) -> bool:
    # Of a document that is gone no status is told.
    return change.status is not None if change.fields is None else "hashes" in change.fields


def _near(held: NDArray[np.uint64], asked: Sequence[int], max_distance: int) -> set[int]:
    """Those of `held` within `max_distance` bits of any of `asked`; numpy lets other threads go on meanwhile."""
    import numpy as np

    near: set[int] = set()
    size = min(_COMPARED_AT_ONCE, len(held))
    bits, apart = np.empty(size, np.uint64), np.empty(size, np.uint8)
    for start in range(0, len(held), _COMPARED_AT_ONCE):
        part = held[start : start + _COMPARED_AT_ONCE]
        differing, distances = bits[: len(part)], apart[: len(part)]
        for each in asked:
            np.bitwise_xor(part, np.uint64(each & _ALL_BITS), out=differing)
            np.bitwise_count(differing, out=distances)
            near.update(part[distances <= max_distance].view(np.int64).tolist())
    return near


def _added(held: NDArray[np.uint64], count: int, hashes: Sequence[int]) -> tuple[NDArray[np.uint64], int]:
    """`held` with these after the first `count`, in a larger array where there is no room, and their number."""
    import numpy as np

    if count + len(hashes) > len(held):
        held = _grown(held, max(2 * len(held), count + len(hashes)))
    held[count : count + len(hashes)] = np.array(hashes, np.int64).view(np.uint64)
    return held, count + len(hashes)


def _grown(held: NDArray[np.uint64] | None, size: int) -> NDArray[np.uint64]:
    import numpy as np

    larger = np.empty(size, np.uint64)
    if held is not None:
        larger[: len(held)] = held
    return larger
