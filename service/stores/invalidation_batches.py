"""The `invalidation_batches` collection: what CloudFront was asked for in one call, and how far it has come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict
from uuid import UUID

from pymongo import ReturnDocument

from service.stores.database import Database
from service.stores.expressions import NOW, after_now, insert_if_absent

_RETENTION_S = 30 * 86_400


class BatchDocument(TypedDict):
    """`_id` is also the CallerReference. `invalidation_id`: CloudFront's, once it has taken `paths`."""

    _id: UUID
    paths: list[str]
    state: str
    failures: int
    invalidation_id: NotRequired[str]


class InvalidationBatchStore:
    def __init__(self, database: Database) -> None:
        self._batches = database.handle["invalidation_batches"]

    async def open(self, batch_id: UUID, paths: Sequence[str]) -> None:
        """Write a batch down, to be sent at once; one that exists stays as it is."""
        fresh = {
            "paths": {"$literal": list(paths)},
            "state": "open",
            "failures": 0,
            "opened_at": NOW,
            "due_at": NOW,
        }
        await self._batches.update_one({"_id": batch_id}, insert_if_absent(fresh, marker="state"), upsert=True)

    async def missing(self, batch_ids: Sequence[UUID]) -> list[UUID]:
        """Those of `batch_ids` that were never written down."""
        written = set(await self._batches.distinct("_id", {"_id": {"$in": list(batch_ids)}}))
        return [batch_id for batch_id in batch_ids if batch_id not in written]

    async def list_open_paths(self) -> list[str]:
        """Everything that CloudFront may be at work on."""
        return [path async for batch in self._batches.find({"state": "open"}, {"paths": 1}) for path in batch["paths"]]

    async def list_due(self) -> list[UUID]:
        """Open batches whose time has come, those first that have been due for longest."""
        cursor = self._batches.find({"state": "open", "$expr": {"$lte": ["$due_at", NOW]}}, {"_id": 1}).sort(
            "due_at", 1
        )
        return [batch["_id"] async for batch in cursor]

    async def claim(self, batch_id: UUID, *, lease_s: float) -> BatchDocument | None:
        """An open batch that is due, and which nobody else takes for `lease_s` seconds; None if it is not, any more."""
        document: BatchDocument | None = await self._batches.find_one_and_update(
            {"_id": batch_id, "state": "open", "$expr": {"$lte": ["$due_at", NOW]}},
            [{"$set": {"due_at": after_now(lease_s)}}],
            return_document=ReturnDocument.AFTER,
        )
        return document

    async def look_again(self, batch_id: UUID, *, delay_s: float, invalidation_id: str | None) -> None:
        """CloudFront is at work on it as `invalidation_id`, or (None) has lost it: ask again in `delay_s` seconds."""
        known = "$$REMOVE" if invalidation_id is None else {"$literal": invalidation_id}
        await self._update(batch_id, {"due_at": after_now(delay_s), "failures": 0, "invalidation_id": known})

    async def postpone(self, batch_id: UUID, *, delay_s: float) -> None:
        """CloudFront did not answer, or takes no more for now: ask again in `delay_s` seconds."""
        await self._update(batch_id, {"due_at": after_now(delay_s), "failures": {"$add": ["$failures", 1]}})

    async def close(self, batch_id: UUID) -> None:
        """Nothing more is to be done for a batch."""
        await self._update(batch_id, {"state": "closed", "closed_at": NOW, "expires_at": after_now(_RETENTION_S)})

    async def _update(self, batch_id: UUID, values: dict[str, Any]) -> None:
        await self._batches.update_one({"_id": batch_id, "state": "open"}, [{"$set": values}])
