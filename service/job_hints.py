"""Hints at jobs, over SQS: who receives one asks MongoDB for that job. One that is lost costs time, nothing else."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping

import orjson
import structlog

from service.errors import TemporarilyUnavailable
from service.gathering import Gathering
from service.message_queue import BATCH, LONGEST_DELAY_S, MessageQueue, OutgoingMessage
from service.models import Lane
from service.settings import Settings
from service.stores.job_inspection import JobInspection

# What is announced within this many seconds is sent by one call.
LINGER_S = 0.02
# More than that under way means that SQS is away: those are announced anew once it is back.
MOST_UNDER_WAY = 2_000
# At most so many of each lane at once are announced anew.
OVERLOOKED_AT_ONCE = 1_000
# How long a process that ends waits for its last hints to be taken.
FAREWELL_S = 2.0

log = structlog.get_logger(__name__)


def hint_at(job_id: str) -> str:
    """The body of a hint at a job."""
    return orjson.dumps({"job": job_id}).decode()


def read_hint(body: str) -> str | None:
    """The id of the job that a message hints at; None if it is no hint."""
    try:
        match orjson.loads(body):
            case {"job": str(job_id)}:
                return job_id
    except orjson.JSONDecodeError:
        pass
    return None


class JobHints:
    """The queue of each lane, and hints on their way there."""

    def __init__(self, queues: Mapping[Lane, MessageQueue]) -> None:
        self.queues = queues
        self._batches = {
            lane: Gathering(queue.send, limit=BATCH, linger_s=LINGER_S) for lane, queue in self.queues.items()
        }
        self._under_way: set[asyncio.Task[None]] = set()

    def announce(self, job_id: str, lane: Lane, delay_s: float) -> None:
        """Send a hint that arrives in `delay_s`, without waiting for it. One that fails is not sent again.

        None is sent for a time that is too far away for SQS: that job is announced when it is overdue.
        """
        delay = math.ceil(delay_s)
        if delay > LONGEST_DELAY_S or len(self._under_way) >= MOST_UNDER_WAY:
            return
        sending = asyncio.create_task(self._send(OutgoingMessage(hint_at(job_id), delay), lane))
        self._under_way.add(sending)
        sending.add_done_callback(self._under_way.discard)

    async def _send(self, message: OutgoingMessage, lane: Lane) -> None:
        try:
            await self._batches[lane].add(message)
        except TemporarilyUnavailable as error:
            log.warning("a hint was not sent; its job is announced anew later", error=repr(error.__cause__))

    async def flush(self) -> None:
        """Wait until SQS has taken, or refused, whatever is under way."""
        if self._under_way:
            await asyncio.wait(set(self._under_way))

    async def announce_overlooked(self, inspection: JobInspection) -> int:
        """Hint once more at jobs that nobody has begun for a while, the oldest of each lane; how many there were.

        Safe anywhere, at any time: a hint too many changes nothing.
        """
        announced = 0
        for lane in Lane:
            overlooked = await inspection.take_overlooked(lane, limit=OVERLOOKED_AT_ONCE)
            for job_id in overlooked:
                self.announce(job_id, lane, 0)
            await self.flush()
            announced += len(overlooked)
        return announced

    async def close(self) -> None:
        """Give hints under way a moment to be taken, then the connections back."""
        if self._under_way:
            await asyncio.wait(set(self._under_way), timeout=FAREWELL_S)
        for queue in self.queues.values():
            await queue.close()


def open_hints(settings: Settings) -> JobHints | None:
    """The queues of the settings; None where they name none. To be closed."""
    urls = settings.jobs.queue_urls
    if not urls:
        return None
    return JobHints({lane: MessageQueue(url, settings.jobs, settings.storage) for lane, url in urls.items()})
