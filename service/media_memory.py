"""Media that were read lately, kept in memory for as long as nobody writes to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from service.change_feed import ChangeFeed
from service.documents import MediaDocument
from service.stores.changes import Change
from service.stores.media import MediaStore
from service.stores.media_reads import AccessFilters

# Where fewer of a page's media were at hand of late, asking for ids first would mostly mean to ask twice.
_WORTH_IT = 0.9
# How much the latest page counts in that.
_WEIGHT = 0.1


class MediaMemory:
    """Reads pages: the database says which media, by ids from an index alone, memory says what is in them.

    So who may see what is never a matter of memory. What a media says of itself may be as old as the change stream is
    late: some milliseconds. Holds `capacity` documents at most, the oldest go first; none while the stream is not live.
    """

    def __init__(self, media: MediaStore, change_feed: ChangeFeed, *, capacity: int) -> None:
        self._media = media
        self._change_feed = change_feed
        self._capacity = capacity
        self._documents: dict[tuple[bytes, frozenset[str]], MediaDocument] = {}
        self._projections: dict[bytes, set[frozenset[str]]] = {}
        # How many changes were heard: what was read before the last of them may be older than it.
        self._heard = 0
        self._share = 0.0
        if capacity:
            change_feed.listen(self._hear)
            media.after_writes(self._drop)

    async def list_page(
        self,
        query: Mapping[str, Any],
        *,
        access: AccessFilters,
        before: UUID | None,
        limit: int,
        fields: frozenset[str],
    ) -> list[MediaDocument]:
        """What `MediaStore.list_page` answers. The documents must not be changed."""
        if not self._capacity or not self._change_feed.is_live():
            return await self._media.list_page(query, access=access, before=before, limit=limit, fields=fields)
        if self._share >= _WORTH_IT:
            ids = await self._media.list_ids(query, access=access, before=before, limit=limit)
            documents = await self._look_up(ids, access, fields)
            if documents is not None:
                return documents
        heard = self._heard
        documents = await self._media.list_page(query, access=access, before=before, limit=limit, fields=fields)
        self._keep(documents, fields, heard)
        return documents

    async def _look_up(
        self, ids: list[bytes], access: AccessFilters, fields: frozenset[str]
    ) -> list[MediaDocument] | None:
        """The documents of `ids`, in order; None where one has gone since the ids were read."""
        found = {media_id: self._documents.get((media_id, fields)) for media_id in ids}
        missing = [media_id for media_id, document in found.items() if document is None]
        if missing:
            heard = self._heard
            read = await self._media.get_many([UUID(bytes=each) for each in missing], fields=fields, access=access)
            if len(read) < len(missing):
                return None
            found.update({document["_id"].bytes: document for document in read.values()})
            self._keep(list(read.values()), fields, heard)
        self._count(len(ids) - len(missing), len(ids))
        return [document for document in found.values() if document is not None]

    def _keep(self, documents: list[MediaDocument], fields: frozenset[str], heard: int) -> None:
        keys = [(document["_id"].bytes, fields) for document in documents]
        self._count(sum(key in self._documents for key in keys), len(keys))
        if heard != self._heard or not self._change_feed.is_live():
            return
        for key, document in zip(keys, documents, strict=True):
            self._documents[key] = document
            self._projections.setdefault(key[0], set()).add(fields)
        while len(self._documents) > self._capacity:
            self._forget(*next(iter(self._documents)))

    def _count(self, known: int, total: int) -> None:
        if total:
            self._share += _WEIGHT * (known / total - self._share)

    def _forget(self, media_id: bytes, fields: frozenset[str]) -> None:
        del self._documents[media_id, fields]
        projections = self._projections[media_id]
        projections.discard(fields)
        if not projections:
            del self._projections[media_id]

    def _drop(self, media_id: UUID) -> None:
        self._heard += 1
        for fields in tuple(self._projections.get(media_id.bytes, ())):
            self._forget(media_id.bytes, fields)

    def _hear(self, change: Change | None) -> None:
        if change is not None:
            self._drop(change.id)
            return
        self._heard += 1
        self._documents.clear()
        self._projections.clear()
