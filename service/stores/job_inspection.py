"""What operators ask of the `jobs` collection: how many there are, for how long they have waited, and which."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from service.models import JobKind, JobState, Lane, Workload
from service.stores.database import Database
from service.stores.expressions import NOW

# Counts stop here, so that asking costs the same whatever has piled up.
COUNT_LIMIT = 10_000
# What was announced may still be under way to a worker for so long.
ANNOUNCEMENT_S = 60
ANNOUNCED_ANEW_S = 300

_LANES = [lane.value for lane in Lane]
_IS_DUE = {"$lte": ["$visible_at", NOW]}
_IS_LATER = {"$gt": ["$visible_at", NOW]}


QUEUED = (JobState.OPEN, JobState.DELAYED, JobState.RUNNING, JobState.DEAD)

_MATCHES: Mapping[JobState, Mapping[str, Any]] = {
    JobState.OPEN: {"state": "open", "$expr": _IS_DUE},
    JobState.DELAYED: {"state": "open", "$expr": _IS_LATER, "claimed_by": None},
    JobState.RUNNING: {"state": "open", "$expr": _IS_LATER, "claimed_by": {"$gt": ""}},
    JobState.DEAD: {"state": "dead"},
    JobState.DONE: {"state": "done"},
}
_STATE = {
    "$switch": {
        "branches": [
            {"case": {"$ne": ["$state", "open"]}, "then": "$state"},
            {"case": _IS_DUE, "then": JobState.OPEN.value},
            {"case": {"$gt": ["$claimed_by", None]}, "then": JobState.RUNNING.value},
        ],
        "default": JobState.DELAYED.value,
    }
}


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job as it stands. `kind` may be one that only a newer release knows.

    `visible_at`: when an open one may be begun, or when the lease of a running one ends.
    """

    id: str
    kind: str
    media_id: UUID
    lane: str
    state: str
    attempt: int
    enqueued_at: datetime
    visible_at: datetime
    ended_at: datetime | None = None
    claimed_by: str | None = None
    last_error: str | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """An open job may be begun in `due_in_s` seconds; 0: now."""

    lane: Lane
    due_in_s: float
    workload: Workload = Workload.PICTURES


