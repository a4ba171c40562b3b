"""The `invalidations` collection: what edges are to forget, from the intent until CloudFront has confirmed it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, TypedDict
from uuid import UUID

from pymongo import ReturnDocument
from uuid6 import uuid7

from service.stores.database import Database
from service.stores.expressions import NOW, after_now

_RETENTION_S = 30 * 86_400
# A batch that was begun this long ago and never written down has lost its process.
_ABANDONED_S = 60
# One that was planned this long ago may have lost its job.
_FORGOTTEN_S = 3_600
# Between the id of a job and what tells several requests of one job apart.
_APART = "+"
_IN_ORDER = [("requested_at", 1), ("_id", 1)]


class InvalidationDocument(TypedDict):
    """`_id`: begins with the job that removes the objects under `keys`. `state`: `planned` while it does, `waiting`
    once it has, `gathered` into the batch `batch_id`, `completed` by the CDN.
    """

    _id: str
    media_id: UUID
    keys: list[str]
    state: str
    requested_at: datetime


class InvalidationStore:
    def __init__(self, database: Database) -> None:
        self._invalidations = database.handle["invalidations"]

    async def plan(self, request_id: str, media_id: UUID, keys: Collection[str]) -> str:
        """Note that edges are to forget `keys` once storage has lost them; the id under which to release them.

        What an earlier attempt noted under `request_id` and did not release is released with them. What it released
        without some of them stays as it is: those become a request of their own.
        """
        noted = {"$literal": sorted(keys)}
        is_planned = {"$eq": [{"$ifNull": ["$state", "planned"]}, "planned"]}
        values = {
            "media_id": {"$literal": media_id},
            "keys": {"$cond": [is_planned, {"$setUnion": [{"$ifNull": ["$keys", []]}, noted]}, "$keys"]},
            "state": {"$ifNull": ["$state", "planned"]},
            "requested_at": {"$ifNull": ["$requested_at", NOW]},
        }
        document: InvalidationDocument = await self._invalidations.find_one_and_update(
            {"_id": request_id},
            [{"$set": values}],
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        overlooked = set(keys) - set(document["keys"])
        return request_id if not overlooked else await self.plan(_apart(request_id), media_id, overlooked)

    async def plan_apart(self, media_id: UUID, keys: Collection[str]) -> str:
        """As `plan`, for what is removed in passing: no later attempt goes on with it, but none that is lost blocks."""
        return await self.plan(_apart(str(media_id)), media_id, keys)

    async def release(self, *request_ids: str) -> None:
        """Storage has lost the objects: what edges forget from now on, they cannot fetch again. Repeats are free."""
        await self._invalidations.update_many(
            {"_id": {"$in": request_ids}, "state": "planned"},
            [{"$set": {"state": "waiting", "released_at": NOW}}],
        )

    async def list_of_media(self, media_id: UUID) -> list[InvalidationDocument]:
        """Every request for objects of a media, whatever has come of it; those of a month at least."""
        documents: list[InvalidationDocument] = await self._invalidations.find({"media_id": media_id}).to_list(None)
        return documents

    async def list_forgotten(self, *, limit: int) -> dict[str, str]:
        """Requests that were planned an hour ago or more, and the job that each was planned by."""
        cursor = self._invalidations.find(
            {"state": "planned", "$expr": {"$lt": ["$requested_at", after_now(-_FORGOTTEN_S)]}}, {"_id": 1}
        ).limit(limit)
        return {each["_id"]: each["_id"].partition(_APART)[0] async for each in cursor}

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
        """For how many seconds the oldest request has not been completed, be it for storage or the CDN; 0 without."""
        pipeline: list[dict[str, Any]] = [
            {"$match": {"state": {"$in": ["planned", "waiting", "gathered"]}}},
            {"$group": {"_id": None, "oldest": {"$min": "$requested_at"}}},
            {"$project": {"age_ms": {"$subtract": [NOW, "$oldest"]}}},
        ]
        rows = await self._invalidations.aggregate(pipeline).to_list(1)
        return max(rows[0]["age_ms"] / 1000, 0.0) if rows else 0.0


def _apart(request_id: str) -> str:
    return f"{request_id}{_APART}{uuid7()}"
