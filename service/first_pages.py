"""First pages of feeds as everybody sees them, kept in memory for as long as nothing happens to them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from service.access import ANONYMOUS, Action, Viewer, granted_filters
from service.change_feed import ChangeFeed
from service.documents import MediaDocument
from service.lifecycle import MediaStatus
from service.media_memory import is_bounded
from service.stores.changes import Change
from service.stores.media import MediaStore

# What a page is taken to hold; clients may ask for more, and then fewer pages are kept.
MEDIA_A_PAGE = 30

Key = tuple[str, int, frozenset[str]]


@dataclass(frozen=True, slots=True)
class _Page:
    documents: list[MediaDocument]
    ids: frozenset[UUID]


@dataclass(frozen=True, slots=True)
class _Loading:
    heard: int
    task: asyncio.Task[list[MediaDocument]]


class FirstPages:
    """Reads them, from memory as far as `capacity` pages of MEDIA_A_PAGE reach; the least recently used go first.

    A page is kept only while the change stream is live, and goes with the first write to any of its media, with a media
    that becomes READY and with any change of visibility. What this process writes itself is forgotten before the writer
    has its answer. Of others' writes the stream tells some milliseconds after they are acknowledged: so long a page may
    still show what they have hidden, as an answer that is on its way would.
    """

    def __init__(self, media: MediaStore, change_feed: ChangeFeed, *, capacity: int) -> None:
        self._media = media
        self._change_feed = change_feed
        self._capacity = capacity
        self._pages: OrderedDict[Key, _Page] = OrderedDict()
        self._loading: dict[Key, _Loading] = {}
        # How many changes were heard: what was read before the last of them may be older than it.
        self._heard = 0
        if capacity:
            change_feed.listen(self._hear)
            media.after_writes(self._forget)

    async def read_for(
        self, viewer: Viewer, purpose: str, *, limit: int, fields: frozenset[str]
    ) -> list[MediaDocument]:
        """The newest READY media of a purpose that `viewer` may see; one query besides for those with a token."""
        if viewer.is_moderator:
            query = {"purpose": purpose, "status": MediaStatus.READY.value}
            access = granted_filters(viewer, Action.READ)
            return await self._media.list_page(query, access=access, before=None, limit=limit, fields=fields)
        shown = await self.read(purpose, limit=limit, fields=fields)
        if viewer.id is None:
            return shown
        own = await self._media.list_own_private(viewer.id, purpose, limit=limit, fields=fields)
        if not own:
            return shown
        # What turned private since the page was read is in both; its owner's own look is the later one.
        merged = {document["_id"]: document for document in (*shown, *own)}
        return [merged[media_id] for media_id in sorted(merged, reverse=True)[:limit]]

    async def read(self, purpose: str, *, limit: int, fields: frozenset[str]) -> list[MediaDocument]:
        """The newest READY media of a purpose that anybody may see. The documents must not be changed."""
        key = (purpose, limit, fields)
        if not self._capacity or not is_bounded(fields) or not self._change_feed.is_live():
            return await self._read(key)
        if (page := self._pages.get(key)) is not None:
            self._pages.move_to_end(key)
            return page.documents
        loading = self._loading.get(key)
        if loading is None or loading.heard != self._heard:
            loading = self._loading[key] = _Loading(self._heard, asyncio.create_task(self._load(key, self._heard)))
        # A client that hangs up must not take the page away from the others who wait for it.
        return await asyncio.shield(loading.task)

    async def _load(self, key: Key, heard: int) -> list[MediaDocument]:
        try:
            documents = await self._read(key)
        finally:
            if (loading := self._loading.get(key)) is not None and loading.heard == heard:
                del self._loading[key]
        if heard == self._heard and self._change_feed.is_live():
            self._pages[key] = _Page(documents, frozenset([document["_id"] for document in documents]))
            while sum(1 + len(page.documents) for page in self._pages.values()) > self._capacity * MEDIA_A_PAGE:
                self._pages.popitem(last=False)
        return documents

    async def _read(self, key: Key) -> list[MediaDocument]:
        purpose, limit, fields = key
        query: Mapping[str, Any] = {"purpose": purpose, "status": MediaStatus.READY.value}
        access = granted_filters(ANONYMOUS, Action.READ)
        return await self._media.list_page(query, access=access, before=None, limit=limit, fields=fields)

    def _forget(self, media_id: UUID) -> None:
        self._heard += 1
        for key in [key for key, page in self._pages.items() if media_id in page.ids]:
            del self._pages[key]

    def _hear(self, change: Change | None) -> None:
        if change is None or _may_add(change):
            self._heard += 1
            self._pages.clear()
        else:
            self._forget(change.id)


def _may_add(change: Change) -> bool:
    """Whether a page could show a media after the change that it did not show before."""
    if change.fields is None:
        return change.status == MediaStatus.READY
    return change.status == MediaStatus.READY or bool(change.fields & {"visibility", "purpose"})
