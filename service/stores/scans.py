"""Whole collections in the order of their ids, a page at a time: for what compares all there is with storage."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from service.documents import ContentDocument, MediaDocument
from service.lifecycle import MediaStatus
from service.models import Visibility
from service.object_keys import RENDITIONS_PATTERNS
from service.stores.database import Database


class ScanStore:
    """Reads only, by indexes: each page by one on what it is ordered by."""

    def __init__(self, database: Database) -> None:
        self._media = database.media
        self._contents = database.contents

    async def media_page(
        self,
        after: UUID | None,
        *,
        limit: int,
        fields: Sequence[str],
        statuses: Collection[MediaStatus],
        query: Mapping[str, Any] | None = None,
    ) -> list[MediaDocument]:
        """Up to `limit` media whose id is greater than `after`, whose status is among `statuses`, and that match."""
        query = {**(query or {}), "status": {"$in": sorted(statuses)}}
        if after is not None:
            query["_id"] = {"$gt": after}
        projection = dict.fromkeys(("status", *fields), 1)
        cursor = self._media.find(query, projection).sort("_id", 1).limit(limit).hint([("_id", 1)])
        documents: list[MediaDocument] = await cursor.to_list(limit)
        return documents

    async def private_in_public_folder(self) -> UUID | None:
        """A READY media that is PRIVATE while renditions of it lie where PUBLIC ones do, as releases up to 0.1.0 stored
        them; None if there is none. Reads all PRIVATE media.

        Those that a change of visibility moves at this moment do not count: it knows of them.
        """
        query = {
            "status": MediaStatus.READY.value,
            "visibility": Visibility.PRIVATE.value,
            "renditions.key": {"$regex": RENDITIONS_PATTERNS[Visibility.PUBLIC].strip("*")},
            "processing.made_for": {"$ne": Visibility.PUBLIC.value},
        }
        found = await self._media.find_one(query, {"_id": 1}, hint="recent")
        return None if found is None else found["_id"]

    async def content_page(self, after: str | None, *, limit: int) -> list[ContentDocument]:
        """Up to `limit` contents whose id is greater than `after`."""
        query = {} if after is None else {"_id": {"$gt": after}}
        documents: list[ContentDocument] = await self._contents.find(query).sort("_id", 1).limit(limit).to_list(limit)
        return documents

    async def content_keys(self, keys: Collection[str]) -> set[str]:
        """Those of `keys` under which a content is stored that somebody needs."""
        query = {"key": {"$in": sorted(keys)}, "refs": {"$ne": []}}
        return {content["key"] async for content in self._contents.find(query, {"key": 1})} if keys else set()
