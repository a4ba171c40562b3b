"""Deletions that wait because their media is kept: what `deletions` says of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from service.audit import SERVICE_ACTOR, AuditAction, moment
from service.models import DeletionStage, MediaPurpose
from service.stores.audit_outbox import noted
from service.stores.database import Database
from service.stores.deletions import DeletionDocument
from service.stores.event_outbox import NOTHING, Stages
from service.stores.expressions import NOW, after_now

_BLOCKED = DeletionStage.BLOCKED_BY_RETENTION.value


class BlockedDeletionStore:
    """`blocked_until`: when the bytes may go; absent where a hold, `blocked_by`, keeps them.

    `keep_for`: how long the bytes of media are kept at least, by purpose. `on_stage`: what an update to
    another stage does besides.
    """

    def __init__(
        self, database: Database, *, keep_for: Mapping[MediaPurpose, timedelta], on_stage: Stages = NOTHING
    ) -> None:
        self._deletions = database.deletions
        self._on_stage = on_stage
        self.keep_for = keep_for

    async def block(self, media_id: UUID, *, until: datetime | None, hold_id: UUID | None, pause: timedelta) -> None:
        """Note that what is asked for has to wait: `until` a moment, or for a hold, to be looked at after `pause`.

        Nothing happens to a deletion whose objects are removed.
        """
        name = str(hold_id) if until is None else moment(until)
        values: dict[str, Any] = {
            "stage": _BLOCKED,
            "blocked_until": "$$REMOVE" if until is None else until,
            "blocked_by": "$$REMOVE" if hold_id is None else hold_id,
            "look_at": after_now(pause.total_seconds()) if until is None else until,
        }
        note = noted(
            f"deletion-blocked:{media_id}:{name}",
            AuditAction.DELETION_BLOCKED,
            actor=SERVICE_ACTOR,
            details={"hold": name} if until is None else {"until": name},
        )
        same = {"_id": media_id, "stage": _BLOCKED, "blocked_until": until, "blocked_by": hold_id}
        is_new = await self._deletions.find_one(same, {"_id": 1}) is None
        query = {"_id": media_id, "stage": {"$in": [DeletionStage.HIDDEN.value, _BLOCKED]}}
        update = [{"$set": {**values, **note}}, *self._on_stage] if is_new else [{"$set": values}]
        await self._deletions.update_one(query, update)

    async def resume(self, media_id: UUID) -> None:
        """Nothing keeps it any longer: it goes on where it was, and is due to be looked after."""
        update = {"stage": DeletionStage.HIDDEN.value, "look_at": NOW, **dict.fromkeys(_REASONS, "$$REMOVE")}
        await self._deletions.update_one({"_id": media_id, "stage": _BLOCKED}, [{"$set": update}, *self._on_stage])

    async def list_due(self, *, limit: int) -> list[DeletionDocument]:
        """Up to `limit` that are to be looked at again, longest first."""
        query = {"stage": _BLOCKED, "$expr": {"$lte": ["$look_at", NOW]}}
        cursor = self._deletions.find(query).sort("look_at", 1).hint("upkeep").limit(limit)
        found: list[DeletionDocument] = await cursor.to_list(limit)
        return found

    async def look_soon(self, hold_id: UUID) -> None:
        """Let those that waited for a hold be looked at in the next sweep."""
        await self._deletions.update_many(_waiting(hold_id), [{"$set": {"look_at": NOW}}], hint="blocked_by")

    async def count(self, hold_id: UUID) -> int:
        """How many wait for a hold to be lifted."""
        return int(await self._deletions.count_documents(_waiting(hold_id), hint="blocked_by"))


_REASONS = ("blocked_until", "blocked_by")


def _waiting(hold_id: UUID) -> dict[str, Any]:
    return {"stage": _BLOCKED, "blocked_by": hold_id}
