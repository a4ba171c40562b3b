"""What goes first, and that nothing can hold up the others: neither poison nor what is more urgent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from uuid import UUID

import pytest
from structlog.testing import capture_logs
from uuid6 import uuid7

from indexes.ensure import ensure
from service.errors import FailureCode, ProcessingFailed
from service.job_source import PolledJobs
from service.models import Job, JobKind, Lane
from service.runtime import Runtime
from service.worker import Worker
from tests.job_promises import look
from tests.worker_stand import ObjectsInMemory, open_motor, open_stand

OUT_OF_MEMORY = ProcessingFailed(FailureCode.DECODE_LIMIT_EXCEEDED, "The system ended the decoder.", retryable=True)


class Bench:
    """A worker whose jobs are given here; `seen` are those it has begun, in order."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime, self.jobs = runtime, runtime.stores.jobs
        self.seen: list[UUID] = []
        self.failed: list[UUID] = []
        self.poison: dict[UUID, Exception] = {}
        self.hanging: set[UUID] = set()

    async def enqueue(
        self, lane: Lane, number: int = 1, *, kind: JobKind = JobKind.PROCESS, moves: bool = False
    ) -> list[UUID]:
        ids = [uuid7() for _ in range(number)]
        for each in ids:
            await self.jobs.enqueue(each, kind, lane=lane, moves=moves)
        return ids

    async def run_until(self, is_over: Callable[[], bool]) -> None:
        # What hangs is never over; all else may finish what it writes down.
        settings = self.runtime.settings.worker.model_copy(update={"drain_s": 0 if self.hanging else 5})
        source = PolledJobs(settings, jobs=self.jobs, database=self.runtime.database, worker="bench")
        worker = Worker(
            settings,
            source=source,
            jobs=self.jobs,
            handlers=dict.fromkeys(JobKind, self._handle),
            end=self._end,
            metrics=self.runtime.metrics,
            concurrency=1,
        )
        # Not printed: that takes longer than the jobs.
        with capture_logs():
            running = asyncio.create_task(worker.run())
            async with asyncio.timeout(30):
                while not is_over():  # noqa: ASYNC110 - whatever happens, it happens in the handler
                    await asyncio.sleep(0.01)
            worker.stop()
            async with asyncio.timeout(10):
                await running

    async def _handle(self, job: Job) -> None:
        self.seen.append(job.media_id)
        if job.media_id in self.hanging:
            await asyncio.Event().wait()
        if (error := self.poison.get(job.media_id)) is not None:
            raise error

    async def _end(self, job: Job, failure: ProcessingFailed) -> None:
        self.failed.append(job.media_id)

    async def states(self) -> dict[UUID, str]:
        return {job["media_id"]: job["state"] for job in (await look(self.runtime.database, "jobs")).values()}


@pytest.fixture(scope="module")
async def runtime(mongod: str, database_name: str) -> AsyncIterator[Runtime]:
    client, database = open_motor(mongod, database_name, asyncio.get_running_loop())
    await ensure(database.handle)
    yield open_stand(mongod, database, ObjectsInMemory())
    client.close()


@pytest.fixture
async def bench(runtime: Runtime) -> Bench:
    """An empty queue."""
    await runtime.database.jobs.delete_many({})
    return Bench(runtime)


@pytest.mark.parametrize("error", [MemoryError(), OUT_OF_MEMORY], ids=["handler", "decoder"])
@pytest.mark.parametrize("lane", Lane)
async def test_poison_is_dead_after_its_attempts_and_the_others_are_done(
    error: Exception, lane: Lane, bench: Bench
) -> None:
    [poison] = await bench.enqueue(lane)
    healthy = await bench.enqueue(lane, 3)
    bench.poison[poison] = error
    await bench.run_until(lambda: poison in bench.failed and set(bench.seen) >= set(healthy))
    attempts = bench.runtime.settings.worker.max_attempts
    assert bench.seen.count(poison) == attempts
    # It goes to the end of its lane each time.
    assert bench.seen[1:4] == healthy or lane is Lane.FIRST_VISIBLE
    assert await bench.states() == {poison: "dead", **dict.fromkeys(healthy, "done")}


