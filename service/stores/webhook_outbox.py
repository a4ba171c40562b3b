"""Events that writes have left in their documents, by event_outbox.py: reading them, and taking them out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from pymongo import UpdateOne
from pymongo.read_concern import ReadConcern

from service.stores.database import Database
from service.stores.event_outbox import OUTBOX, SEQUENCE

COLLECTIONS = ("media", "deletions")
_WAITING = {f"{OUTBOX}.sequence": {"$gt": 0}}
_FIELDS = dict.fromkeys(("owner_id", "purpose", "status", OUTBOX, SEQUENCE), 1)


class WebhookOutbox:
    def __init__(self, database: Database) -> None:
        self._written = {name: database.handle[name] for name in COLLECTIONS}
        # What a failover may still take back is nobody told of.
        majority = ReadConcern("majority")
        self._settled = {name: written.with_options(read_concern=majority) for name, written in self._written.items()}

    async def waiting(self, collection: str, *, limit: int) -> list[dict[str, Any]]:
        """Documents of `media` or `deletions` that hold events: with these, whose they are, and their purpose."""
        found: list[dict[str, Any]] = (
            await self._settled[collection].find(_WAITING, _FIELDS).limit(limit).to_list(limit)
        )
        return found

    async def media(self, media_ids: Collection[UUID]) -> dict[UUID, dict[str, Any]]:
        """The same of these media, whether they hold events or not."""
        cursor = self._settled["media"].find({"_id": {"$in": list(media_ids)}}, _FIELDS)
        return {document["_id"]: document async for document in cursor}

    async def take_out(self, collection: str, taken: Mapping[UUID, int]) -> None:
        """Forget the events of each of these documents up to and including a sequence; later ones stay."""
        if taken:
            updates = [_without(document_id, sequence) for document_id, sequence in taken.items()]
            await self._written[collection].bulk_write(updates, ordered=False)

    async def count_waiting(self) -> int:
        """Documents that hold events."""
        return sum([await written.count_documents(_WAITING) for written in self._written.values()])


def _without(document_id: UUID, sequence: int) -> UpdateOne:
    left = {"$filter": {"input": f"${OUTBOX}", "cond": {"$gt": ["$$this.sequence", sequence]}}}
    # An empty one would be in no index, but in every document.
    emptied: list[dict[str, Any]] = [
        {"$set": {OUTBOX: left}},
        {"$set": {OUTBOX: {"$cond": [{"$eq": [f"${OUTBOX}", []]}, "$$REMOVE", f"${OUTBOX}"]}}},
    ]
    return UpdateOne({"_id": document_id, **_WAITING}, emptied)
