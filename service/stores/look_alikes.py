"""Perceptual hashes near to others, and the media that have them: two questions, each to an index of its own.

Which hashes there are near to one is read from the index `look_alikes` alone, whoever asks: thousands of candidates
for a few hits, and no document of theirs is read. Which media have these hashes is then asked with the viewer's grants.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from typing import Any, Final
from uuid import UUID

from bson import decode_all

from service.lifecycle import MediaStatus
from service.perceptual_hash import LEAST_STORED, is_telling, neighbouring_bands, within
from service.stores.database import Database
from service.stores.media_reads import AccessFilters
from service.stores.restriction import restrict

# `{"hashes": {"phash": <64-bit integer>}}` as BSON: decoding it by the driver costs ten times as much.
_ONLY_A_HASH: Final = struct.Struct("<23sq2s")
_HEAD: Final = b"\x21\x00\x00\x00\x03hashes\x00\x14\x00\x00\x00\x12phash\x00"
_TAIL: Final = b"\x00\x00"

# Between two batches others have their turn.
_BATCH: Final = 5_000

# Searches under way in one process: a page of media may each ask for their look-alikes.
_AT_ONCE: Final = 4

_ONE_HASH: Final[Mapping[str, Any]] = {"_id": 0, "hashes.phash": 1}

_Search = tuple[frozenset[int], int]


class LookAlikeStore:
    def __init__(self, database: Database) -> None:
        self._reads = database.media_reads
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._waiting: dict[_Search, asyncio.Task[set[int]]] = {}
        self._searches: set[asyncio.Task[set[int]]] = set()

    async def hashes_near(self, asked: Collection[int], max_distance: int) -> set[int]:
        """The stored hashes within `max_distance` bits of any of `asked`.

        All telling ones that there are, whoever may see their media: not to be shown, only to be looked for.
        """
        key = (frozenset(asked), max_distance)
        search = self._waiting.get(key)
        if search is None:
            search = self._waiting[key] = asyncio.create_task(self._search(key))
            self._searches.add(search)
            search.add_done_callback(self._searches.discard)
        # Who leaves does not take the answer along.
        return await asyncio.shield(search)

    async def newest_with(
        self, hashes: Collection[int], *, access: AccessFilters, limit: int
    ) -> list[tuple[UUID, int]]:
        """Up to `limit` media that have one of these hashes and that `access` lets through, newest first, with it."""
        query = restrict({"hashes.phash": {"$in": sorted(hashes)}}, access)
        if not hashes or query is None:
            return []
        cursor = self._reads.find(query, {"hashes.phash": 1}).sort("_id", -1).limit(limit).hint("same_hash")
        return [(each["_id"], each["hashes"]["phash"]) for each in await cursor.to_list(limit)]

    async def of_owner_with(self, owner_id: str, hashes: Collection[int], *, limit: int) -> dict[UUID, int]:
        """Up to `limit` READY media of one owner that have one of these hashes, with it."""
        query = {
            "owner_id": owner_id,
            "hashes.phash": {"$in": sorted(hashes)},
            "status": MediaStatus.READY.value,
        }
        cursor = self._reads.find(query, {"hashes.phash": 1}).hint("owner_same_hash").limit(limit)
        return {each["_id"]: each["hashes"]["phash"] for each in await cursor.to_list(limit)} if hashes else {}

    async def hashes_of(self, media_ids: Collection[UUID]) -> list[int]:
        """The telling hashes of those of `media_ids` that have one, as a primary answers."""
        query = {"_id": {"$in": list(media_ids)}, "hashes.bands": {"$exists": True}}
        documents = await self._reads.find(query, {"hashes.phash": 1}).to_list(len(media_ids))
        return [value for each in documents if isinstance(value := each["hashes"].get("phash"), int)]

    async def all_hashes(self) -> AsyncIterator[list[int]]:
        """Every telling hash at least once, page by page from the index alone; each page has a deadline of its own."""
        query: dict[str, Any] = {"hashes.phash": {"$gte": LEAST_STORED}}
        while True:
            cursor = self._reads.find_raw_batches(query, _ONE_HASH).sort("hashes.phash", 1).limit(_BATCH)
            page = [value for batch in await cursor.hint("same_hash").to_list(None) for value in _hashes_in(batch)]
            yield [value for value in page if is_telling(value)]
            if len(page) < _BATCH:
                return
            # Further copies of the last one are passed over.
            query = {"hashes.phash": {"$gt": page[-1]}}

    async def _search(self, key: _Search) -> set[int]:
        asked, max_distance = key
        try:
            await self._turn.acquire()
        finally:
            # Who comes from now on may know of what this query is too early for.
            del self._waiting[key]
        try:
            near: set[int] = set()
            query = {
                "hashes.bands": {"$in": [band for each in asked for band in neighbouring_bands(each, max_distance)]}
            }
            async for batch in self._reads.find_raw_batches(query, _ONE_HASH, batch_size=_BATCH).hint("look_alikes"):
                candidates = set(_hashes_in(batch))
                for each in asked:
                    near.update(within(max_distance, of=each, among=candidates))
            return near
        finally:
            self._turn.release()


def _hashes_in(batch: bytes) -> Iterator[int]:
    """The hashes in a batch of BSON documents that hold nothing else."""
    if len(batch) % _ONLY_A_HASH.size == 0:
        rows = list(_ONLY_A_HASH.iter_unpack(batch))
        if all(head == _HEAD and tail == _TAIL for head, _, tail in rows):
            return (value for _, value, _ in rows)
    # The driver stores a number of 32 bits as such.
    stored = (document.get("hashes", {}).get("phash") for document in decode_all(batch))
    return (value for value in stored if isinstance(value, int))
