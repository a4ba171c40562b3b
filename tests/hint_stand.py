"""A database and queues of hints (MiniStack's), as workers and Lambda functions see them; nobody polls."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

from uuid6 import uuid7

from indexes.ensure import ensure
from service.errors import ProcessingFailed
from service.hinted_jobs import HintedJobs
from service.models import Job, JobKind, Lane
from service.runtime import Runtime, open_runtime
from service.settings import JobsSettings, Settings
from service.telemetry import Metrics
from service.worker import Worker
from tests.queues import Queues, open_queues
from tests.servers import StorageServer

CONCURRENCY = 2


@dataclass(repr=False)
class Stand:
    """Two queues: one of the jobs somebody waits for, one of all others."""

    settings: Settings
    runtime: Runtime
    queues: dict[Lane, Queues]
    done: Counter[UUID] = field(default_factory=Counter)

    async def enqueue(
        self, *, lane: Lane = Lane.STANDARD, kind: JobKind = JobKind.RENDER, delay_s: float = 0, moves: bool = False
    ) -> UUID:
        media_id = uuid7()
        await self.runtime.stores.jobs.enqueue(media_id, kind, lane=lane, delay_s=delay_s, moves=moves)
        return media_id

    async def is_over(self) -> bool:
        """No job is left to do and no hint is under way."""
        open_jobs = await self.runtime.database.jobs.count_documents({"state": "open"})
        return open_jobs == 0 and all([await each.is_empty() for each in self.queues.values()])

    async def announced(self) -> None:
        """Wait until SQS has what was announced."""
        assert self.runtime.hints is not None
        await self.runtime.hints.flush()

    async def do(self, job: Job) -> None:
        self.done[job.media_id] += 1

    def source(self) -> HintedJobs:
        runtime = self.runtime
        assert runtime.hints is not None
        return HintedJobs(
            self.settings.jobs,
            self.settings.worker,
            hints=runtime.hints,
            jobs=runtime.stores.jobs,
            inspection=runtime.stores.job_inspection,
            worker="w",
        )

    def worker(self, handle: Callable[[Job], Awaitable[None]] | None = None) -> Worker:
        async def end(job: Job, failure: ProcessingFailed) -> None:
            pass

        return Worker(
            self.settings.worker,
            source=self.source(),
            jobs=self.runtime.stores.jobs,
            handlers=dict.fromkeys(JobKind, handle or self.do),
            end=end,
            metrics=Metrics(),
            concurrency=CONCURRENCY,
        )

    @asynccontextmanager
    async def working(self, handle: Callable[[Job], Awaitable[None]] | None = None) -> AsyncIterator[None]:
        worker = self.worker(handle)
        running = asyncio.create_task(worker.run())
        try:
            yield
        finally:
            worker.stop()
            await running

    async def clear(self) -> None:
        """Forget all jobs and hints."""
        await self.announced()
        await self.runtime.database.jobs.delete_many({})
        for each in set(self.queues.values()):
            await asyncio.to_thread(partial(each.sqs.purge_queue, QueueUrl=each.url))
        self.done.clear()

    async def make_old(self) -> None:
        """As if everything had happened ten minutes earlier."""
        earlier = {
            name: {"$dateSubtract": {"startDate": f"${name}", "unit": "minute", "amount": 10}}
            for name in ("visible_at", "enqueued_at")
        }
        await self.runtime.database.jobs.update_many({}, [{"$set": earlier}])

    async def make_last_attempt(self) -> None:
        """As if every job had been tried as often as it may be but once, and were due again."""
        await self.runtime.database.jobs.update_many({}, {"$set": {"attempt": self.settings.worker.max_attempts - 1}})
        await self.make_old()


@asynccontextmanager
async def open_stand(settings: Settings, server: StorageServer) -> AsyncIterator[Stand]:
    """A stand in the database of `settings`, everything else on `server`; short times, so that tests are."""
    with open_queues(server) as urgent, open_queues(server) as others:
        queues = {Lane.FIRST_VISIBLE: urgent, Lane.STANDARD: others, Lane.BACKFILL: others}
        urls = {lane: each.url for lane, each in queues.items()}
        jobs = JobsSettings(queue_urls=urls, endpoint=server.endpoint, wait_s=1, visibility_s=2)
        quick = {"lease_s": 2.0, "backoff_s": (1,), "drain_s": 1.0, "sweep_s": 600.0}
        worker = settings.worker.model_copy(update=quick)
        settings = settings.model_copy(update={"jobs": jobs, "worker": worker, "storage": server.settings()})
        async with open_runtime(settings, Metrics()) as runtime:
            await ensure(runtime.database.handle)
            await runtime.object_store.ensure_buckets()
            yield Stand(settings, runtime, queues)
