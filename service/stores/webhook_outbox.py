"""Events that writes have left in their documents, by event_outbox.py: reading them, and taking them out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from pymongo import UpdateOne
from pymongo.read_concern import ReadConcern

from service.stores.database import Database
from service.stores.event_outbox import OUTBOX, SEQUENCE
from service.stores.expressions import NOW, after_now

COLLECTIONS = ("media", "deletions")
# Of a document whose events could not be read: when that is tried again.
LOOK_AGAIN = "webhook_look_again_at"
COUNT_LIMIT = 10_000
_WAITING = {f"{OUTBOX}.sequence": {"$gt": 0}}
# A date that is missing is before all others.
_DUE = {**_WAITING, "$expr": {"$lte": [f"${LOOK_AGAIN}", NOW]}}
_FIELDS = dict.fromkeys(("owner_id", "purpose", "status", OUTBOX, SEQUENCE, LOOK_AGAIN), 1)


class WebhookOutbox:
    def __init__(self, database: Database) -> None:
        self._written = {name: database.handle[name] for name in COLLECTIONS}
        # What a failover may still take back is nobody told of.
        majority = ReadConcern("majority")
        self._settled = {name: written.with_options(read_concern=majority) for name, written in self._written.items()}

    async def waiting(self, collection: str, *, limit: int) -> list[dict[str, Any]]:
        """Documents of `media` or `deletions` that hold events: with these, whose they are, and their purpose.

        None of those that are put off.
        """
        found: list[dict[str, Any]] = await self._settled[collection].find(_DUE, _FIELDS).limit(limit).to_list(limit)
        return found

    async def media(self, media_ids: Collection[UUID]) -> dict[UUID, dict[str, Any]]:
        """The same of these media, whether they hold events or not."""
        cursor = self._settled["media"].find({"_id": {"$in": list(media_ids)}}, _FIELDS)
        return {document["_id"]: document async for document in cursor}

    async def take_out(self, collection: str, taken: Mapping[UUID, int]) -> None:
        """Forget the events of each of these documents up to and including a sequence; later ones stay, and are due."""
        if taken:
            updates = [_without(document_id, sequence) for document_id, sequence in taken.items()]
            await self._written[collection].bulk_write(updates, ordered=False)

    async def put_off(self, collection: str, ids: Collection[UUID], *, delay_s: float) -> None:
        """Leave the events of these documents where they are, later ones as well, and pass over them until then."""
        if ids:
            later = {"$set": {LOOK_AGAIN: after_now(delay_s)}}
            await self._written[collection].update_many({"_id": {"$in": list(ids)}, **_WAITING}, [later])

    async def count_put_off(self) -> int:
        """Documents whose events could not be read when that was last tried; 10000 stands for that many or more."""
        query = {**_WAITING, LOOK_AGAIN: {"$exists": True}}
        counts = [await written.count_documents(query, limit=COUNT_LIMIT) for written in self._written.values()]
        return min(sum(counts), COUNT_LIMIT)


def _without(document_id: UUID, sequence: int) -> UpdateOne:
    left = {"$filter": {"input": f"${OUTBOX}", "cond": {"$gt": ["$$this.sequence", sequence]}}}
    # An empty one would be in no index, but in every document.
    emptied: list[dict[str, Any]] = [
        {"$set": {OUTBOX: left}},
        {
            "$set": {
                OUTBOX: {"$cond": [{"$eq": [f"${OUTBOX}", []]}, "$$REMOVE", f"${OUTBOX}"]},
                LOOK_AGAIN: "$$REMOVE",
            }
        },
    ]
    return UpdateOne({"_id": document_id, **_WAITING}, emptied)