class JobInspection:
    """Reads of the whole queue by index; claims nothing."""

    def __init__(self, database: Database) -> None:
        self._jobs = database.jobs

    async def list_jobs(
        self, *, state: JobState | None = None, lane: Lane | None = None, kind: str | None = None, limit: int
    ) -> list[JobRow]:
        """Up to `limit` jobs, those first that have been visible longest; without `state` all that are not done."""
        if not limit:
            return []
        query: dict[str, Any] = dict(_MATCHES[state]) if state is not None else {"state": {"$in": ["open", "dead"]}}
        query["lane"] = {"$in": _LANES if lane is None else [lane.value]}
        if kind is not None:
            query["kind"] = kind
        rows = self._jobs.aggregate(
            [
                {"$match": query},
                {"$sort": {"visible_at": 1}},
                {"$limit": limit},
                {"$project": dict.fromkeys(JobRow.__slots__, 1) | {"id": "$_id", "_id": 0, "state": _STATE}},
            ]
        )
        return [JobRow(**row) async for row in rows]

    async def count(
        self, states: Sequence[JobState] = QUEUED, *, limit: int = COUNT_LIMIT
    ) -> dict[Lane, dict[JobState, int]]:
        """How many jobs each lane has in each of `states`; `limit` stands for that many or more."""

        async def count_one(lane: Lane, state: JobState) -> int:
            return await self._count({**_MATCHES[state], "lane": lane.value}, limit)

        asked = [(lane, state) for lane in Lane for state in states]
        numbers = await asyncio.gather(*(count_one(*each) for each in asked))
        counts: dict[Lane, dict[JobState, int]] = {lane: {} for lane in Lane}
        for (lane, state), number in zip(asked, numbers, strict=True):
            counts[lane][state] = number
        return counts

    async def _count(self, query: Mapping[str, Any], limit: int) -> int:
        # Only what the index holds, so that no document is read.
        pipeline: list[dict[str, Any]] = [
            {"$match": query},
            {"$limit": limit},
            {"$project": {"_id": 0, "state": 1}},
            {"$count": "number"},
        ]
        rows = await self._jobs.aggregate(pipeline).to_list(1)
        return rows[0]["number"] if rows else 0

    async def unfinished(self, job_ids: Collection[str]) -> set[str]:
        """Those of `job_ids` that are to be done, or were given up and may be tried anew."""
        rows = self._jobs.find({"_id": {"$in": list(job_ids)}, "state": {"$in": ["open", "dead"]}}, {"_id": 1})
        return {row["_id"] async for row in rows}

    async def states_of(self, media_id: UUID, kinds: Collection[JobKind]) -> dict[str, str]:
        """The jobs of these kinds that a media has and that are not done, by id: `open` or `dead`."""
        prefixes = [f"{media_id}:{kind}:" for kind in sorted(kinds)]
        ranges = [{"_id": {"$gte": prefix, "$lt": f"{prefix}~"}} for prefix in prefixes]
        rows = self._jobs.find({"$or": ranges, "state": {"$in": ["open", "dead"]}}, {"state": 1})
        return {row["_id"]: row["state"] async for row in rows}

    async def waiting_s(self) -> dict[Lane, float]:
        """For how many seconds the oldest open job of each lane could have been begun; 0 where none could.

        What is delayed or running does not count. A job that comes again after a failed attempt waits anew.
        """

        async def ask(lane: Lane) -> float:
            pipeline: list[dict[str, Any]] = [
                {"$match": {"state": "open", "lane": lane.value}},
                {"$sort": {"visible_at": 1}},
                {"$limit": 1},
                {"$project": {"_id": 0, "waited_ms": {"$subtract": [NOW, "$visible_at"]}}},
            ]
            rows = await self._jobs.aggregate(pipeline).to_list(1)
            return max(rows[0]["waited_ms"] / 1000, 0.0) if rows else 0.0

        return dict(zip(Lane, await asyncio.gather(*map(ask, Lane)), strict=True))

    async def take_overlooked(self, lane: Lane, *, limit: int) -> list[str]:
        """Ids of the jobs of `lane` that were announced, as far as anybody knows, but that nobody has begun.

        Looks at the `limit` that have waited longest. Those returned count as announced anew, so that several
        processes that ask at the same time seldom get the same.
        """
        candidates: list[dict[str, Any]] = [
            {"$match": {"state": "open", "lane": lane.value, "$expr": _overdue(ANNOUNCEMENT_S, "$visible_at")}},
            {"$sort": {"visible_at": 1}},
            {"$limit": limit},
            {"$match": {"$expr": _overdue(ANNOUNCED_ANEW_S, {"$ifNull": ["$announced_at", "$enqueued_at"]})}},
            {"$project": {"_id": 1}},
        ]
        ids = [row["_id"] async for row in self._jobs.aggregate(candidates)]
        if ids:
            await self._jobs.update_many({"_id": {"$in": ids}, "state": "open"}, [{"$set": {"announced_at": NOW}}])
        return ids

    async def standing(self, job_id: str) -> Standing | None:
        """Where an open job stands; None if it is over, or there is none."""
        pipeline: list[dict[str, Any]] = [
            {"$match": {"_id": job_id, "state": "open", "lane": {"$in": _LANES}}},
            {"$project": {"lane": 1, "workload": 1, "wait_ms": {"$subtract": ["$visible_at", NOW]}}},
        ]
        rows = await self._jobs.aggregate(pipeline).to_list(1)
        if not rows:
            return None
        workload = Workload(rows[0].get("workload", Workload.PICTURES))
        return Standing(Lane(rows[0]["lane"]), max(rows[0]["wait_ms"] / 1000, 0.0), workload)


def _overdue(seconds: int, moment: Any) -> dict[str, Any]:
    return {"$lt": [moment, {"$dateSubtract": {"startDate": NOW, "unit": "second", "amount": seconds}}]}
