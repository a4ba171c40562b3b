"""The `deletions` collection after removal: what was verified, its certificate, and what came back all the same."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from pymongo import ReturnDocument

from service.audit import SERVICE_ACTOR, AuditAction
from service.models import DeletionStage
from service.stores.audit_outbox import noted
from service.stores.database import Database
from service.stores.deletions import DeletionDocument
from service.stores.event_outbox import NOTHING, Stages
from service.stores.expressions import NOW, after_now

# BLOCKED_BY_RETENTION is none of them: whoever lifts the block lets it go on.
_UNFINISHED = [
    DeletionStage.HIDDEN.value,
    DeletionStage.OBJECTS_REMOVED.value,
    DeletionStage.CDN_INVALIDATED.value,
]
_REMOVED = [DeletionStage.OBJECTS_REMOVED.value, DeletionStage.CDN_INVALIDATED.value]
# When the sweeper comes back to one whose job it has found, or has started anew.
_NEXT_LOOK_S = 300
# What is counted: all sweepers of all workers do, all the time.
MOST_UNVERIFIED = 10_000

Keys = Collection[tuple[str, str]]


class DeletionProofStore:
    """`on_stage`: what a write adds that enters another stage."""

    def __init__(self, database: Database, *, on_stage: Stages = NOTHING) -> None:
        self._deletions = database.deletions
        self._on_stage = on_stage

    async def take_due(self, *, limit: int) -> list[tuple[DeletionDocument, int]]:
        """Deletions that the sweeper is to look after now, and how often it has; each for one sweeper at a time.

        Those of an earlier release, which do not say when, are due.
        """
        is_due = {"$expr": {"$lte": ["$look_at", NOW]}}
        taken: list[tuple[DeletionDocument, int]] = []
        for query in (
            {"stage": {"$in": _UNFINISHED}, **is_due},
            {"stage": DeletionStage.VERIFIED.value, "look_at": {"$type": "date"}, **is_due},
        ):
            due = await self._deletions.find(query, {"look_at": 1}).limit(limit).to_list(limit)
            for each in due:
                unchanged = {"_id": each["_id"], "look_at": each.get("look_at")}
                looks = {"$add": [{"$ifNull": ["$looks", 0]}, 1]}
                found = await self._deletions.find_one_and_update(
                    unchanged,
                    [{"$set": {"look_at": after_now(_NEXT_LOOK_S), "looks": looks}}],
                    return_document=ReturnDocument.AFTER,
                )
                if found is not None:
                    taken.append((found, found["looks"]))
        return taken

    async def note_check(self, media_id: UUID) -> int:
        """A verification has found something left, or could not tell; how many have by now."""
        found = await self._deletions.find_one_and_update(
            {"_id": media_id}, {"$inc": {"checks": 1}}, {"checks": 1}, return_document=ReturnDocument.AFTER
        )
        return 1 if found is None else int(found["checks"])

    async def mark_verified(self, media_id: UUID, details: Mapping[str, Any]) -> None:
        """Nothing is left, in server time and once: the entry on record is the certificate. `details`: no names."""
        await self._deletions.update_one(
            {"_id": media_id, "stage": {"$in": _REMOVED}, "verified_at": {"$exists": False}},
            [
                {
                    "$set": {
                        "verified_at": NOW,
                        **noted(
                            certificate_id(media_id),
                            AuditAction.DELETION_VERIFIED,
                            actor=SERVICE_ACTOR,
                            details=details,
                        ),
                    }
                }
            ],
        )

    async def certify(self, media_id: UUID, entry_hash: str, *, look_again_s: float) -> None:
        """The certificate is in the chain: the last stage. It is looked at again after `look_again_s` seconds."""
        await self._deletions.update_one(
            {"_id": media_id, "stage": {"$in": _REMOVED}, "verified_at": {"$exists": True}},
            [
                {
                    "$set": {
                        "stage": DeletionStage.VERIFIED.value,
                        "certificate": {"$literal": entry_hash},
                        "look_at": after_now(look_again_s),
                    }
                },
                {"$unset": "due_at"},
                *self._on_stage,
            ],
        )

    async def look_again(self, media_id: UUID, after_s: float | None) -> None:
        """Have the sweeper look at a verified deletion in `after_s` seconds, or (None) never again."""
        moment = "$$REMOVE" if after_s is None else after_now(after_s)
        await self._deletions.update_one(
            {"_id": media_id, "stage": DeletionStage.VERIFIED.value}, [{"$set": {"look_at": moment}}]
        )

    async def note_remnants(self, media_id: UUID, keys: Keys) -> set[tuple[str, str]]:
        """Write down that `keys` (bucket, key) are to be removed of a verified deletion; with those of before.

        Nothing, and an empty set, for any other.
        """
        found = await self._deletions.find_one_and_update(
            {"_id": media_id, "verified_at": {"$exists": True}},
            {"$addToSet": {"remnants": {"$each": [{"bucket": bucket, "key": key} for bucket, key in sorted(keys)]}}},
            return_document=ReturnDocument.AFTER,
        )
        return set() if found is None else {(each["bucket"], each["key"]) for each in found.get("remnants", [])}

    async def mark_remnants_removed(self, media_id: UUID, keys: Keys, details: Mapping[str, Any]) -> None:
        """They are gone, which is on record: an entry for each time that something came back."""
        found = await self._deletions.find_one({"_id": media_id}, {"remnant_rounds": 1})
        number = 1 if found is None else found.get("remnant_rounds", 0) + 1
        removed = [{"bucket": bucket, "key": key} for bucket, key in sorted(keys)]
        await self._deletions.update_one(
            # Somebody else may have removed the same, and said so.
            {"_id": media_id, "remnants.0": {"$exists": True}, "remnant_rounds": None if number == 1 else number - 1},
            [
                {
                    "$set": {
                        "remnants": {"$setDifference": ["$remnants", {"$literal": removed}]},
                        "remnant_rounds": number,
                        **noted(
                            f"remnant-removed:{media_id}:{number}",
                            AuditAction.REMNANT_REMOVED,
                            actor=SERVICE_ACTOR,
                            details=details,
                        ),
                    }
                }
            ],
        )

    async def unverified(self) -> tuple[int, float]:
        """How many deletions could have been verified and are not, and for how many seconds the oldest could.

        MOST_UNVERIFIED stands for that many or more.
        """
        due = {"$ifNull": ["$due_at", "$requested_at"]}
        pipeline: Sequence[Mapping[str, Any]] = [
            # What does not say when it is due comes before all moments, and counts from when it was asked for.
            {"$match": {"stage": {"$in": _UNFINISHED}, "$expr": {"$lt": ["$due_at", NOW]}}},
            {"$sort": {"due_at": 1}},
            {"$limit": MOST_UNVERIFIED},
            {"$group": {"_id": None, "number": {"$sum": 1}, "oldest": {"$min": due}}},
            {"$project": {"number": 1, "age_ms": {"$subtract": [NOW, "$oldest"]}}},
        ]
        rows = await self._deletions.aggregate(pipeline, hint="unfinished").to_list(1)
        return (rows[0]["number"], rows[0]["age_ms"] / 1000) if rows else (0, 0.0)


def certificate_id(media_id: UUID) -> str:
    """The id of the entry in the audit chain that is the certificate of a media's deletion."""
    return f"deletion-verified:{media_id}"
