"""The `holds` collection: what must not be removed. And `removals`: what is being removed at this moment.

Who removes first writes down that it does, and then looks for holds; who places a hold first writes that, and then
looks for removals. So one of the two always sees the other.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any, NotRequired, TypedDict
from uuid import UUID

from pymongo import ReturnDocument
from uuid6 import uuid7

from service.audit import AuditAction
from service.stores.audit_outbox import OUTBOX, noted
from service.stores.database import OUTAGE_ERRORS, Database
from service.stores.expressions import NOW, Expression, after_now, insert_if_absent, literals

# A process that was killed while it removed has not said that it is over.
FORGOTTEN_AFTER_S = 3_600
_MEDIA = "media:"


class HoldDocument(TypedDict):
    """`subject`: what is held, as `subject_of` names it. `active`: until it is lifted. `owner_id`: whose that is."""

    _id: UUID
    subject: str
    owner_id: str
    reason: str
    placed_by: str
    placed_at: datetime
    active: NotRequired[bool]
    lifted_by: NotRequired[str]
    lifted_at: NotRequired[datetime]


def subject_of(*, media_id: UUID | None = None, owner_id: str | None = None) -> str:
    """One media, or all of an owner's, also those that are yet to come."""
    return f"{_MEDIA}{media_id}" if owner_id is None else f"owner:{owner_id}"


def _on_record_under(subject: str | Expression) -> Expression:
    """The id of the media that is held, under which people look for it; of a hold on an owner its own."""
    return {
        "$cond": [
            {"$eq": [{"$substrCP": [subject, 0, len(_MEDIA)]}, _MEDIA]},
            {"$substrCP": [subject, len(_MEDIA), len(str(UUID(int=0)))]},
            "$_id",
        ]
    }


def _subjects(media_id: UUID, owner_id: str) -> list[str]:
    return [subject_of(media_id=media_id), subject_of(owner_id=owner_id)]


class HoldStore:
    def __init__(self, database: Database) -> None:
        self._holds = database.handle["holds"]
        self._removals = database.handle["removals"]

    async def place(self, hold_id: UUID, subject: str, *, owner_id: str, by: str, reason: str) -> HoldDocument:
        """Write a hold, in server time; one that is there already stays as it is."""
        fresh = {
            "subject": {"$literal": subject},
            "owner_id": {"$literal": owner_id},
            "reason": {"$literal": reason},
            "placed_by": {"$literal": by},
            "placed_at": NOW,
            "active": True,
            **noted(
                f"hold-placed:{hold_id}",
                AuditAction.HOLD_PLACED,
                actor=by,
                owner={"$literal": owner_id},
                subject=_on_record_under({"$literal": subject}),
                details={"hold": str(hold_id), "on": subject.partition(":")[0]},
            ),
        }
        document: HoldDocument = await self._holds.find_one_and_update(
            {"_id": hold_id},
            insert_if_absent(fresh, marker="subject"),
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        return document

    async def lift(self, hold_id: UUID, *, by: str) -> HoldDocument | None:
        """End a hold; it as it is then, whoever ended it, or None if there is none with this id."""
        note = noted(
            f"hold-lifted:{hold_id}",
            AuditAction.HOLD_LIFTED,
            actor=by,
            subject=_on_record_under("$subject"),
            details={"hold": str(hold_id)},
        )
        lifted = {"active": "$$REMOVE", "lifted_by": {"$literal": by}, "lifted_at": NOW, **note}
        await self._holds.update_one({"_id": hold_id, "active": True}, [{"$set": lifted}])
        document: HoldDocument | None = await self._holds.find_one({"_id": hold_id})
        return document

    async def find(self, *, lifted: bool = False) -> list[HoldDocument]:
        """The holds that are active, oldest first; with `lifted` the others as well."""
        cursor = self._holds.find({} if lifted else {"active": True}).sort("_id", 1)
        return [hold async for hold in cursor]

    async def of_owner(self, owner_id: str) -> list[UUID]:
        """The active holds on an owner and on their media, oldest first."""
        cursor = self._holds.find({"owner_id": owner_id, "active": True}, {"_id": 1}).hint("of_owner")
        return sorted([hold["_id"] async for hold in cursor])

    async def on(self, media_id: UUID, owner_id: str) -> UUID | None:
        """A hold that keeps this media, or None."""
        return (await self.on_many({media_id: owner_id})).get(media_id)

    async def on_many(self, owners: Mapping[UUID, str]) -> dict[UUID, UUID]:
        """Of media by id, each with its owner, those that are held, each with a hold that keeps it."""
        asked = {subject for media_id, owner_id in owners.items() for subject in _subjects(media_id, owner_id)}
        query = {"active": True, "subject": {"$in": sorted(asked)}}
        cursor = self._holds.find(query, {"subject": 1}).hint("subject")
        held = {hold["subject"]: hold["_id"] async for hold in cursor} if asked else {}
        return {
            media_id: held[subject]
            for media_id, owner_id in owners.items()
            for subject in _subjects(media_id, owner_id)
            if subject in held
        }

    @asynccontextmanager
    async def removal(self, media_id: UUID, owner_id: str) -> AsyncIterator[UUID | None]:
        """For as long as something of a media is removed. Gives the hold that forbids it, or None if there is none.

        A hold that is placed afterwards is told of this removal.
        """
        claim_id = uuid7()
        claim = literals({"subjects": _subjects(media_id, owner_id), "media_id": media_id})
        # In server time, like the index that ends it: a clock that is behind must not hide what is still under way.
        claim["expires_at"] = after_now(FORGOTTEN_AFTER_S)
        await self._removals.update_one({"_id": claim_id}, [{"$set": claim}], upsert=True)
        try:
            yield await self.on(media_id, owner_id)
        finally:
            # Of one that cannot be ended, no more is known than of a process that was killed.
            with suppress(*OUTAGE_ERRORS):
                await self._removals.delete_one({"_id": claim_id})

    async def removals_of(self, subject: str, *, among: Collection[UUID] | None = None) -> dict[UUID, UUID]:
        """The removals of something that `subject` names which are under way, each with its media.

        `among`: only these, which were seen before.
        """
        query: dict[str, Any] = {"subjects": subject}
        cursor = self._removals.find(query, {"media_id": 1}).hint("subjects")
        found = {each["_id"]: each["media_id"] async for each in cursor}
        return {claim: media for claim, media in found.items() if among is None or claim in among}

    async def forget_owner(self, owner_id: str) -> None:
        """Remove the lifted holds on an owner and on their media, once it is on record that they were lifted."""
        await self._holds.delete_many({"owner_id": owner_id, "active": {"$exists": False}, OUTBOX: {"$exists": False}})


def owners_of(media: Iterable[Mapping[str, Any]]) -> dict[UUID, str]:
    """The owner of each of some media, or deletions of them."""
    return {each["_id"]: each["owner_id"] for each in media}
