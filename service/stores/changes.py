"""Change streams: what changes in the database, and that there are new jobs, for as long as the process lives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from service.models import Lane
from service.stores.audit_outbox import PAST_EMPTIED_OUTBOXES
from service.stores.change_streams import Signal, Told, watch
from service.stores.database import Database

MEDIA = "media"
DELETIONS = "deletions"

# Names instead of values: whole lists of renditions would otherwise travel to every process, to be thrown away there.
_DOCUMENTS: list[Mapping[str, Any]] = [
    {
        "$match": {
            "ns.coll": {"$in": [MEDIA, DELETIONS]},
            "operationType": {"$in": ["insert", "update", "replace", "delete"]},
        }
    },
    PAST_EMPTIED_OUTBOXES,
    {
        "$project": {
            "documentKey": 1,
            "collection": "$ns.coll",
            "whole": {"$ne": ["$operationType", "update"]},
            "capture_id": "$fullDocument.capture_id",
            "status": {"$ifNull": ["$updateDescription.updatedFields.status", "$fullDocument.status"]},
            "updated": {
                "$map": {
                    "input": {"$objectToArray": {"$ifNull": ["$updateDescription.updatedFields", {}]}},
                    "in": "$$this.k",
                }
            },
            "removed": "$updateDescription.removedFields",
            "truncated": "$updateDescription.truncatedArrays.field",
        }
    },
]
# Nobody waits for the last lane: its jobs are found by asking now and then, however many are enqueued at once.
_AWAITED_JOBS: list[Mapping[str, Any]] = [
    {"$match": {"operationType": "insert", "fullDocument.lane": {"$ne": Lane.BACKFILL.value}}},
    {"$project": {"documentKey": 1}},
]


@dataclass(frozen=True, slots=True)
class Change:
    """One write to a document of `collection`.

    `fields`: the names of the top-level fields it touched; None if it wrote, replaced or removed the whole document.
    `status`: the status it wrote, if it did. `capture_id`: the capture of a media that was written as a whole.
    """

    collection: str
    id: UUID
    fields: frozenset[str] | None
    status: str | None
    capture_id: str | None = None


async def watch_documents(database: Database) -> AsyncIterator[Change | Signal | Told]:
    """Every change of a media or of a deletion, in order; BEGUN first, and again where any may have been missed.

    Never ends by itself. Documents whose id is no UUID are not the service's: nothing is said of them.
    """
    async for event in watch(database.watching, _DOCUMENTS):
        if isinstance(event, Signal | Told):
            yield event
        elif isinstance(event["documentKey"]["_id"], UUID):
            yield _change_of(event)


async def watch_jobs(database: Database) -> AsyncIterator[None]:
    """Once for every job that somebody waits for, as it is enqueued, and whenever some may have been missed."""
    async for event in watch(database.watching, _AWAITED_JOBS, collection="jobs"):
        if event is Signal.BEGUN or not isinstance(event, Signal | Told):
            yield None


def _change_of(event: Mapping[str, Any]) -> Change:
    names = (*event["updated"], *(event.get("removed") or ()), *(event.get("truncated") or ()))
    fields = None if event["whole"] else frozenset(name.partition(".")[0] for name in names)
    return Change(
        event["collection"],
        event["documentKey"]["_id"],
        fields,
        _text(event.get("status")),
        _text(event.get("capture_id")),
    )


def _text(value: Any) -> str | None:
    # Whoever writes by hand may have written anything.
    return value if isinstance(value, str) else None
