"""Change streams: which media changed status, and that there are new jobs, for as long as the process lives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import UUID

import structlog
from pymongo.errors import OperationFailure

from service.models import Lane
from service.stores.database import OUTAGE_ERRORS, Database

_STATUSES: list[Mapping[str, Any]] = [
    {"$match": {"operationType": "update", "updateDescription.updatedFields.status_sequence": {"$exists": True}}},
    {"$project": {"documentKey": 1}},
]
# Nobody waits for the last lane: its jobs are found by asking now and then, however many are enqueued at once.
_AWAITED_JOBS: list[Mapping[str, Any]] = [
    {"$match": {"operationType": "insert", "fullDocument.lane": {"$ne": Lane.BACKFILL.value}}},
    {"$project": {"documentKey": 1}},
]
_RETRY_S = 0.5

log = structlog.get_logger(__name__)


async def watch_statuses(database: Database) -> AsyncIterator[UUID | None]:
    """Ids of media as their status changes; None whenever changes may have been missed, the very start included.

    Never ends by itself: it reconnects after outages, and begins anew where the oplog no longer reaches back
    (ChangeStreamHistoryLost, code 286).
    """
    async for media_id in _watch(database, "media", _STATUSES):
        yield media_id


async def watch_jobs(database: Database) -> AsyncIterator[None]:
    """Once for every job that somebody waits for, as it is enqueued, and whenever some may have been missed."""
    async for _ in _watch(database, "jobs", _AWAITED_JOBS):
        yield None


async def _watch(database: Database, collection: str, pipeline: list[Mapping[str, Any]]) -> AsyncIterator[Any]:
    """The key of each document that changes as `pipeline` says; None whenever changes may have been missed."""
    token = None
    while True:
        try:
            async with database.watching[collection].watch(
                pipeline, resume_after=token, max_await_time_ms=1_000
            ) as stream:
                if token is None:
                    # The server's cursor is open only after the first look, so what follows cannot fall in between.
                    await stream.try_next()
                    yield None
                async for change in stream:
                    yield change["documentKey"]["_id"]
                    token = stream.resume_token
        except OUTAGE_ERRORS as error:
            log.warning("change stream interrupted; resuming", error=repr(error))
        except OperationFailure as error:
            log.warning("change stream cannot resume; beginning anew", code=error.code)
            token = None
        await asyncio.sleep(_RETRY_S)
