"""The worker: claim a job, run it under its lease, commit what came of it. Nothing else."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

import structlog

from service.errors import (
    FailureCode,
    MediaServiceError,
    ProcessingFailed,
    StorageRefused,
    TemporarilyUnavailable,
)
from service.failpoints import Failpoint, reach
from service.models import Job, JobKind
from service.settings import WorkerSettings
from service.stores.database import OUTAGE_ERRORS
from service.stores.jobs import JobStore
from service.telemetry import Metrics

Handler = Callable[[Job], Awaitable[None]]
Ender = Callable[[Job, ProcessingFailed], Awaitable[None]]

log = structlog.get_logger(__name__)


class Worker:
    """One claimer, up to `concurrency` jobs at once.

    `handlers` do the work of each kind. `end` is told when a job has failed for good, before it is dead-lettered.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        *,
        jobs: JobStore,
        handlers: Mapping[JobKind, Handler],
        end: Ender,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._jobs = jobs
        self._handlers = handlers
        self._end = end
        self._metrics = metrics
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._slots = asyncio.Semaphore(settings.concurrency or os.cpu_count() or 1)
        self._stopping = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        """Claim nothing more; `run` returns once running jobs are done or given back."""
        self._stopping.set()

    async def run(self) -> None:
        """Work until `stop`. Jobs that outlast the drain time are released for another worker."""
        while not self._stopping.is_set():
            await self._slots.acquire()
            job = await self._claim()
            if job is None:
                self._slots.release()
                await self._pause(self._settings.poll_s)
                continue
            reach(Failpoint.JOB_CLAIMED)
            task = asyncio.create_task(self._work(job))
            self._running.add(task)
            task.add_done_callback(self._finished)
        await self._drain()

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._slots.release()

    async def _claim(self) -> Job | None:
        if self._stopping.is_set():
            return None
        try:
            return await self._jobs.claim(lease_s=self._settings.lease_s, worker=self._name)
        except OUTAGE_ERRORS as error:
            log.warning("database does not answer; claiming again shortly", error=repr(error))
            return None

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _drain(self) -> None:
        if not self._running:
            return
        _, late = await asyncio.wait(self._running, timeout=self._settings.drain_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _work(self, job: Job) -> None:
        started = time.monotonic()
        with structlog.contextvars.bound_contextvars(job_id=job.id, media_id=str(job.media_id), attempt=job.attempt):
            try:
                outcome = await self._attempt(job)
            except OUTAGE_ERRORS as error:
                # What became of the job is unknown; its lease runs out and it is claimed again.
                log.warning("database does not answer; the job's lease will run out", error=repr(error))
                outcome = "abandoned"
            seconds = time.monotonic() - started
            self._metrics.count_job(job.kind, outcome, seconds)
            log.info("job ended", kind=job.kind.value, outcome=outcome, seconds=round(seconds, 3))

    async def _attempt(self, job: Job) -> str:
        if job.attempt > self._settings.max_attempts:
            # The attempts before ended without a word: the worker itself died each time.
            return await self._give_up(job, ProcessingFailed(FailureCode.INTERNAL, "Processing did not finish."))
        try:
            held = await self._run_under_lease(job)
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
            log.warning("storage does not answer; the job waits", reason=failure.message)
            held = await self._jobs.release(job, delay_s=self._settings.outage_retry_s)
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
