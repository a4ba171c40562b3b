"""What people ask of the audit chains: what is on record of a media, an owner or an actor, and what still waits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from service.audit import BUCKETS
from service.stores.audit import OUTBOXES
from service.stores.audit_outbox import OUTBOX
from service.stores.database import Database

# So many outboxes are looked at for the oldest entry: at rest there are none.
_LOOKED_AT = 1_000
_WAITING = {f"{OUTBOX}.id": {"$gt": ""}}
_FIRST = "{:03d}:000000000001"


# What is counted; it stands for that many or more.
MOST_WAITING = 10_000


@dataclass(frozen=True, slots=True)
class Backlog:
    """Documents whose entries are not in the chains yet, and since when the oldest of them waits, in server time."""

    number: int
    oldest: datetime | None


class AuditReads:
    def __init__(self, database: Database) -> None:
        self._audit = database.handle["audit"]
        self._outboxes = [database.handle[name] for name in OUTBOXES]

    async def entries(
        self, *, media_id: UUID | None = None, owner_id: str | None = None, actor: str | None = None
    ) -> AsyncIterator[Mapping[str, Any]]:
        """What is on record under all that is given, oldest first, as it is stored."""
        asked = {"subject": None if media_id is None else str(media_id), "owner": owner_id, "actor": actor}
        query = {name: value for name, value in asked.items() if value is not None}
        index = "subject" if media_id is not None else "owner" if owner_id is not None else "actor"
        async for row in self._audit.find(query).sort([("at", 1), ("_id", 1)]).hint(f"by_{index}"):
            yield row

    async def begun(self) -> datetime | None:
        """The moment of the oldest first entry of a chain, as it says itself; None before there is one.

        One that says none counts from the beginning of time.
        """
        places = [_FIRST.format(bucket) for bucket in range(BUCKETS)]
        firsts = await self._audit.find({"_id": {"$in": places}}, {"at": 1}).to_list(None)
        moments = [str(first.get("at", "")) for first in firsts]
        if not moments:
            return None
        try:
            begun = datetime.fromisoformat(min(moments))
        except ValueError:
            begun = datetime.min.replace(tzinfo=UTC)
        return begun if begun.tzinfo is not None else begun.replace(tzinfo=UTC)

    async def backlog(self) -> Backlog:
        """What still waits in outboxes. Of very many the oldest may not be found, nor what does not say since when."""
        number, moments = 0, []
        for outbox in self._outboxes:
            number += await outbox.count_documents(_WAITING, limit=MOST_WAITING, hint="audit_pending")
            cursor = outbox.find(_WAITING, {f"{OUTBOX}.at": 1}).hint("audit_pending").limit(_LOOKED_AT)
            moments += [moment async for row in cursor for moment in _moments(row[OUTBOX])]
        return Backlog(min(number, MOST_WAITING), min(moments, default=None))


def _moments(outbox: Any) -> list[datetime]:
    """Since when entries wait; nothing of what is no entry, which is for `settle_all` to tell."""
    entries = outbox if isinstance(outbox, list) else []
    moments = [entry.get("at") for entry in entries if isinstance(entry, Mapping)]
    return [moment for moment in moments if isinstance(moment, datetime)]
