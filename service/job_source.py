"""Where a worker's jobs come from. MongoDB holds every job; a source only knows when it is worth asking for one."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress
from typing import Protocol

import structlog

from service.models import Job, Lane, Workload
from service.settings import WorkerSettings
from service.stores.changes import watch_jobs
from service.stores.database import OUTAGE_ERRORS, Database
from service.stores.jobs import JobStore

log = structlog.get_logger(__name__)


class JobSource(Protocol):
    """Used by several loops of one worker at once."""

    async def next(
        self, lanes: Collection[Lane], workloads: Collection[Workload], *, first: Lane | None = None
    ) -> Job | None:
        """A claimed job of `lanes` and `workloads`, or None after having waited a while in vain.

        The foremost lane's goes first, or that of `first` if there is one.
        """

    async def ended(self, job: Job) -> None:
        """Hear that an attempt at a job that `next` gave is over, whatever came of it."""

    async def listen(self) -> None:
        """Hear of new jobs until cancelled."""

    def stop(self) -> None:
        """Let nobody wait any longer: `next` answers at once from now on, with None."""


class PolledJobs:
    """Asks the database at every change that brings a job, and at an interval for those that come due by themselves."""

    def __init__(self, settings: WorkerSettings, *, jobs: JobStore, database: Database, worker: str) -> None:
        self._settings = settings
        self._jobs = jobs
        self._database = database
        self._worker = worker
        self._stopped = False
        self._bell = asyncio.Event()

    async def next(
        self, lanes: Collection[Lane], workloads: Collection[Workload], *, first: Lane | None = None
    ) -> Job | None:
        """As JobSource says. While the database does not answer, None."""
        if self._stopped:
            return None
        # Taken before the question: what rings in between is not missed.
        bell = self._bell
        job = None if first is None else await self._claim([first], workloads)
        job = job or await self._claim(lanes, workloads)
        if job is None:
            with suppress(TimeoutError):
                await asyncio.wait_for(bell.wait(), self._settings.poll_s)
        return job

    async def _claim(self, lanes: Collection[Lane], workloads: Collection[Workload]) -> Job | None:
        try:
            return await self._jobs.claim(
                lease_s=self._settings.lease_s, worker=self._worker, lanes=lanes, workloads=workloads
            )
        except OUTAGE_ERRORS as error:
            log.warning("database does not answer; claiming again shortly", error=repr(error))
            return None

    async def ended(self, job: Job) -> None:
        """Nothing: MongoDB knows."""

    async def listen(self) -> None:
        async for _ in watch_jobs(self._database):
            self._ring()

    def stop(self) -> None:
        self._stopped = True
        self._ring()

    def _ring(self) -> None:
        # For all who wait now, and for nobody later.
        self._bell, rung = asyncio.Event(), self._bell
        rung.set()
