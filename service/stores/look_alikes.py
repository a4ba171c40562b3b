"""Perceptual hashes near to others, and the media that have them: two questions, each to an index of its own.

Which hashes there are near to one is read from the index `look_alikes` alone, whoever asks: thousands of candidates
for a few hits, and no document of theirs is read. Which media have these hashes is then asked with the viewer's grants,
of indexes that hold them: what a viewer may not see costs them nothing, so they cannot tell how much of it there is.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from heapq import nlargest
from math import prod
from typing import Any, Final
from uuid import UUID

from bson import decode_all

from service.errors import TemporarilyUnavailable
from service.lifecycle import MediaStatus
from service.perceptual_hash import LEAST_STORED, is_telling, neighbouring_bands, within
from service.stores.database import Database
from service.stores.media_lists import MAX_STRETCHES
from service.stores.media_reads import AccessFilters

# `{"hashes": {"phash": <64-bit integer>}}` as BSON: decoding it by the driver costs ten times as much.
_ONLY_A_HASH: Final = struct.Struct("<23sq2s")
_HEAD: Final = b"\x21\x00\x00\x00\x03hashes\x00\x14\x00\x00\x00\x12phash\x00"
_TAIL: Final = b"\x00\x00"

# Between two batches others have their turn.
_BATCH: Final = 5_000

# Searches under way in one process: a page of media may each ask for their look-alikes.
_AT_ONCE: Final = 4
# Different ones that wait for their turn: four times what the most expensive query that is allowed may ask for.
_MOST_WAITING: Final = 400

_ONE_HASH: Final[Mapping[str, Any]] = {"_id": 0, "hashes.phash": 1}
_HASH_AND_ID: Final[Mapping[str, Any]] = {"hashes.phash": 1}

# The hashes asked for, and within how many bits of them.
_Asked = tuple[frozenset[int], int]


class _Search:
    """Waits for its turn, or has it; `wanted_by` counts those who wait for its answer."""

    __slots__ = ("task", "wanted_by")

    def __init__(self, task: asyncio.Task[set[int]]) -> None:
        self.task = task
        self.wanted_by = 0


class LookAlikeStore:
    def __init__(self, database: Database) -> None:
        self._reads = database.media_reads
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._waiting: dict[_Asked, _Search] = {}

    async def hashes_near(self, asked: Collection[int], max_distance: int) -> set[int]:
        """The stored hashes within `max_distance` bits of any of `asked`.

        All telling ones that there are, whoever may see their media: not to be shown, only to be looked for. Raises
        TemporarilyUnavailable where too many searches wait.
        """
        key = (frozenset(asked), max_distance)
        search = self._waiting.get(key)
        if search is None:
            if len(self._waiting) >= _MOST_WAITING:
                raise TemporarilyUnavailable(
                    "Too many searches for look-alikes wait here; send the same request again."
                )
            search = self._waiting[key] = _Search(asyncio.create_task(self._search(key)))
        search.wanted_by += 1
        try:
            # Who leaves does not take the answer of others along.
            return await asyncio.shield(search.task)
        finally:
            search.wanted_by -= 1
            if not search.wanted_by:
                self._drop(key, search)

    async def newest_with(
        self, hashes: Collection[int], *, access: AccessFilters, limit: int
    ) -> list[tuple[UUID, int]]:
        """Up to `limit` media that have one of these hashes and that `access` lets through, newest first, with it.

        Read from indexes alone, as much as is let through and no more.
        """
        newest: dict[UUID, int] = {}
        for grant in access:
            index = "owner_same_hash" if "owner_id" in grant else "same_hash"
            for some in _together(hashes, 1 if "owner_id" in grant else _places(grant)):
                found = await self._having(some, grant, index=index, order=-1, limit=limit)
                newest = dict(nlargest(limit, {**newest, **found}.items()))
        return list(newest.items())

    async def oldest_of_owner_with(self, owner_id: str, hashes: Collection[int], *, limit: int) -> dict[UUID, int]:
        """Up to `limit` READY media of one owner that have one of these hashes, oldest first, with it."""
        of_owner = {"owner_id": owner_id, "status": MediaStatus.READY.value}
        oldest: dict[UUID, int] = {}
        for some in _together(hashes):
            found = await self._having(some, of_owner, index="owner_same_hash", order=1, limit=limit)
            oldest = dict(sorted({**oldest, **found}.items())[:limit])
        return oldest

    async def _having(
        self, hashes: Sequence[int], narrowed: Mapping[str, Any], *, index: str, order: int, limit: int
    ) -> dict[UUID, int]:
        query = {**narrowed, "hashes.phash": {"$in": hashes}}
        cursor = self._reads.find(query, _HASH_AND_ID).sort("_id", order).limit(limit).hint(index)
        return {each["_id"]: each["hashes"]["phash"] for each in await cursor.to_list(limit)}

    async def hashes_of(self, media_ids: Collection[UUID]) -> list[int]:
        """The telling hashes of those of `media_ids` that have one, as a primary answers."""
        query = {"_id": {"$in": list(media_ids)}, "hashes.bands": {"$exists": True}}
        documents = await self._reads.find(query, {"hashes.phash": 1}).to_list(len(media_ids))
        return [value for each in documents if isinstance(value := each["hashes"].get("phash"), int)]

    async def all_hashes(self, *, of_owner: str | None = None) -> AsyncIterator[list[int]]:
        """Every telling hash, or every one of an owner's media, at least once; also those of media without bands.

        Page by page, from an index alone; each page has a deadline of its own.
        """
        index, whose = ("same_hash", {}) if of_owner is None else ("owner_same_hash", {"owner_id": of_owner})
        query: dict[str, Any] = {**whose, "hashes.phash": {"$gte": LEAST_STORED}}
        while True:
            cursor = self._reads.find_raw_batches(query, _ONE_HASH).sort("hashes.phash", 1).limit(_BATCH)
            page = [value for batch in await cursor.hint(index).to_list(None) for value in _hashes_in(batch)]
            yield [value for value in page if is_telling(value)]
            if len(page) < _BATCH:
                return
            # Further copies of the last one are passed over.
            query = {**whose, "hashes.phash": {"$gt": page[-1]}}

    def _drop(self, key: _Asked, search: _Search) -> None:
        search.task.cancel()
        if self._waiting.get(key) is search:
            del self._waiting[key]

    async def _search(self, key: _Asked) -> set[int]:
        asked, max_distance = key
        async with self._turn:
            # Who comes from now on may know of what this query is too early for.
            del self._waiting[key]
            near: set[int] = set()
            query = {
                "hashes.bands": {"$in": [band for each in asked for band in neighbouring_bands(each, max_distance)]}
            }
            async for batch in self._reads.find_raw_batches(query, _ONE_HASH, batch_size=_BATCH).hint("look_alikes"):
                candidates = set(_hashes_in(batch))
                for each in asked:
                    near.update(within(max_distance, of=each, among=candidates))
            return near


def _places(grant: Mapping[str, Any]) -> int:
    """In how many places of `same_hash` the media are that have one hash and that `grant` lets through."""
    return prod(len(condition["$in"]) for condition in grant.values() if isinstance(condition, Mapping))


def _together(hashes: Collection[int], places: int = 1) -> Iterator[list[int]]:
    """All of them, as many at once as are read in order where each has so many places in an index."""
    ordered, at_once = sorted(hashes), MAX_STRETCHES // places
    for start in range(0, len(ordered), at_once):
        yield ordered[start : start + at_once]


def _hashes_in(batch: bytes) -> Iterator[int]:
    """The hashes in a batch of BSON documents that hold nothing else."""
    if len(batch) % _ONLY_A_HASH.size == 0:
        rows = list(_ONLY_A_HASH.iter_unpack(batch))
        if all(head == _HEAD and tail == _TAIL for head, _, tail in rows):
            return (value for _, value, _ in rows)
    # The driver stores a number of 32 bits as such.
    stored = (document.get("hashes", {}).get("phash") for document in decode_all(batch))
    return (value for value in stored if isinstance(value, int))
