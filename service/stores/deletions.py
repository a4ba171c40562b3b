"""The `deletions` collection: how far each requested deletion has come, under the id of its media."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NotRequired, TypedDict
from uuid import UUID

from pymongo import ReturnDocument

from service.models import DeletionStage
from service.stores.database import Database
from service.stores.expressions import NOW, insert_if_absent


class DeletionDocument(TypedDict):
    _id: UUID
    owner_id: str
    purpose: str
    requested_by: str
    requested_at: Any
    stage: str
    objects: list[dict[str, str]]
    objects_removed: int
    cdn_invalidated_at: NotRequired[Any]


class DeletionStore:
    def __init__(self, database: Database) -> None:
        self._deletions = database.deletions

    async def request(
        self, media_id: UUID, *, owner_id: str, requested_by: str, purpose: str, objects: Sequence[dict[str, str]]
    ) -> DeletionDocument:
        """Open a deletion of `objects` (bucket and key each), or return the one that exists."""
        fresh = {
            "owner_id": {"$literal": owner_id},
            "purpose": purpose,
            "requested_by": {"$literal": requested_by},
            "requested_at": NOW,
            "stage": DeletionStage.HIDDEN.value,
            "objects": {"$literal": list(objects)},
            "objects_removed": 0,
        }
        document: DeletionDocument = await self._deletions.find_one_and_update(
            {"_id": media_id},
            insert_if_absent(fresh, marker="stage"),
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        return document

    async def get_many(self, media_ids: Iterable[UUID]) -> dict[UUID, DeletionDocument]:
        cursor = self._deletions.find({"_id": {"$in": list(media_ids)}})
        return {document["_id"]: document async for document in cursor}

    async def mark_objects_removed(self, media_id: UUID, *, keys: Sequence[tuple[str, str]]) -> None:
        """Storage was asked for every one of `keys` (bucket, key) and no longer holds one of them."""
        objects = [{"bucket": bucket, "key": key} for bucket, key in keys]
        await self._deletions.update_one(
            {"_id": media_id, "stage": DeletionStage.HIDDEN.value},
            {
                "$set": {
                    "stage": DeletionStage.OBJECTS_REMOVED.value,
                    "objects": objects,
                    "objects_removed": len(objects),
                },
                "$currentDate": {"objects_removed_at": True},
            },
        )

    async def mark_cdn_invalidated(self, media_ids: Collection[UUID]) -> None:
        """Every edge has forgotten these media; those whose objects are not all removed yet stay as they are."""
        await self._deletions.update_many(
            {"_id": {"$in": list(media_ids)}, "stage": DeletionStage.OBJECTS_REMOVED.value},
            {
                "$set": {"stage": DeletionStage.CDN_INVALIDATED.value},
                "$currentDate": {"cdn_invalidated_at": True},
            },
        )
