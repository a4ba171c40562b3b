"""The `erasures` collection: owners of whom nothing is to be left, and how far that has come.

A row has no owner's id once it is over, only an id that follows from it: so that it stays known whom to refuse.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, NotRequired, TypedDict
from uuid import UUID

from pymongo import ReturnDocument

from service.audit import ERASED_PREFIX, SERVICE_ACTOR, AuditAction
from service.errors import NotPermitted
from service.stores.audit_outbox import noted
from service.stores.database import Database
from service.stores.expressions import NOW, after_now, insert_if_absent

# What is said to an owner who is erased, or is being.
ERASED = "This account is erased, or is being: nothing can be written with it any more."

# Less than workers take from one sweep to the next.
_NEXT_LOOK_S: Final = 15


class ErasureDocument(TypedDict):
    """`owner_id`: until it is sealed. `open`: until it is over. `pseudonym`: what stands for the owner afterwards.

    `look_at`: when a sweeper carries it on, until it is over. `rounds`: how often something has come up after that.
    `deletions`: how many media there were; `certificates_sha256`: over their certificates. `certificate`: the hash of
    the audit entry that says so.
    """

    _id: UUID
    owner_id: NotRequired[str]
    pseudonym: str
    requested_by: str
    requested_at: datetime
    open: NotRequired[bool]
    look_at: NotRequired[datetime]
    deletions: NotRequired[int]
    certificates_sha256: NotRequired[str]
    rounds: NotRequired[int]
    sealed_at: NotRequired[datetime]
    certificate: NotRequired[str]


def erasure_id(owner_id: str) -> UUID:
    """The id of an owner's erasure: there is one at most."""
    return UUID(bytes=hashlib.sha256(f"erasure\0{owner_id}".encode()).digest()[:16])


def entry_of(erasure: ErasureDocument) -> str:
    """The id of the audit entry that certifies an erasure: of its latest round, if something has come up since."""
    latest = erasure.get("rounds", 0)
    return f"owner-erased:{erasure['_id']}" + (f":{latest}" if latest else "")


class ErasureStore:
    def __init__(self, database: Database) -> None:
        self._erasures = database.handle["erasures"]

    async def begin(self, owner_id: str, *, by: str) -> ErasureDocument:
        """Note that an owner is to be erased, once; the erasure as it is now. They can change nothing from then on."""
        row_id = erasure_id(owner_id)
        fresh = {
            "owner_id": {"$literal": owner_id},
            "pseudonym": f"{ERASED_PREFIX}{row_id}",
            "requested_by": {"$literal": by},
            "requested_at": NOW,
            "open": True,
            "look_at": NOW,
            **noted(
                f"owner-erasure-requested:{row_id}",
                AuditAction.ERASURE_REQUESTED,
                actor=by,
                owner={"$literal": owner_id},
                details={},
            ),
        }
        document: ErasureDocument = await self._erasures.find_one_and_update(
            {"_id": row_id},
            insert_if_absent(fresh, marker="pseudonym"),
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        return document

    async def of_owner(self, owner_id: str) -> ErasureDocument | None:
        return await self.get(erasure_id(owner_id))

    async def is_begun(self, owner_id: str) -> bool:
        """Whether an owner is erased, or is being."""
        return await self._erasures.find_one({"_id": erasure_id(owner_id)}, {"_id": 1}) is not None

    async def begun_among(self, owner_ids: Iterable[str]) -> set[str]:
        """Those of these owners who are erased, or are being."""
        owners = {erasure_id(owner_id): owner_id for owner_id in owner_ids}
        return {owners[row["_id"]] async for row in self._erasures.find({"_id": {"$in": list(owners)}}, {"_id": 1})}

    async def refuse(self, owner_id: str) -> None:
        """Raise NotPermitted for an owner who is erased, or is being."""
        if await self.is_begun(owner_id):
            raise NotPermitted(ERASED)

    async def get(self, row_id: UUID) -> ErasureDocument | None:
        document: ErasureDocument | None = await self._erasures.find_one({"_id": row_id})
        return document

    async def take_due(self, *, limit: int) -> list[ErasureDocument]:
        """Erasures that a sweeper is to carry on now; each for one sweeper at a time, in turn.

        So one that can go no further, for as long as something is held, keeps no other from its turn.
        """
        is_due = {"open": True, "$expr": {"$lte": ["$look_at", NOW]}}
        cursor = self._erasures.find(is_due, {"look_at": 1}).sort("look_at", 1).hint("due").limit(limit)
        taken: list[ErasureDocument] = []
        for each in await cursor.to_list(limit):
            found = await self._erasures.find_one_and_update(
                {"_id": each["_id"], "open": True, "look_at": each.get("look_at")},
                [{"$set": {"look_at": after_now(_NEXT_LOOK_S)}}],
                return_document=ReturnDocument.AFTER,
            )
            if found is not None:
                taken.append(found)
        return taken

    async def reopen(self, owner_id: str) -> None:
        """Something of an erased owner has come up: let it be erased as well."""
        await self._erasures.update_one(
            {"_id": erasure_id(owner_id), "owner_id": {"$exists": False}},
            {
                "$set": {"owner_id": owner_id, "open": True},
                "$unset": {"sealed_at": "", "look_at": ""},
                "$inc": {"rounds": 1},
            },
        )

    async def seal(self, erasure: ErasureDocument, *, deletions: int, certificates_sha256: str) -> None:
        """Nothing is left: note so, what there was, and forget whose it was.

        Changes nothing if something has come up since `erasure` was read: what is left then is another's to look for.
        """
        details = {"deletions": deletions, "certificates_sha256": certificates_sha256}
        note = noted(
            entry_of(erasure),
            AuditAction.OWNER_ERASED,
            actor=SERVICE_ACTOR,
            owner={"$literal": erasure["owner_id"]},
            details=details,
        )
        update = {**details, "sealed_at": NOW, "owner_id": "$$REMOVE", **note}
        unchanged = {**_of_round(erasure), "owner_id": erasure["owner_id"], "sealed_at": {"$exists": False}}
        await self._erasures.update_one(unchanged, [{"$set": update}])

    async def close(self, erasure: ErasureDocument, *, certificate: str) -> ErasureDocument:
        """It is over: `certificate` says so of this round. The erasure as it is then."""
        after: ErasureDocument | None = await self._erasures.find_one_and_update(
            {**_of_round(erasure), "sealed_at": {"$exists": True}},
            {"$set": {"certificate": certificate}, "$unset": {"open": "", "look_at": ""}},
            return_document=ReturnDocument.AFTER,
        )
        return erasure if after is None else after


def _of_round(erasure: ErasureDocument) -> dict[str, Any]:
    """Finds an erasure in which nothing has come up since; None stands for a field that there is not."""
    return {"_id": erasure["_id"], "rounds": erasure.get("rounds")}
