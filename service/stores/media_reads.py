"""Reading media: by id, and page by page, as far as a viewer's grants let them through."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar
from uuid import UUID

import pymongo
from bson import encode
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from pymongo.errors import ExecutionTimeout, NetworkTimeout

from service.documents import MediaDocument
from service.errors import InvalidInput
from service.lifecycle import MediaStatus
from service.models import Visibility
from service.stores.database import Database
from service.stores.media_lists import Read, plan_list
from service.stores.restriction import restrict

# Enough to apply the access table to whatever else was asked for.
ACCESS_FIELDS = ("owner_id", "visibility", "status")

# What no index holds is looked for among one owner's media, or those of one subject, for so long at most.
MAX_LOOK_S = 2.0

AccessFilters = Sequence[Mapping[str, Any]]
# A document of one UUID, as BSON; decoding it by the driver costs as much as all the rest of reading a page of ids.
_ONLY_AN_ID = encode({"_id": UUID(int=0)}, codec_options=CodecOptions(uuid_representation=UuidRepresentation.STANDARD))
_ID_AT = len(_ONLY_AN_ID) - 17

Projection = Collection[str]
_Found = TypeVar("_Found")


def projection(fields: Projection) -> dict[str, int]:
    """What MongoDB is asked for, given the paths that are read."""
    return {**_projection(frozenset(fields))}


@lru_cache(1_000)
def _projection(fields: frozenset[str]) -> Mapping[str, int]:
    wanted = {*fields, *ACCESS_FIELDS, "_id"}
    # MongoDB refuses a path together with one of its parents.
    return {path: 1 for path in sorted(wanted) if not any(path.startswith(f"{other}.") for other in wanted)}


def _older_than(query: Mapping[str, Any], before: UUID | None) -> dict[str, Any]:
    if before is None:
        return dict(query)
    span = query.get("_id", {})
    return {**query, "_id": {**span, "$lt": min(before, span.get("$lt", before))}}


def ids_of(batch: bytes) -> Iterator[bytes]:
    """The UUIDs in a batch of BSON documents that hold nothing but an `_id`; ValueError for any others."""
    if len(batch) % len(_ONLY_AN_ID):
        raise ValueError("not documents of one UUID each")
    for start in range(0, len(batch), len(_ONLY_AN_ID)):
        if batch[start : start + _ID_AT] != _ONLY_AN_ID[:_ID_AT]:
            raise ValueError("not documents of one UUID each")
        yield batch[start + _ID_AT : start + _ID_AT + 16]


async def _in_time(read: Read, work: Awaitable[_Found]) -> _Found:
    """The outcome of `work`; raises InvalidInput where too much would have to be looked through for it."""
    if not read.looks_through:
        return await work
    try:
        with pymongo.timeout(MAX_LOOK_S):
            return await work
    except (ExecutionTimeout, NetworkTimeout):
        raise InvalidInput(
            "Too many media would have to be looked through for so few that match. Ask for less at once, or send it "
            "again if it has been answered before.",
            field=["filter"],
        ) from None


class MediaReads:
    """What can be read of `media`; documents are as sparse as `fields`."""

    def __init__(self, database: Database) -> None:
        self._reads = database.media_reads

    async def get(
        self, media_id: UUID, *, fields: Projection, access: AccessFilters | None = None
    ) -> MediaDocument | None:
        """One media, or None if unknown or not let through by `access` (None: no rule, for the service itself)."""
        found = await self.get_many([media_id], fields=fields, access=access)
        return found.get(media_id)

    async def get_many(
        self, media_ids: Iterable[UUID], *, fields: Projection, access: AccessFilters | None = None
    ) -> dict[UUID, MediaDocument]:
        """Those of `media_ids` that exist and that `access` lets through, by id."""
        ids = list(dict.fromkeys(media_ids))
        by_id: dict[str, Any] = {"_id": ids[0] if len(ids) == 1 else {"$in": ids}}
        query = by_id if access is None else restrict(by_id, access)
        if not ids or query is None:
            return {}
        documents = await self._reads.find(query, projection(fields)).to_list(len(ids))
        return {document["_id"]: document for document in documents}

    async def list_page(
        self, query: Mapping[str, Any], *, access: AccessFilters, before: UUID | None, limit: int, fields: Projection
    ) -> list[MediaDocument]:
        """Up to `limit` media that match, newest first, older than `before`. Ids are UUIDv7: their order is time's.

        Raises InvalidInput where no index serves the query.
        """
        reads = plan_list(_older_than(query, before), access)
        if len(reads) == 1:
            return await self._read(reads[0], projection(fields), limit)
        found = await asyncio.gather(*(self._read(read, projection(fields), limit) for read in reads))
        merged = {document["_id"]: document for documents in found for document in documents}
        return [merged[media_id] for media_id in sorted(merged, reverse=True)[:limit]]

    async def _read(self, read: Read, fields: Mapping[str, int], limit: int) -> list[MediaDocument]:
        cursor = self._reads.find(read.query, fields).sort("_id", -1).limit(limit).hint(read.index)
        documents: list[MediaDocument] = await _in_time(read, cursor.to_list(limit))
        return documents

    async def list_ids(
        self, query: Mapping[str, Any], *, access: AccessFilters, before: UUID | None, limit: int
    ) -> list[bytes] | None:
        """The ids of what `list_page` would answer, as 16 bytes each, from an index alone where one holds all that is
        asked for. None where one of them is no UUID.
        """
        reads = plan_list(_older_than(query, before), access)
        try:
            if len(reads) == 1:
                return await self._read_ids(reads[0], limit)
            found = await asyncio.gather(*(self._read_ids(read, limit) for read in reads))
        except ValueError:
            return None
        return sorted({media_id for ids in found for media_id in ids}, reverse=True)[:limit]

    async def _read_ids(self, read: Read, limit: int) -> list[bytes]:
        cursor = self._reads.find_raw_batches(read.query, {"_id": 1}).sort("_id", -1).limit(limit).hint(read.index)
        return [media_id for batch in await _in_time(read, cursor.to_list(None)) for media_id in ids_of(batch)]

    async def list_own_private(
        self, owner_id: str, purpose: str, *, limit: int, fields: Projection
    ) -> list[MediaDocument]:
        """The newest READY media of one owner and purpose that nobody else may see."""
        query = {
            "owner_id": owner_id,
            "purpose": purpose,
            "status": MediaStatus.READY.value,
            "visibility": Visibility.PRIVATE.value,
        }
        cursor = self._reads.find(query, projection(fields)).sort("_id", -1).limit(limit).hint("owner_by_purpose")
        documents: list[MediaDocument] = await cursor.to_list(limit)
        return documents