async def test_what_kills_its_worker_each_time_is_dead_after_its_attempts(bench: Bench) -> None:
    [poison] = await bench.enqueue(Lane.STANDARD)
    for _ in range(bench.runtime.settings.worker.max_attempts):
        job = await bench.jobs.claim(lease_s=0, worker="one that dies")
        assert job is not None
        assert job.media_id == poison
    healthy = await bench.enqueue(Lane.STANDARD, 3)
    await bench.run_until(lambda: poison in bench.failed and set(bench.seen) >= set(healthy))
    assert poison not in bench.seen, "it was tried once more"
    assert await bench.states() == {poison: "dead", **dict.fromkeys(healthy, "done")}


@pytest.mark.parametrize("lane", [Lane.STANDARD, Lane.BACKFILL])
async def test_what_somebody_waits_for_needs_no_place_that_others_have(lane: Lane, bench: Bench) -> None:
    bench.hanging = set(await bench.enqueue(lane, 3))
    await bench.run_until(lambda: len(bench.seen) == 1)
    urgent = await bench.enqueue(Lane.FIRST_VISIBLE, 3)
    await bench.run_until(lambda: set(bench.seen) >= set(urgent))
    assert {state for each, state in (await bench.states()).items() if each in urgent} == {"done"}
    # Given back when the worker was told to stop, which costs them nothing.
    given_back = [job for job in (await look(bench.runtime.database, "jobs")).values() if job["state"] == "open"]
    assert {job["media_id"] for job in given_back} == bench.hanging
    assert {job["attempt"] for job in given_back} == {0}


@pytest.mark.parametrize("lane", [Lane.STANDARD, Lane.BACKFILL])
async def test_clips_that_hang_hold_up_neither_pictures_nor_deletions(lane: Lane, bench: Bench) -> None:
    bench.hanging = set(await bench.enqueue(lane, 20, kind=JobKind.RENDER, moves=True))
    await bench.run_until(lambda: len(bench.seen) == 1)
    others = [
        *await bench.enqueue(lane, 2, kind=JobKind.RENDER),
        *await bench.enqueue(lane, kind=JobKind.DELETE),
        *await bench.enqueue(lane, kind=JobKind.RETIRE),
    ]
    await bench.run_until(lambda: set(bench.seen) >= set(others))
    assert len(bench.hanging & set(bench.seen)) <= 2, "each worker has one place for clips"
    states = await bench.states()
    assert {states[each] for each in others} == {"done"}


async def test_what_decodes_nothing_holds_up_no_picture(bench: Bench) -> None:
    bench.hanging = set(await bench.enqueue(Lane.STANDARD, 3, kind=JobKind.DELETE))
    [picture] = await bench.enqueue(Lane.STANDARD)
    await bench.run_until(lambda: picture in bench.seen and len(bench.seen) == 2)


async def test_jobs_of_an_earlier_release_are_taken_for_pictures(bench: Bench) -> None:
    [old] = await bench.enqueue(Lane.STANDARD)
    await bench.runtime.database.jobs.update_one({"media_id": old}, {"$unset": {"workload": ""}})
    await bench.runtime.stores.jobs.give_places()
    await bench.run_until(lambda: old in bench.seen)


async def test_urgent_jobs_come_first_and_yet_no_lane_waits_for_ever(bench: Bench) -> None:
    patient = await bench.enqueue(Lane.BACKFILL, 2) + await bench.enqueue(Lane.STANDARD, 2)
    urgent = set(await bench.enqueue(Lane.FIRST_VISIBLE, 100))
    await bench.run_until(lambda: len(bench.seen) >= 104)
    assert bench.seen[0] in urgent
    turns = [bench.seen.index(each) for each in patient]
    assert max(turns) < 90, f"they waited until nothing urgent was left: {turns}"
    assert min(turns) > 3
