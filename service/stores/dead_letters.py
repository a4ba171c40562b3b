"""Jobs that were set aside for people to look at, and the ways back and out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from service.models import Lane
from service.stores.database import Database
from service.stores.expressions import NOW
from service.stores.jobs import Announcer

_LANES = [lane.value for lane in Lane]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A job that failed for good. `kind` may be one that only a newer release knows; `attempt`: how many it had."""

    id: str
    kind: str
    media_id: UUID
    lane: str
    attempt: int
    fence: int
    enqueued_at: datetime
    ended_at: datetime
    last_error: str | None = None

    @property
    def generation(self) -> int:
        """Which round of its kind of work it was."""
        return int(self.id.rpartition(":")[2])


class DeadLetterStore:
    """Dead letters of `jobs`. A letter read before its job was reopened changes nothing any more: its fence is old."""

    def __init__(self, database: Database, *, announce: Announcer | None = None) -> None:
        self._jobs = database.jobs
        self._announce = announce

    async def get_many(self, ids: Collection[str]) -> dict[str, DeadLetter]:
        """Those of `ids` that are dead letters."""
        return {letter.id: letter async for letter in self._find({"_id": {"$in": list(ids)}})}

    def iterate(self, *, kind: str | None = None, ended_before: datetime | None = None) -> AsyncIterator[DeadLetter]:
        """Dead letters, oldest first. What is removed or reopened on the way does not disturb it."""
        query: dict[str, Any] = {}
        if kind is not None:
            query["kind"] = kind
        if ended_before is not None:
            query["ended_at"] = {"$lt": ended_before}
        return self._find(query)

    async def _find(self, query: dict[str, Any]) -> AsyncIterator[DeadLetter]:
        fields = dict.fromkeys(DeadLetter.__slots__, 1)
        query = {"lane": {"$in": _LANES}, **query, "state": "dead"}
        async for row in self._jobs.find(query, fields).sort("visible_at", 1):
            yield DeadLetter(id=row.pop("_id"), **row)

    async def reopen(self, letter: DeadLetter) -> bool:
        """Let the job begin anew, at once and under a higher fence; False if it is no dead letter any more."""
        written = await self._jobs.update_one(
            _unchanged(letter),
            [
                {"$set": {"state": "open", "visible_at": NOW, "attempt": 0, "fence": {"$add": ["$fence", 1]}}},
                {"$unset": ["ended_at", "claimed_by", "announced_at"]},
            ],
        )
        if written.matched_count and self._announce is not None and letter.lane in _LANES:
            self._announce(letter.id, Lane(letter.lane), 0)
        return bool(written.matched_count)

    async def remove(self, letters: Sequence[DeadLetter]) -> int:
        """Forget dead letters; how many of them were still there."""
        if not letters:
            return 0
        return int((await self._jobs.delete_many({"$or": [_unchanged(letter) for letter in letters]})).deleted_count)


def _unchanged(letter: DeadLetter) -> dict[str, Any]:
    return {"_id": letter.id, "state": "dead", "fence": letter.fence}
