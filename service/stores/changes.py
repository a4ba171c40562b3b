"""The change stream on `media`: which media changed status, in order, for as long as the process lives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import UUID

import structlog
from pymongo.errors import OperationFailure

from service.stores.database import OUTAGE_ERRORS, Database

_PIPELINE: list[Mapping[str, Any]] = [
    {"$match": {"operationType": "update", "updateDescription.updatedFields.status_sequence": {"$exists": True}}},
    {"$project": {"documentKey": 1}},
]
_RETRY_S = 0.5

log = structlog.get_logger(__name__)


async def watch_statuses(database: Database) -> AsyncIterator[UUID | None]:
    """Ids of media as their status changes; None whenever changes may have been missed, the very start included.

    Never ends by itself: it reconnects after outages, and begins anew where the oplog no longer reaches back
    (ChangeStreamHistoryLost, code 286).
    """
    token = None
    while True:
        try:
            async with database.watching["media"].watch(
                _PIPELINE, resume_after=token, max_await_time_ms=1_000
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
