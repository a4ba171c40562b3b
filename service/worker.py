"""The worker: claim a job, run it under its lease, commit what came of it. Nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import cycle

import structlog

from service.cancellation import end
from service.errors import (
    FailureCode,
    MediaServiceError,
    OnHold,
    ProcessingFailed,
    StorageRefused,
    TemporarilyUnavailable,
)
from service.failpoints import Failpoint, reach
from service.job_source import JobSource
from service.models import Job, JobKind, Lane, Workload
from service.settings import WorkerSettings
from service.stores.database import OUTAGE_ERRORS
from service.stores.jobs import JobStore
from service.telemetry import Metrics

Handler = Callable[[Job], Awaitable[None]]
Ender = Callable[[Job, ProcessingFailed], Awaitable[None]]

log = structlog.get_logger(__name__)


_NO_ANSWER: tuple[type[Exception], ...] = (*OUTAGE_ERRORS, TemporarilyUnavailable)

# Which lane goes first in the loop that takes jobs of all: mostly the foremost, but none waits for ever for another.
_TURNS = (*(None,) * 8, Lane.STANDARD, Lane.BACKFILL)


class Worker:
    """Up to `concurrency` jobs of every lane at once, and as many more of those that somebody waits for.

    Clips have `clips_at_once` places beside those, and what decodes nothing has `concurrency` of its own: neither waits
    for the other, nor pictures for either.

    `handlers` do the work of each kind. `end` is told when a job has failed for good, before it is dead-lettered.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        *,
        source: JobSource,
        jobs: JobStore,
        handlers: Mapping[JobKind, Handler],
        end: Ender,
        metrics: Metrics,
        concurrency: int,
        clips_at_once: int = 1,
    ) -> None:
        self._settings = settings
        self._source = source
        self._jobs = jobs
        self._handlers = handlers
        self._end = end
        self._metrics = metrics
        self._concurrency = concurrency
        self._clips_at_once = clips_at_once
        self._stopping = False
        self._running: set[asyncio.Task[None]] = set()
        # Of each loop its own.
        self._slots: list[asyncio.Semaphore] = []

    def stop(self) -> None:
        """Claim nothing more; `run` returns once running jobs are done or given back."""
        self._stopping = True
        self._source.stop()
        for slots in self._slots:
            # Whoever waits for a place is to see that there is nothing to wait for.
            slots.release()

    async def run(self) -> None:
        """Work until `stop`. Jobs that outlast the drain time are released for another worker."""
        listening = asyncio.create_task(self._source.listen())
        try:
            async with asyncio.TaskGroup() as loops:
                for workload in Workload:
                    places = self._clips_at_once if workload is Workload.CLIPS else self._concurrency
                    loops.create_task(self._take(frozenset(Lane), workload, _TURNS, places))
                urgent = frozenset({Lane.FIRST_VISIBLE})
                loops.create_task(self._take(urgent, Workload.PICTURES, (None,), self._concurrency))
        finally:
            await end(listening)
            await self._drain()

    async def _take(
        self, lanes: frozenset[Lane], workload: Workload, turns: Sequence[Lane | None], places: int
    ) -> None:
        """Claim and start jobs whenever one of `places` is free; `turns` say which lane goes first, over and over."""
        slots = asyncio.Semaphore(places)
        self._slots.append(slots)

        def finished(task: asyncio.Task[None]) -> None:
            self._running.discard(task)
            slots.release()

        for first in cycle(turns):
            await slots.acquire()
            if self._stopping:
                return
            job = await self._source.next(lanes, {workload}, first=first)
            if job is None:
                slots.release()
                continue
            reach(Failpoint.JOB_CLAIMED)
            task = asyncio.create_task(self._see_through(job))
            self._running.add(task)
            task.add_done_callback(finished)

    async def _see_through(self, job: Job) -> None:
        try:
            await self.work(job)
        finally:
            await self._source.ended(job)

    async def _drain(self) -> None:
        if not self._running:
            return
        _, late = await asyncio.wait(self._running, timeout=self._settings.drain_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def work(self, job: Job, *, within_s: float | None = None) -> None:
        """Do one claimed job, whatever comes of it; cancelled, it is given back for another worker.

        One that takes longer than `within_s` seconds has failed: what never fits must come to an end.
        """
        started = time.monotonic()
        with structlog.contextvars.bound_contextvars(job_id=job.id, media_id=str(job.media_id), attempt=job.attempt):
            try:
                outcome = await self._attempt(job, within_s)
            except _NO_ANSWER as error:
                # What became of the job is unknown; its lease runs out and it is claimed again.
                log.warning("database or storage does not answer; the job's lease will run out", error=repr(error))
                outcome = "abandoned"
            seconds = time.monotonic() - started
            self._metrics.count_job(job.kind, outcome, seconds)
            log.info("job ended", kind=job.kind.value, outcome=outcome, seconds=round(seconds, 3))

    async def _attempt(self, job: Job, within_s: float | None) -> str:
        if job.attempt > self._settings.max_attempts:
            # The attempts before ended without a word: the worker itself died each time.
            return await self._give_up(job, ProcessingFailed(FailureCode.INTERNAL, "Processing did not finish."))
        try:
            held = await self._run_in_time(job, within_s)
        except asyncio.CancelledError:
            await asyncio.shield(self._jobs.release(job))
            return "released"
        except OUTAGE_ERRORS:
            raise
        except Exception as error:  # noqa: BLE001 - one bad job must not take the worker with it
            return await self._failed(job, error)
        done = held and await self._jobs.complete(job)
        reach(Failpoint.JOB_COMPLETED)
        return "done" if done else "superseded"

    async def _run_in_time(self, job: Job, within_s: float | None) -> bool:
        limit = asyncio.timeout(within_s)
        try:
            async with limit:
                return await self._run_under_lease(job)
        except TimeoutError:
            if not limit.expired():
                raise
            unfinished = "Processing did not finish in the time there was."
            raise ProcessingFailed(FailureCode.INTERNAL, unfinished, retryable=True) from None

    async def _run_under_lease(self, job: Job) -> bool:
        """Run the handler while renewing the lease; False if the lease was lost and the handler cancelled."""
        work = asyncio.ensure_future(self._handlers[job.kind](job))
        try:
            while True:
                done, _ = await asyncio.wait({work}, timeout=self._settings.lease_s / 3)
                if done:
                    await work
                    return True
                if not await self._jobs.renew(job, lease_s=self._settings.lease_s):
                    return False
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def _failed(self, job: Job, error: Exception) -> str:
        failure = _as_failure(error)
        if isinstance(error, TemporarilyUnavailable) and not isinstance(error, StorageRefused):
            # Nothing is wrong with the file: an outage, however long, must not use up its attempts.
            log.warning("what a job needs does not answer; it waits", reason=failure.message)
            is_held = isinstance(error, OnHold)
            delay_s = (error.retry_after_ms or 0) / 1_000 if is_held else self._settings.outage_retry_s
            held = await self._jobs.release(job, delay_s=delay_s)
            return "postponed" if held else "superseded"
        if not failure.retryable or job.attempt >= self._settings.max_attempts:
            return await self._give_up(job, failure)
        backoff = self._settings.backoff_s
        delay = backoff[min(job.attempt, len(backoff)) - 1]
        log.warning("job will be tried again", delay_s=delay, reason=failure.message)
        return "retried" if await self._jobs.retry(job, delay_s=delay, reason=failure.message) else "superseded"

    async def _give_up(self, job: Job, failure: ProcessingFailed) -> str:
        await self._end(job, failure)
        if not failure.retryable and failure.failure is not FailureCode.INTERNAL:
            # The file is at fault, not the work: there is nothing for people to repair.
            return "rejected" if await self._jobs.complete(job) else "superseded"
        log.error("job dead-lettered", reason=failure.message)
        return "dead" if await self._jobs.dead_letter(job, reason=failure.message) else "superseded"


def _as_failure(error: Exception) -> ProcessingFailed:
    if isinstance(error, ProcessingFailed):
        return error
    if isinstance(error, MediaServiceError):
        return ProcessingFailed(FailureCode.STORAGE_UNAVAILABLE, error.message, retryable=error.retryable)
    log.exception("job failed unexpectedly", exc_info=error)
    return ProcessingFailed(FailureCode.INTERNAL, "Processing failed unexpectedly.", retryable=True)
