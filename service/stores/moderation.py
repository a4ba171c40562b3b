"""What is locked away, by moderators or as malware: why is kept in the media by the very write that decides it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from pymongo import UpdateOne

from service.audit import SERVICE_ACTOR, AuditAction, Note
from service.documents import MediaDocument
from service.lifecycle import MediaStatus
from service.models import ModerationDecision, StatusChange
from service.stores.audit_outbox import noted
from service.stores.database import Database
from service.stores.expressions import NEXT_UPDATE, NOW, REVISION, Expression, literals
from service.stores.jobs import first_fence
from service.stores.media import MediaStore
from service.stores.media_reads import Projection, projection

PAGE: Final = 200
# The latest decisions that a media keeps: with reasons of the greatest length still a small part of its document.
KEPT_DECISIONS = 20


class ModerationStore:
    """`decision` is as in ModerationDocument; what was decided and when is added here."""

    def __init__(self, database: Database, *, media: MediaStore) -> None:
        self._documents = database.media
        self._media = media

    async def quarantine(
        self, media_id: UUID, decision: Mapping[str, Any], *, failure: Mapping[str, Any], sequence: int
    ) -> StatusChange | None:
        """READY to QUARANTINED, `failure` telling its owner; None if it is not READY, or not since `sequence`.

        The sweeper looks at it until its renditions are gone, and whether any comes back.
        """
        return await self._media.transition(
            media_id,
            MediaStatus.QUARANTINED,
            sources={MediaStatus.READY},
            guard={"status_sequence": sequence},
            values={"failure": dict(failure)},
            computed={"moderation": _with(ModerationDecision.QUARANTINE, decision)},
            note=_note(AuditAction.MEDIA_QUARANTINED, decision),
        )

    async def release(
        self, media_id: UUID, decision: Mapping[str, Any], *, sequence: int, generation: int
    ) -> StatusChange | None:
        """QUARANTINED back to UPLOADED, in round `generation` of processing; None if it is not so since `sequence`.

        None as well while renditions of it are listed: their removal has to end first. It counts as a revision, so that
        whatever is made from now on has keys that nothing removed ever had.
        """
        return await self._media.transition(
            media_id,
            MediaStatus.UPLOADED,
            sources={MediaStatus.QUARANTINED},
            guard={"status_sequence": sequence, "renditions.0": {"$exists": False}},
            values={"processing.generation": generation, "processing.fence": first_fence(generation)},
            computed={
                "moderation": _with(ModerationDecision.RELEASE, decision),
                "processing.revision": {"$add": [REVISION, 1]},
            },
            unset=["failure"],
            note=_note(AuditAction.MEDIA_RELEASED, decision),
        )

    async def condemn(self, owner_id: str, sha256: str, verdict: Mapping[str, Any]) -> None:
        """Have all that an owner has QUARANTINED of a content say that it is malware, whatever it was locked away for.

        `verdict`: its `failure` and `processing.malware`. Each is on record; what says so already stays as it is.
        """
        query = {**_locked_away(owner_id, sha256), "processing.malware": {"$exists": False}}
        # A page at a time: what says so is not found again.
        while found := await self._find(query, limit=PAGE):
            await self._documents.bulk_write(
                [UpdateOne({**query, **each}, _condemned(each, verdict)) for each in found]
            )
            for each in found:
                self._media.tell(each["_id"])

    async def verdict_on(self, owner_id: str, sha256: str) -> Mapping[str, str] | None:
        """Signature and engine of what an owner has QUARANTINED of a content as malware."""
        query = {**_locked_away(owner_id, sha256), "processing.malware": {"$exists": True}}
        found = await self._documents.find_one(query, {"processing.malware": 1}, hint="owner_content")
        return None if found is None else found["processing"]["malware"]

    async def _find(self, query: Mapping[str, Any], *, limit: int) -> list[MediaDocument]:
        cursor = self._documents.find(query, {"status_sequence": 1}).hint("owner_content").limit(limit)
        documents: list[MediaDocument] = await cursor.to_list(limit)
        return documents

    async def ready_of(self, owner_id: str, *, limit: int, fields: Projection) -> list[MediaDocument]:
        """The newest READY media of one owner."""
        query = {"owner_id": owner_id, "status": MediaStatus.READY.value}
        cursor = self._documents.find(query, projection(fields)).hint("owner_newest").limit(limit)
        documents: list[MediaDocument] = await cursor.to_list(limit)
        return documents


def _locked_away(owner_id: str, sha256: str) -> dict[str, Any]:
    return {"owner_id": owner_id, "content.sha256": sha256, "status": MediaStatus.QUARANTINED.value}


def _condemned(media: MediaDocument, verdict: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    note = noted(
        f"malware:{media['_id']}:{media['status_sequence']}",
        AuditAction.MEDIA_QUARANTINED,
        actor=SERVICE_ACTOR,
        details={"failure": verdict["failure"]["code"]},
    )
    return [{"$set": {**literals(verdict), "updated_at": NEXT_UPDATE, **note}}]


def _note(action: AuditAction, decision: Mapping[str, Any]) -> Note:
    # What was given as a reason stays with the media, where it can be erased.
    return Note(action, actor=decision["by"], details={"decision": decision["id"]})


def _with(decided: ModerationDecision, decision: Mapping[str, Any]) -> Expression:
    """The latest of what was decided so far, and this."""
    entry = {**literals({**decision, "decision": decided.value}), "at": NOW}
    earlier = {"$ifNull": ["$moderation", []]}
    return {"$slice": [{"$concatArrays": [earlier, [entry]]}, -KEPT_DECISIONS]}
