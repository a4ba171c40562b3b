"""The `jobs` collection as a queue: deterministic ids, leases in server time, a fence that grows with every claim."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any
from uuid import UUID

from pymongo import ReturnDocument

from service.models import Job, JobKind, Lane, Workload
from service.stores.database import Database
from service.stores.expressions import NOW, after_now, insert_if_absent

# A newer release may have enqueued work that this one does not know: it is left for a worker that does.
_KINDS = [kind.value for kind in JobKind]
_RANK = {lane: rank for rank, lane in enumerate(Lane)}
_RETENTION_DAYS = 7
_WITHOUT_DECODING = frozenset({JobKind.DELETE, JobKind.RETIRE, JobKind.VERIFY})

# Told of each job that becomes visible: its id and lane, and in how many seconds.
Announcer = Callable[[str, Lane, float], None]


def job_id(media_id: UUID, kind: JobKind, generation: int, topic: str = "") -> str:
    """One id per media, kind, topic and generation: the same work enqueued twice is one job."""
    return f"{media_id}:{kind}{'/' if topic else ''}{topic}:{generation}"


def first_fence(generation: int) -> int:
    """Below every fence of this generation and above all of earlier ones: an old claim never passes for a new one."""
    return generation << 20


class JobStore:
    def __init__(self, database: Database, *, announce: Announcer | None = None) -> None:
        self._jobs = database.jobs
        self._announce = announce

    async def enqueue(
        self,
        media_id: UUID,
        kind: JobKind,
        *,
        lane: Lane,
        generation: int = 1,
        delay_s: float = 0,
        topic: str = "",
        moves: bool = False,
    ) -> bool:
        """Add a job, visible after `delay_s`; one that exists, in whatever state, stays as it is: False.

        `moves`: it makes a clip, or may.
        """
        fresh = {
            "media_id": {"$literal": media_id},
            "kind": kind.value,
            "topic": {"$literal": topic},
            "lane": lane.value,
            "lane_rank": _RANK[lane],
            "workload": _workload(kind, moves=moves).value,
            "state": "open",
            "visible_at": after_now(delay_s),
            "enqueued_at": NOW,
            "fence": first_fence(generation),
            "attempt": 0,
        }
        written = await self._jobs.update_one(
            {"_id": job_id(media_id, kind, generation, topic)}, insert_if_absent(fresh, marker="state"), upsert=True
        )
        if self._announce is not None and written.upserted_id is not None:
            self._announce(written.upserted_id, lane, delay_s)
        return written.upserted_id is not None

    async def claim(
        self,
        *,
        lease_s: float,
        worker: str,
        lanes: Collection[Lane] | None = None,
        workloads: Collection[Workload] = frozenset(Workload),
        job_id: str | None = None,
    ) -> Job | None:
        """The next visible job of the foremost lane, leased for `lease_s` seconds under a new fence, or None.

        `lanes`, `workloads`: of these only; `job_id`: only this one.
        """
        query: dict[str, Any] = {
            "state": "open",
            "kind": {"$in": _KINDS},
            # A worker asks for one: among several, MongoDB may sort every open job before it takes the first.
            "workload": _any_of(sorted(workload.value for workload in workloads)),
            "$expr": {"$lte": ["$visible_at", NOW]},
        }
        if lanes is not None:
            query["lane_rank"] = {"$in": sorted(_RANK[lane] for lane in lanes)}
        if job_id is not None:
            query["_id"] = job_id
        document = await self._jobs.find_one_and_update(
            query,
            [
                {
                    "$set": {
                        "fence": {"$add": ["$fence", 1]},
                        "attempt": {"$add": ["$attempt", 1]},
                        "visible_at": after_now(lease_s),
                        "claimed_by": {"$literal": worker},
                    }
                }
            ],
            sort=[("lane_rank", 1), ("visible_at", 1)],
            return_document=ReturnDocument.AFTER,
        )
        return None if document is None else _job(document)

    async def give_places(self) -> None:
        """Let open jobs that an earlier release enqueued, which knew of no workloads, take the places for pictures."""
        await self._jobs.update_many(
            {"state": "open", "workload": {"$exists": False}}, {"$set": {"workload": Workload.PICTURES.value}}
        )

    async def renew(self, job: Job, *, lease_s: float) -> bool:
        """Extend the lease; False when the job was claimed by another or ended: stop working on it."""
        return await self._held_update(job, {"visible_at": after_now(lease_s)})

    async def complete(self, job: Job) -> bool:
        return await self._held_update(
            job, {"state": "done", "ended_at": NOW, "expires_at": after_now(_RETENTION_DAYS * 86_400)}
        )

    async def retry(self, job: Job, *, delay_s: float, reason: str) -> bool:
        """Give the job back, visible again after `delay_s` seconds."""
        return await self._give_back(job, delay_s, {"last_error": {"$literal": reason}})

    async def release(self, job: Job, *, delay_s: float = 0) -> bool:
        """Give the job back as if this attempt had not begun: the worker shuts down, or what it needs is away."""
        return await self._give_back(job, delay_s, {"attempt": {"$subtract": ["$attempt", 1]}})

    async def dead_letter(self, job: Job, *, reason: str) -> bool:
        """Set the job aside for people to look at; it is kept until they do."""
        return await self._held_update(job, {"state": "dead", "ended_at": NOW, "last_error": {"$literal": reason}})

    async def count_open(self, lane: Lane, *, limit: int) -> int:
        """How many jobs of `lane` are open, counting no further than `limit`."""
        return int(await self._jobs.count_documents({"state": "open", "lane": lane.value}, limit=limit))

    async def _give_back(self, job: Job, delay_s: float, values: dict[str, Any]) -> bool:
        # Without a name on it, what waits for its time is told apart from what is being worked on.
        free = {"visible_at": after_now(delay_s), "claimed_by": "$$REMOVE"}
        held = await self._held_update(job, free | values)
        if held and self._announce is not None:
            self._announce(job.id, job.lane, delay_s)
        return held

    async def _held_update(self, job: Job, values: dict[str, Any]) -> bool:
        result = await self._jobs.update_one({"_id": job.id, "state": "open", "fence": job.fence}, [{"$set": values}])
        return bool(result.matched_count)


def _workload(kind: JobKind, *, moves: bool) -> Workload:
    if kind in _WITHOUT_DECODING:
        return Workload.STORAGE
    return Workload.CLIPS if moves else Workload.PICTURES


def _any_of(values: Sequence[str]) -> str | dict[str, Any]:
    return values[0] if len(values) == 1 else {"$in": values}


def _job(document: dict[str, Any]) -> Job:
    return Job(
        id=document["_id"],
        kind=JobKind(document["kind"]),
        media_id=document["media_id"],
        lane=Lane(document["lane"]),
        attempt=document["attempt"],
        fence=document["fence"],
        enqueued_at=document["enqueued_at"],
        generation=int(document["_id"].rpartition(":")[2]),
        topic=document.get("topic", ""),
        workload=Workload(document.get("workload", Workload.PICTURES)),
    )
