"""Jobs whose hints come over SQS: a source that asks MongoDB for a job only once it has heard of it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection
from contextlib import suppress

import structlog

from service.errors import TemporarilyUnavailable
from service.job_hints import JobHints, read_hint
from service.message_custody import Custody
from service.message_queue import LONGEST_HIDDEN_S, QueueMessage
from service.models import Job, Lane, Workload
from service.settings import JobsSettings, WorkerSettings
from service.stores.database import OUTAGE_ERRORS
from service.stores.job_inspection import JobInspection, Standing
from service.stores.jobs import JobStore

# One poll waits so long where other lanes are to be asked as well; the foremost has a loop that waits for it alone.
SHARED_WAIT_S = 2
# Hints at jobs that take places of their own wait here, so many of each workload; more come again after a while.
_HANDED_OVER = 4
_FULL_S = 20
# Before SQS or MongoDB is asked again after it did not answer.
OUTAGE_PAUSE_S = 1.0

_AWAY: tuple[type[Exception], ...] = (TemporarilyUnavailable, *OUTAGE_ERRORS)

log = structlog.get_logger(__name__)


class HintedJobs:
    """A JobSource. Whoever asks it for PICTURES receives hints, and hands those at other jobs to who asks for them.

    A hint is deleted once its job's attempt is over; whoever dies leaves it to be delivered again."""

    def __init__(
        self,
        settings: JobsSettings,
        worker_settings: WorkerSettings,
        *,
        hints: JobHints,
        jobs: JobStore,
        inspection: JobInspection,
        worker: str,
    ) -> None:
        self._settings = settings
        self._lease_s = worker_settings.lease_s
        self._hints = hints
        self._queues = hints.queues
        self._jobs = jobs
        self._inspection = inspection
        self._worker = worker
        self._custodies = {
            lane: Custody(queue, visibility_s=settings.visibility_s) for lane, queue in self._queues.items()
        }
        self._messages: dict[tuple[str, int], tuple[Custody, QueueMessage]] = {}
        self._handed: dict[Workload, asyncio.Queue[tuple[Custody, QueueMessage]]] = {
            workload: asyncio.Queue(_HANDED_OVER) for workload in Workload if workload is not Workload.PICTURES
        }
        self._stopping = asyncio.Event()

    async def next(
        self, lanes: Collection[Lane], workloads: Collection[Workload], *, first: Lane | None = None
    ) -> Job | None:
        """As JobSource says: the lanes are asked in turn, then one that nobody else waits at is waited for.

        What is handed over comes in the order in which it was received.
        """
        if Workload.PICTURES not in workloads:
            [workload] = workloads
            return await self._next_handed(workload)
        order = [lane for lane in dict.fromkeys([first, *Lane]) if lane in lanes]
        if len(order) == 1:
            polls = [(order[0], self._settings.wait_s)]
        else:
            polls = [*((lane, 0) for lane in order), (order[1], min(self._settings.wait_s, SHARED_WAIT_S))]
        for lane, wait_s in polls:
            if self._stopping.is_set():
                return None
            if (job := await self._ask(lane, wait_s)) is not None:
                return job
        return None

    async def _next_handed(self, workload: Workload) -> Job | None:
        handed = asyncio.create_task(self._handed[workload].get())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({handed, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            if not handed.done():
                handed.cancel()
        if not handed.done() or self._stopping.is_set():
            return None
        custody, message = handed.result()
        try:
            return await self._claim(message, custody, workload)
        except _AWAY as error:
            log.warning("queue or database does not answer; a hint will come again", error=repr(error))
            custody.let_go(message)
            return None

    async def _ask(self, lane: Lane, wait_s: int) -> Job | None:
        try:
            message = await self._receive(lane, wait_s)
            return None if message is None else await self._claim(message, self._custodies[lane], Workload.PICTURES)
        except _AWAY as error:
            log.warning("queue or database does not answer; asking again shortly", error=repr(error))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), OUTAGE_PAUSE_S)
            return None

    async def _receive(self, lane: Lane, wait_s: int) -> QueueMessage | None:
        receiving = asyncio.create_task(self._queues[lane].receive(1, wait_s=wait_s))
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({receiving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            if not receiving.done():
                # What it still brings is given back at once.
                receiving.cancel()
        messages = await receiving if receiving.done() else []
        return messages[0] if messages else None

    async def _claim(self, message: QueueMessage, custody: Custody, workload: Workload) -> Job | None:
        job_id = read_hint(message.body)
        if job_id is None:
            log.error("a message is no hint at a job", message_id=message.id)
            await custody.delete(message)
            return None
        job = await self._jobs.claim(lease_s=self._lease_s, worker=self._worker, workloads={workload}, job_id=job_id)
        if job is None:
            await self._pass_over(job_id, message, custody, workload)
            return None
        custody.take(message)
        self._messages[job.id, job.fence] = custody, message
        return job

    async def _pass_over(self, job_id: str, message: QueueMessage, custody: Custody, workload: Workload) -> None:
        standing = await self._inspection.standing(job_id)
        if standing is None:
            # Delivered twice, or announced once more than was needed.
            await custody.delete(message)
            return
        if standing.workload is not workload and not standing.due_in_s:
            await self._hand_over(job_id, standing, message, custody)
            return
        # Somebody is at it, and may yet die; or it waits for its time; or only a newer release knows its kind.
        seconds = math.ceil(standing.due_in_s) or self._settings.visibility_s
        await custody.postpone(message, min(seconds, LONGEST_HIDDEN_S))

    async def _hand_over(self, job_id: str, standing: Standing, message: QueueMessage, custody: Custody) -> None:
        try:
            self._handed[standing.workload].put_nowait((custody, message))
            custody.take(message)
        except asyncio.QueueFull:
            # A new hint, not this one again: a queue sets aside what is received too often.
            self._hints.announce(job_id, standing.lane, _FULL_S)
            await custody.delete(message)

    async def ended(self, job: Job) -> None:
        """Delete the hint: the job is over, or was announced anew for its next attempt."""
        custody, message = self._messages.pop((job.id, job.fence))
        try:
            await custody.delete(message)
        except TemporarilyUnavailable as error:
            log.warning("the queue does not answer; a hint will come again", error=repr(error.__cause__))

    async def listen(self) -> None:
        """Keep hints hidden while their jobs are being worked on."""
        await asyncio.gather(*(custody.keep_hidden() for custody in self._custodies.values()))

    def stop(self) -> None:
        self._stopping.set()
