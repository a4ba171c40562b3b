"""Reading media for many at once: who asks in the same moment for the same fields shares one query."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping
from uuid import UUID

from service.documents import MediaDocument
from service.stores.media import MediaStore

# One change wakes everybody who follows it, and the end of an outage wakes all: that many ids to a query.
_IDS_PER_QUERY = 1_000

# Queries under way. While these are answered the next ones gather ids: the more there is to do, the fewer for each.
_AT_ONCE = 4

# Readers to whom an answer is given before others have their turn: each of them makes something of it.
_ANSWERED_AT_ONCE = 50

# As long what was read is as fresh as in any other answer that is on its way; then it is read again before it is used.
FRESH_S = 0.01

Found = Mapping[UUID, MediaDocument]


class CoalescedReads:
    """No rule is applied to what is read: ask the access table before anything is shown.

    Whoever joins a batch does so before its query begins, so all get what is stored at the time of asking or later.
    """

    def __init__(self, media: MediaStore) -> None:
        self._media = media
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._open: dict[frozenset[str], _Batch] = {}
        self._queries: set[asyncio.Task[None]] = set()

    async def read(self, media_ids: Collection[UUID], fields: frozenset[str]) -> Found:
        """Those of `media_ids` that exist, among others. Documents are shared: they must not be changed."""
        batch = self._open.get(fields)
        if batch is None:
            batch = self._open[fields] = _Batch()
            query = asyncio.create_task(self._answer(fields, batch))
            self._queries.add(query)
            query.add_done_callback(self._queries.discard)
        batch.wanted.update(media_ids)
        # One's own: who leaves does not take the answer along.
        reader: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        batch.readers.append(reader)
        return await reader

    async def _answer(self, fields: frozenset[str], batch: _Batch) -> None:
        # All whom the same change has woken come to ask before this goes on.
        await asyncio.sleep(0)
        try:
            async with self._turn:
                del self._open[fields]
                found, read_at = await self._query(batch.wanted, fields), time.monotonic()
            for start in range(0, len(batch.readers), _ANSWERED_AT_ONCE):
                if time.monotonic() - read_at > FRESH_S:
                    found, read_at = await self._query(batch.wanted, fields), time.monotonic()
                batch.answer(found, batch.readers[start : start + _ANSWERED_AT_ONCE])
                await asyncio.sleep(0)
        except Exception as error:  # noqa: BLE001 - it is raised where the answer is awaited
            batch.fail(error)

    async def _query(self, media_ids: Collection[UUID], fields: frozenset[str]) -> Found:
        ids, found = list(media_ids), dict[UUID, MediaDocument]()
        for start in range(0, len(ids), _IDS_PER_QUERY):
            found |= await self._media.get_many(ids[start : start + _IDS_PER_QUERY], fields=fields)
        return found


class _Batch:
    """What was asked for since the last query for the same fields began, and who waits for it."""

    __slots__ = ("readers", "wanted")

    def __init__(self) -> None:
        self.wanted: set[UUID] = set()
        self.readers: list[asyncio.Future[Found]] = []

    def answer(self, found: Found, readers: Iterable[asyncio.Future[Found]]) -> None:
        """Give it to those who have not left."""
        for reader in readers:
            if not reader.done():
                reader.set_result(found)

    def fail(self, error: Exception) -> None:
        """Tell those who still wait."""
        for reader in self.readers:
            if not reader.done():
                reader.set_exception(error)
