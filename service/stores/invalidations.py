"""The `invalidations` collection: what edges are to forget, from the intent until CloudFront has confirmed it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, TypedDict
from uuid import UUID

from pymongo import ReturnDocument

from service.stores.database import Database
from service.stores.expressions import NOW, after_now, insert_if_absent

_RETENTION_S = 30 * 86_400
# A batch that was begun this long ago and never written down has lost its process.
_ABANDONED_S = 60
_IN_ORDER = [("requested_at", 1), ("_id", 1)]


class InvalidationDocument(TypedDict):
    """`_id`: the job that removes the objects under `keys`. `state`: `planned` while it does, `waiting` once it has,
    `gathered` into the batch `batch_id`, `completed` by the CDN.
    """

    _id: str
    media_id: UUID
    keys: list[str]
    state: str
    requested_at: datetime


class InvalidationStore:
    def __init__(self, database: Database) -> None:
        self._invalidations = database.handle["invalidations"]

    async def plan(self, request_id: str, media_id: UUID, keys: Collection[str]) -> InvalidationDocument:
        """Note that edges are to forget `keys` once storage has lost them; a request that exists stays as it is."""
        fresh = {
            "media_id": {"$literal": media_id},
            "keys": {"$literal": sorted(keys)},
            "state": "planned",
            "requested_at": NOW,
        }
        document: InvalidationDocument = await self._invalidations.find_one_and_update(
            {"_id": request_id},
            insert_if_absent(fresh, marker="state"),
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        return document

    async def release(self, request_id: str) -> None:
        """Storage has lost the objects: what edges forget from now on, they cannot fetch again. Repeats are free."""
        await self._invalidations.update_one(
            {"_id": request_id, "state": "planned"}, [{"$set": {"state": "waiting", "released_at": NOW}}]
        )

    async def list_waiting(self, *, limit: int) -> list[InvalidationDocument]:
        """Requests that are in no batch yet, oldest first."""
        cursor = self._invalidations.find({"state": "waiting"}).sort(_IN_ORDER).limit(limit)
        documents: list[InvalidationDocument] = await cursor.to_list(limit)
        return documents

    async def gather(self, request_ids: Sequence[str], batch_id: UUID) -> None:
        """Put those requests into a batch that are in none yet. Each is in one at most, whoever gathers at once."""
        await self._invalidations.update_many(
            {"_id": {"$in": list(request_ids)}, "state": "waiting"},
            [{"$set": {"state": "gathered", "batch_id": {"$literal": batch_id}, "gathered_at": NOW}}],
        )

    async def list_gathered(self, batch_id: UUID) -> list[InvalidationDocument]:
        """The requests of a batch, in the order in which they waited."""
        cursor = self._invalidations.find({"batch_id": batch_id, "state": "gathered"}).sort(_IN_ORDER)
        documents: list[InvalidationDocument] = await cursor.to_list(None)
        return documents

    async def list_abandoned(self) -> list[UUID]:
        """Batches of which requests were gathered a minute ago or more, and which may never have been written down."""
        pipeline: list[dict[str, Any]] = [
            {"$match": {"state": "gathered", "$expr": {"$lt": ["$gathered_at", after_now(-_ABANDONED_S)]}}},
            {"$group": {"_id": "$batch_id"}},
        ]
        return [row["_id"] async for row in self._invalidations.aggregate(pipeline)]

    async def scatter(self, batch_id: UUID) -> None:
        """Let the requests of a batch wait for another one."""
        await self._invalidations.update_many(
            {"batch_id": batch_id, "state": "gathered"},
            [{"$set": {"state": "waiting"}}, {"$unset": ["batch_id", "gathered_at"]}],
        )

    async def complete(self, batch_id: UUID) -> list[UUID]:
        """Edges have forgotten what a batch asked for; the media of its requests, also of those completed before."""
        await self._invalidations.update_many(
            {"batch_id": batch_id, "state": "gathered"},
            [{"$set": {"state": "completed", "completed_at": NOW, "expires_at": after_now(_RETENTION_S)}}],
        )
        media_ids: list[UUID] = await self._invalidations.distinct("media_id", {"batch_id": batch_id})
        return media_ids

    async def with_open(self, media_ids: Collection[UUID]) -> set[UUID]:
        """Those of `media_ids` of which edges are still to forget something."""
        query = {"media_id": {"$in": list(media_ids)}, "state": {"$ne": "completed"}}
        return set(await self._invalidations.distinct("media_id", query))

    async def oldest_age_s(self) -> float:
        """For how many seconds the oldest request that storage is done with has not been completed; 0 without one."""
        query = {"state": {"$in": ["waiting", "gathered"]}}
        pipeline: list[dict[str, Any]] = [
            {"$match": query},
            {"$group": {"_id": None, "oldest": {"$min": "$requested_at"}}},
            {"$project": {"age_ms": {"$subtract": [NOW, "$oldest"]}}},
        ]
        rows = await self._invalidations.aggregate(pipeline).to_list(1)
        return max(rows[0]["age_ms"] / 1000, 0.0) if rows else 0.0
