"""The `deletions` collection: how far each requested deletion has come, under the id of its media."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NotRequired, TypedDict
from uuid import UUID

from pymongo import ReturnDocument

from service.audit import SERVICE_ACTOR, AuditAction
from service.models import DeletionStage
from service.stores.audit_outbox import noted
from service.stores.database import Database
from service.stores.event_outbox import NOTHING, Stages
from service.stores.expressions import NOW, after_now, insert_if_absent

# How long a deletion is left to its first job before the sweeper looks after it.
_FIRST_LOOK_S = 60

# A removal that had begun goes on when a hold is placed, and others may have noted by then that the deletion waits.
_BEING_REMOVED = {"$in": [DeletionStage.HIDDEN.value, DeletionStage.BLOCKED_BY_RETENTION.value]}


class DeletionDocument(TypedDict):
    """`objects`: what is to be removed, as far as known. `awaits_cdn`: edges were to be told when storage was empty.

    `keeps_original`: another media needs it. `due_at`: from when on nothing can be written any more that was asked for
    before, so that it can be verified. `checks`: verifications that found something left. `certificate`: the hash of
    its entry in the audit chain, in hex. `remnants`: what was found after that and is being removed. `look_at`: when
    the sweeper sees to it that the deletion goes on; there is none where nothing follows.
    """

    _id: UUID
    owner_id: str
    purpose: str
    requested_by: str
    requested_at: Any
    stage: str
    objects: list[dict[str, str]]
    objects_removed: int
    objects_removed_at: NotRequired[datetime]
    awaits_cdn: NotRequired[bool]
    keeps_original: NotRequired[bool]
    cdn_invalidated_at: NotRequired[Any]
    due_at: NotRequired[datetime]
    checks: NotRequired[int]
    verified_at: NotRequired[datetime]
    certificate: NotRequired[str]
    remnants: NotRequired[list[dict[str, str]]]
    look_at: NotRequired[datetime]
    blocked_until: NotRequired[datetime]
    blocked_by: NotRequired[UUID]


class DeletionStore:
    """`on_stage`: what a write adds that enters another stage."""

    def __init__(self, database: Database, *, on_stage: Stages = NOTHING) -> None:
        self._deletions = database.deletions
        self._on_stage = on_stage

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
            "look_at": after_now(_FIRST_LOOK_S),
            **noted(
                f"deletion-requested:{media_id}",
                AuditAction.DELETION_REQUESTED,
                actor=requested_by,
                # The document that is being made has none yet.
                owner={"$literal": owner_id},
                details={},
            ),
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

    async def add_objects(self, media_id: UUID, keys: Collection[tuple[str, str]]) -> None:
        """One run of a deletion removes `keys` (bucket, key), which a later one has to know of once they are gone."""
        await self._deletions.update_one(
            {"_id": media_id, "stage": _BEING_REMOVED},
            {"$addToSet": {"objects": {"$each": _objects(sorted(keys))}}},
        )

    async def expect(self, media_id: UUID, due_at: datetime) -> None:
        """Nothing can be written any more from `due_at` on that was asked for before."""
        await self._deletions.update_one({"_id": media_id}, {"$max": {"due_at": due_at}})

    async def mark_objects_removed(
        self, media_id: UUID, *, keys: Sequence[tuple[str, str]], awaits_cdn: bool, keeps_original: bool
    ) -> None:
        """Storage was asked for every one of `keys` (bucket, key) and no longer holds one of them.

        `awaits_cdn`: edges are being told. `keeps_original`: that stays, since another media has the same content. A
        deletion that is said to wait meanwhile waits no longer: nothing is left to keep.
        """
        objects = _objects(keys)
        await self._deletions.update_one(
            {"_id": media_id, "stage": _BEING_REMOVED},
            [
                {
                    "$set": {
                        "stage": DeletionStage.OBJECTS_REMOVED.value,
                        "objects": {"$literal": objects},
                        "objects_removed": {"$literal": len(objects)},
                        "awaits_cdn": {"$literal": awaits_cdn},
                        "keeps_original": {"$literal": keeps_original},
                        "objects_removed_at": NOW,
                        "blocked_until": "$$REMOVE",
                        "blocked_by": "$$REMOVE",
                        "look_at": {"$min": ["$look_at", after_now(_FIRST_LOOK_S)]},
                        **noted(
                            f"objects-removed:{media_id}",
                            AuditAction.OBJECTS_REMOVED,
                            actor=SERVICE_ACTOR,
                            details={"objects": len(objects)},
                        ),
                    },
                },
                *self._on_stage,
            ],
        )

    async def mark_cdn_invalidated(self, media_ids: Collection[UUID]) -> None:
        """Every edge has forgotten these media.

        Those whose objects are not all removed yet stay as they are, and those of which edges were not told everything.
        """
        await self._deletions.update_many(
            {
                "_id": {"$in": list(media_ids)},
                "stage": DeletionStage.OBJECTS_REMOVED.value,
                # One that an earlier release removed does not say.
                "awaits_cdn": {"$ne": False},
            },
            [{"$set": {"stage": DeletionStage.CDN_INVALIDATED.value, "cdn_invalidated_at": NOW}}, *self._on_stage],
        )


def _objects(keys: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"bucket": bucket, "key": key} for bucket, key in keys]
