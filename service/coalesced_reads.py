"""Reading media for many at once: who asks in the same moment for the same fields shares one query."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from uuid import UUID

from service.documents import MediaDocument
from service.stores.media import MediaStore

# One change wakes everybody who follows it, and the end of an outage wakes all: that many ids to a query.
_IDS_PER_QUERY = 1_000

# Queries under way. While these are answered the next ones gather ids: the more there is to do, the fewer for each.
_AT_ONCE = 4

Found = Mapping[UUID, MediaDocument]


class CoalescedReads:
    """No rule is applied to what is read: ask the access table before anything is shown.

    Whoever joins a batch does so before its query begins, so all get what is stored at the time of asking or later.
    """

    def __init__(self, media: MediaStore) -> None:
        self._media = media
        self._turn = asyncio.Semaphore(_AT_ONCE)
        # By fields: the ids that were asked for since the last query for them began, and what will answer.
        self._open: dict[frozenset[str], tuple[set[UUID], asyncio.Task[Found]]] = {}

    async def read(self, media_ids: Collection[UUID], fields: frozenset[str]) -> Found:
        """Those of `media_ids` that exist, among others. Documents are shared: they must not be changed."""
        if fields not in self._open:
            wanted: set[UUID] = set()
            self._open[fields] = wanted, asyncio.create_task(self._query(fields, wanted))
        wanted, answer = self._open[fields]
        wanted.update(media_ids)
        # One who leaves must not take the answer along.
        return await asyncio.shield(answer)

    async def _query(self, fields: frozenset[str], wanted: set[UUID]) -> Found:
        # All whom the same change has woken come to ask before this goes on.
        await asyncio.sleep(0)
        async with self._turn:
            del self._open[fields]
            ids = list(wanted)
            found: dict[UUID, MediaDocument] = {}
            for start in range(0, len(ids), _IDS_PER_QUERY):
                found |= await self._media.get_many(ids[start : start + _IDS_PER_QUERY], fields=fields)
        return found
