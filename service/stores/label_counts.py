"""How many of some media have which label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bson.binary import UUID_SUBTYPE, Binary

from service.models import NEAR_DUPLICATE
from service.stores.database import Database
from service.stores.media_reads import AccessFilters
from service.stores.restriction import restrict


class LabelCountStore:
    def __init__(self, database: Database) -> None:
        self._media = database.media

    async def count(
        self, media_ids: Sequence[bytes], *, access: AccessFilters, details: AccessFilters, limit: int
    ) -> list[tuple[str, int]]:
        """The most frequent labels with the number of media that have each, `limit` at most, of those of these media
        (by the 16 bytes of their ids) that `access` lets through.

        What tells of other media is counted only where one of the filters in `details` lets the media through.
        """
        ids = [Binary(media_id, UUID_SUBTYPE) for media_id in media_ids]
        query = restrict({"_id": {"$in": ids}}, access)
        if not ids or query is None:
            return []
        pipeline: list[Mapping[str, Any]] = [
            {"$match": query},
            {"$project": {"labels.label": 1, "owner_id": 1, "status": 1, "visibility": 1}},
            {"$unwind": "$labels"},
            {"$match": {"$or": [{"labels.label": {"$ne": NEAR_DUPLICATE}}, *details]}},
            {"$group": {"_id": "$labels.label", "count": {"$sum": 1}}},
            {"$sort": {"count": -1, "_id": 1}},
            {"$limit": limit},
        ]
        rows = await self._media.aggregate(pipeline, hint="_id_").to_list(limit)
        return [(row["_id"], row["count"]) for row in rows]
