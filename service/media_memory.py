"""Media that were read lately, kept in memory for as long as nobody writes to them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from service.change_feed import ChangeFeed
from service.documents import MediaDocument
from service.stores.changes import Change
from service.stores.media import MediaStore
from service.stores.media_reads import AccessFilters
from service.stores.restriction import restrict

# Where fewer of the pages of late were at hand as a whole, asking for ids first would mostly mean to ask twice.
_WORTH_IT = 0.6
# How much the latest page counts in that.
_WEIGHT = 0.1
# Lists that a media may have any number of things in: one such page would take the place of a hundred.
_UNBOUNDED = ("annotations",)
# Shares that are remembered: of as many projections.
_PROJECTIONS = 200


def is_bounded(fields: frozenset[str]) -> bool:
    """Whether documents of this projection are small, whatever their owners and models have done."""
    return not any(field.partition(".")[0] in _UNBOUNDED for field in fields)


class MediaMemory:
    """Reads pages: the database says which media, by ids from an index alone, memory says what is in them.

    So who may see what is never a matter of memory, where every media of a page is in one status and visibility: other
    pages are read whole. What a media says of itself may be as old as the change stream is late: some milliseconds.
    Holds `capacity` documents at most, those that were read longest ago go first; none while the stream is not live.
    """

    def __init__(self, media: MediaStore, change_feed: ChangeFeed, *, capacity: int) -> None:
        self._media = media
        self._change_feed = change_feed
        self._capacity = capacity
        self._documents: OrderedDict[tuple[bytes, frozenset[str]], MediaDocument] = OrderedDict()
        self._projections: dict[bytes, set[frozenset[str]]] = {}
        # How many changes were heard: what was read before the last of them may be older than it.
        self._heard = 0
        # Of the pages of a projection, how many were at hand as a whole of late.
        self._shares: OrderedDict[frozenset[str], float] = OrderedDict()
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
        wanted = _status_and_visibility(query, access)
        if not self._capacity or wanted is None or not is_bounded(fields) or not self._change_feed.is_live():
            return await self._media.list_page(query, access=access, before=before, limit=limit, fields=fields)
        if self._shares.get(fields, 0.0) >= _WORTH_IT:
            ids = await self._media.list_ids(query, access=access, before=before, limit=limit)
            documents = None if ids is None else await self._look_up(ids, wanted, access, fields)
            if documents is not None:
                return documents
        heard = self._heard
        documents = await self._media.list_page(query, access=access, before=before, limit=limit, fields=fields)
        self._count(fields, all((document["_id"].bytes, fields) in self._documents for document in documents))
        self._keep(documents, fields, heard)
        return documents

    async def _look_up(
        self, ids: list[bytes], wanted: tuple[str, str], access: AccessFilters, fields: frozenset[str]
    ) -> list[MediaDocument] | None:
        """The documents of `ids`, in order; None where one has gone since the ids were read."""
        found: dict[bytes, MediaDocument] = {}
        for media_id in ids:
            document = self._documents.get((media_id, fields))
            # The ids are newer than what is remembered.
            if document is not None and (document["status"], document["visibility"]) == wanted:
                found[media_id] = document
                self._documents.move_to_end((media_id, fields))
        missing = [media_id for media_id in ids if media_id not in found]
        self._count(fields, not missing)
        if missing:
            heard = self._heard
            read = await self._media.get_many([UUID(bytes=each) for each in missing], fields=fields, access=access)
            if len(read) < len(missing):
                return None
            found.update({document["_id"].bytes: document for document in read.values()})
            self._keep(list(read.values()), fields, heard)
        return [found[media_id] for media_id in ids]

    def _keep(self, documents: list[MediaDocument], fields: frozenset[str], heard: int) -> None:
        if heard != self._heard or not self._change_feed.is_live():
            return
        for document in documents:
            key = (document["_id"].bytes, fields)
            self._documents[key] = document
            self._documents.move_to_end(key)
            self._projections.setdefault(key[0], set()).add(fields)
        while len(self._documents) > self._capacity:
            self._forget(*next(iter(self._documents)))

    def _count(self, fields: frozenset[str], at_hand: bool) -> None:
        share = self._shares.pop(fields, 0.0)
        self._shares[fields] = share + _WEIGHT * (at_hand - share)
        if len(self._shares) > _PROJECTIONS:
            self._shares.popitem(last=False)

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


def _status_and_visibility(query: Mapping[str, Any], access: AccessFilters) -> tuple[str, str] | None:
    """The one status and the one visibility that all media of a page have; None where there may be others."""
    narrowed = restrict(query, access)
    status, visibility = (None, None) if narrowed is None else (narrowed.get("status"), narrowed.get("visibility"))
    return (status, visibility) if isinstance(status, str) and isinstance(visibility, str) else None
