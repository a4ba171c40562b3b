"""Media that are older than their purpose keeps them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from service.audit import SERVICE_ACTOR, AuditAction
from service.documents import MediaDocument
from service.lifecycle import MediaStatus
from service.models import MediaPurpose, Visibility
from service.stores.audit_outbox import noted
from service.stores.database import Database
from service.stores.expressions import NOW
from service.stores.media_reads import Projection, projection

# Every value by itself, so that `feed`, which has them before the ids, is read in the order of ids.
_ALL_THERE_IS: Final[dict[str, Any]] = {
    "status": {"$in": sorted(status.value for status in MediaStatus if status is not MediaStatus.DELETED)},
    "visibility": {"$in": sorted(visibility.value for visibility in Visibility)},
}
_INDEX: Final = "feed"


class RetentionStore:
    def __init__(self, database: Database) -> None:
        self._media = database.media

    async def due(
        self,
        purpose: MediaPurpose,
        *,
        created_before: datetime,
        held_media: Collection[UUID] = (),
        held_owners: Collection[str] = (),
        limit: int,
        fields: Projection,
    ) -> list[MediaDocument]:
        """Up to `limit` media of a purpose that are so old and not held, oldest first."""
        query = _due(purpose, created_before)
        if held_owners:
            query["owner_id"] = {"$nin": sorted(held_owners)}
        if held_media:
            query["_id"] = {**query["_id"], "$nin": sorted(held_media)}
        cursor = self._media.find(query, projection(fields)).sort("_id", 1).hint(_INDEX).limit(limit)
        documents: list[MediaDocument] = await cursor.to_list(limit)
        return documents

    async def count(self, purpose: MediaPurpose, *, created_before: datetime, limit: int) -> int:
        """How many media of a purpose are so old, held ones too, or `limit` if there are more."""
        query = _due(purpose, created_before)
        return int(await self._media.count_documents(query, hint=_INDEX, limit=limit))

    async def oldest(self, purpose: MediaPurpose) -> datetime | None:
        """When the oldest media of a purpose was created; None if there is none."""
        query = {"purpose": purpose.value, **_ALL_THERE_IS}
        found = await self._media.find(query, {"created_at": 1}).sort("_id", 1).hint(_INDEX).limit(1).to_list(1)
        return found[0]["created_at"] if found else None

    async def note_end(self, media_id: UUID, *, age_s: float) -> bool:
        """Have it on record that a media has been kept for its time; False if it is younger, by the database's clock.

        Or deleted already.
        """
        age = {"$subtract": [NOW, "$created_at"]}
        query = {
            "_id": media_id,
            "status": {"$ne": MediaStatus.DELETED.value},
            "$expr": {"$gte": [age, round(age_s * 1_000)]},
        }
        note = noted(f"retention-ended:{media_id}", AuditAction.RETENTION_ENDED, actor=SERVICE_ACTOR, details={})
        return bool((await self._media.update_one(query, [{"$set": note}])).matched_count)


def _due(purpose: MediaPurpose, created_before: datetime) -> dict[str, Any]:
    return {
        "purpose": purpose.value,
        **_ALL_THERE_IS,
        # An id begins with when it was made, by the clock of whoever made it: what it narrows down, the other decides.
        "_id": {"$lt": _first_id(created_before)},
        "created_at": {"$lt": created_before},
    }


def _first_id(moment: datetime) -> UUID:
    """Below every UUIDv7 that is made at `moment` or later."""
    return UUID(int=max(0, round(moment.timestamp() * 1_000)) << 80)
