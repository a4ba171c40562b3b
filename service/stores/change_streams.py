"""Reads a change stream for as long as the process lives, and says how far behind the database it is."""

from __future__ import annotations

import asyncio
import enum
import time
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog
from bson.timestamp import Timestamp
from pymongo.errors import OperationFailure

from service.stores.database import OUTAGE_ERRORS, WatchedDatabase

# How long the server waits for news before it says that there are none.
_AWAIT_MS = 200
# Events to an answer: decoding them holds the event loop.
_BATCH = 500
# Events that are at hand already are given out so many at a time before others have their turn.
_SLICE = 100
_RETRY_S = 0.5
_MAX_RETRY_S = 30.0

# In a resume token's `_data`, in hexadecimal: the type byte of a timestamp, then its 8 bytes. The format is that of
# MongoDB's KeyString, src/mongo/db/storage/key_string and src/mongo/db/pipeline/resume_token.h.
_TIMESTAMP_TYPE = "82"

log = structlog.get_logger(__name__)


class Signal(enum.Enum):
    """What a change stream has to say besides changes.

    BEGUN: changes before this moment may have been missed, those after it will not. INTERRUPTED: until RESUMED or BEGUN
    nothing is told; RESUMED: what happened in between follows.
    """

    BEGUN = enum.auto()
    INTERRUPTED = enum.auto()
    RESUMED = enum.auto()


@dataclass(frozen=True, slots=True)
class Told:
    """Every write that a majority had at `until`, a time of `time.monotonic`, has been told."""

    until: float


Event = Mapping[str, Any]


async def watch(
    database: WatchedDatabase, pipeline: list[Mapping[str, Any]], *, collection: str | None = None
) -> AsyncIterator[Event | Signal | Told]:
    """What `pipeline` makes of the change stream of `database`, or of one `collection`; BEGUN first.

    Never ends by itself: it resumes after outages and elections, and begins anew where the oplog no longer reaches
    back (ChangeStreamHistoryLost, code 286) and after whatever else goes wrong, later each time.
    """
    source = database if collection is None else database[collection]
    token, failures = None, 0
    while True:
        try:
            asked = time.monotonic()
            # The session hears at every answer how far the database is.
            async with (
                database.client.start_session(causal_consistency=False) as session,
                await _opened(
                    source.watch(
                        pipeline,
                        resume_after=token,
                        max_await_time_ms=_AWAIT_MS,
                        batch_size=_BATCH,
                        session=session,
                    )
                ) as stream,
            ):
                yield Signal.BEGUN if token is None else Signal.RESUMED
                progress, given = _Progress(asked, session.operation_time), 0
                while stream.alive:
                    asked = time.monotonic()
                    event = await stream.try_next()
                    # Also without news: a token that is never renewed falls out of the oplog.
                    token = stream.resume_token
                    if event is not None:
                        yield event
                        given += 1
                        if not given % _SLICE:
                            await asyncio.sleep(0)
                    until = progress.follow(token, asked, session.operation_time, is_empty=event is None)
                    if until is not None:
                        failures = 0
                        yield Told(until)
        except OUTAGE_ERRORS as error:
            log.warning("change stream interrupted; resuming", error=repr(error))
        except OperationFailure as error:
            log.warning("change stream cannot resume; beginning anew", code=error.code)
            token = None
        except Exception:
            # What cannot be read now will not be read the next time: it has to be passed over.
            log.exception("change stream failed; beginning anew")
            token, failures = None, failures + 1
        yield Signal.INTERRUPTED
        await asyncio.sleep(min(_RETRY_S * 2**failures, _MAX_RETRY_S))


async def _opened(opening: Coroutine[Any, Any, Any]) -> Any:
    """What is being opened. Whoever is cancelled meanwhile waits for it, and closes it: the driver leaves a socket
    behind where it is cancelled while it connects.
    """
    task = asyncio.create_task(opening)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        with suppress(Exception):
            await (await task).close()
        raise


class _Progress:
    """Compares where the stream is with where the database was at earlier answers.

    An empty answer alone proves nothing: the server gives one, too, while it reads through what the pipeline drops.
    """

    def __init__(self, asked: float, reached: Timestamp | None) -> None:
        self._latest = _number(reached)
        # When it was asked and where the database was when it had answered, of answers that the stream has not reached.
        self._ahead = deque([(asked, self._latest)])

    def follow(
        self, token: Mapping[str, Any] | None, asked: float, reached: Timestamp | None, *, is_empty: bool
    ) -> float | None:
        """Take in one look at the stream; the time until which all is told now, where that is news."""
        place, until = _place(token), None
        if place is None:
            return asked if is_empty else None
        # Several events may have the same time: only where no more came is all of it told.
        while self._ahead and (self._ahead[0][1] < place or (is_empty and self._ahead[0][1] == place)):
            until, _ = self._ahead.popleft()
        latest = _number(reached)
        if is_empty or latest != self._latest:
            self._latest = latest
            self._ahead.append((asked, latest))
        return until


def _number(timestamp: Timestamp | None) -> int:
    return 0 if timestamp is None else timestamp.time << 32 | timestamp.inc


def _place(token: Mapping[str, Any] | None) -> int | None:
    """The time of the oplog entry that a resume token stands for; None for a token of another format."""
    data = "" if token is None else token.get("_data")
    if not isinstance(data, str) or len(data) < 18 or not data.startswith(_TIMESTAMP_TYPE):
        return None
    return int(data[2:18], 16)
