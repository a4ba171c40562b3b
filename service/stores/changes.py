"""Change streams: what changes in the database, and that there are new jobs, for as long as the process lives."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from pymongo.errors import OperationFailure

from service.models import Lane
from service.stores.database import OUTAGE_ERRORS, Database

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
_RETRY_S = 0.5

log = structlog.get_logger(__name__)


class Signal(enum.Enum):
    """What a change stream has to say besides changes.

    BEGUN: changes before this moment may have been missed, those after it will not. QUIET: all that a majority had
    written a moment ago has been told. INTERRUPTED: until RESUMED or BEGUN nothing is told; RESUMED: what happened in
    between follows.
    """

    BEGUN = enum.auto()
    QUIET = enum.auto()
    INTERRUPTED = enum.auto()
    RESUMED = enum.auto()


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


async def watch_documents(database: Database) -> AsyncIterator[Change | Signal]:
    """Every change of a media or of a deletion, in order; BEGUN first, and again where any may have been missed.

    Never ends by itself: it resumes after outages and elections, and begins anew where the oplog no longer reaches
    back (ChangeStreamHistoryLost, code 286).
    """
    async for event in _watch(database.watching, _DOCUMENTS):
        yield event if isinstance(event, Signal) else _change_of(event)


async def watch_jobs(database: Database) -> AsyncIterator[None]:
    """Once for every job that somebody waits for, as it is enqueued, and whenever some may have been missed."""
    async for event in _watch(database.watching["jobs"], _AWAITED_JOBS):
        if event is Signal.BEGUN or not isinstance(event, Signal):
            yield None


def _change_of(event: Mapping[str, Any]) -> Change:
    names = (*event["updated"], *(event.get("removed") or ()), *(event.get("truncated") or ()))
    fields = None if event["whole"] else frozenset(name.partition(".")[0] for name in names)
    status, capture_id = event.get("status"), event.get("capture_id")
    return Change(event["collection"], event["documentKey"]["_id"], fields, status, capture_id)


async def _watch(source: Any, pipeline: list[Mapping[str, Any]]) -> AsyncIterator[Mapping[str, Any] | Signal]:
    token = None
    while True:
        try:
            async with source.watch(pipeline, resume_after=token, max_await_time_ms=1_000) as stream:
                # The server's cursor is open only after the first look, so what follows cannot fall in between.
                event = await stream.try_next()
                yield Signal.BEGUN if token is None else Signal.RESUMED
                while stream.alive:
                    yield Signal.QUIET if event is None else event
                    # Also without news: a token that is never renewed falls out of the oplog.
                    token = stream.resume_token
                    event = await stream.try_next()
        except OUTAGE_ERRORS as error:
            log.warning("change stream interrupted; resuming", error=repr(error))
        except OperationFailure as error:
            log.warning("change stream cannot resume; beginning anew", code=error.code)
            token = None
        yield Signal.INTERRUPTED
        await asyncio.sleep(_RETRY_S)
