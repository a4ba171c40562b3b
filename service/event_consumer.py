"""The consumer of storage events: receive, handle under visibility, delete or leave for another try. Nothing else."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime

import structlog

from service.errors import StorageRefused, TemporarilyUnavailable
from service.message_custody import Custody
from service.message_queue import BATCH, MessageQueue, QueueMessage
from service.settings import EventsSettings
from service.storage_events import UnreadableEvent
from service.stores.database import OUTAGE_ERRORS
from service.telemetry import Metrics

MessageHandler = Callable[[str], Awaitable[None]]

# Seconds between polls while the queue, storage or the database is away.
OUTAGE_PAUSES = (1, 2, 5, 15, 30)

_MAY_PASS: tuple[type[Exception], ...] = (TemporarilyUnavailable, *OUTAGE_ERRORS)

log = structlog.get_logger(__name__)


class MessageOutcome(enum.StrEnum):
    """What became of one delivery of a message."""

    HANDLED = "handled"
    FAILED = "failed"
    POSTPONED = "postponed"
    UNREADABLE = "unreadable"
    DEAD = "dead"
    RELEASED = "released"


class EventConsumer:
    """Up to `concurrency` messages at once. `handle` takes a message's body and must be safe to repeat.

    A message is deleted once `handle` has returned, whatever the others are doing; as long as it has not, it is kept
    hidden from other consumers. A failed one is hidden for a pause that grows with its deliveries, until the queue's
    redrive policy, or for want of one this consumer, moves it to the dead-letter queue.
    """

    def __init__(
        self,
        settings: EventsSettings,
        *,
        queue: MessageQueue,
        handle: MessageHandler,
        metrics: Metrics,
        drain_s: float = 10,
    ) -> None:
        self._settings = settings
        self._queue = queue
        self._handle = handle
        self._metrics = metrics
        self._drain_s = drain_s
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._stopping = asyncio.Event()
        self._working: set[asyncio.Task[None]] = set()
        # What is being handled: the tasks that a stop may cut short.
        self._attempts: set[asyncio.Task[MessageOutcome]] = set()
        self._custody = Custody(queue, visibility_s=settings.visibility_s)
        self._postponed_in_a_row = 0

    def stop(self) -> None:
        """Receive nothing more; `run` returns once running messages are handled or given back."""
        self._stopping.set()

    async def run(self) -> None:
        """Consume until `stop`. Messages that outlast the drain time are given back to the queue."""
        polling = asyncio.create_task(self._poll())
        stopping = asyncio.create_task(self._stopping.wait())
        extending = asyncio.create_task(self._custody.keep_hidden())
        try:
            await asyncio.wait({polling, stopping, extending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (polling, stopping):
                task.cancel()
            await self._drain()
            extending.cancel()
        for task in (polling, extending):
            with suppress(asyncio.CancelledError):
                await task

    async def _poll(self) -> None:
        await self._look_for_dead_letters()
        failed_in_a_row = 0
        while True:
            slots = await self._reserve()
            messages: list[QueueMessage] = []
            try:
                messages = await self._queue.receive(slots)
                failed_in_a_row = 0
            except TemporarilyUnavailable as error:
                failed_in_a_row += 1
                log.warning("the queue does not answer; asking again shortly", error=repr(error.__cause__))
            except Exception:
                failed_in_a_row += 1
                log.exception("polling the queue failed; asking again shortly")
            finally:
                for _ in range(slots - len(messages)):
                    self._slots.release()
            for message in messages:
                self._begin(message)
            # While storage or the database is away, each delivery would only bring a message closer to its end.
            if outages := max(failed_in_a_row, self._postponed_in_a_row):
                await asyncio.sleep(OUTAGE_PAUSES[min(outages, len(OUTAGE_PAUSES)) - 1])

    async def _look_for_dead_letters(self) -> None:
        with suppress(TemporarilyUnavailable):
            if self._settings.dead_letter_url is None and not await self._queue.moves_dead_letters():
                log.warning("the queue has no redrive policy: what cannot be handled comes again until it expires")

    async def _reserve(self) -> int:
        await self._slots.acquire()
        reserved = 1
        while reserved < BATCH and not self._slots.locked():
            await self._slots.acquire()
            reserved += 1
        return reserved

    async def _drain(self) -> None:
        if not self._working:
            return
        await asyncio.wait(self._working, timeout=self._drain_s)
        for attempt in self._attempts:
            attempt.cancel()
        await asyncio.gather(*self._working, return_exceptions=True)

    def _begin(self, message: QueueMessage) -> None:
        self._custody.take(message)
        attempt = asyncio.create_task(self._attempt(message))
        self._attempts.add(attempt)
        working = asyncio.create_task(self._work(message, attempt))
        self._working.add(working)
        working.add_done_callback(self._working.discard)

    async def _work(self, message: QueueMessage, attempt: asyncio.Task[MessageOutcome]) -> None:
        """See one message through; its slot is free once the queue has been told what became of it."""
        try:
            await asyncio.wait({attempt})
            self._attempts.discard(attempt)
            self._custody.let_go(message)
            await self._settle(message, MessageOutcome.RELEASED if attempt.cancelled() else attempt.result())
        finally:
            self._slots.release()

    async def _attempt(self, message: QueueMessage) -> MessageOutcome:
        with structlog.contextvars.bound_contextvars(message_id=message.id, receives=message.receives):
            try:
                await self._handle(message.body)
            except UnreadableEvent as error:
                log.error("a message is no storage event", reason=str(error))
                return MessageOutcome.UNREADABLE
            except _MAY_PASS as error:
                log.warning("a storage event waits: storage or database does not answer", error=repr(error))
                return MessageOutcome.FAILED if isinstance(error, StorageRefused) else MessageOutcome.POSTPONED
            except Exception:
                log.exception("a storage event was not handled")
                return MessageOutcome.FAILED
            return MessageOutcome.HANDLED

    async def _settle(self, message: QueueMessage, outcome: MessageOutcome) -> None:
        """Tell the queue what became of a message. Where it does not listen, it is delivered again."""
        try:
            if outcome is MessageOutcome.HANDLED:
                await self._custody.delete(message)
            elif await self._buried(message, outcome):
                self._metrics.count_storage_message(MessageOutcome.DEAD)
            else:
                await self._custody.postpone(message, self._pause_of(message, outcome))
        except TemporarilyUnavailable as error:
            log.warning("the queue does not answer; a message will come again", error=repr(error.__cause__))
        finally:
            self._count(message, outcome)

    def _count(self, message: QueueMessage, outcome: MessageOutcome) -> None:
        self._metrics.count_storage_message(outcome)
        if outcome is MessageOutcome.HANDLED:
            self._postponed_in_a_row = 0
            age = datetime.now(UTC) - message.sent_at
            self._metrics.observe_storage_message_age(max(age.total_seconds(), 0))
        elif outcome is MessageOutcome.POSTPONED:
            self._postponed_in_a_row += 1

    async def _buried(self, message: QueueMessage, outcome: MessageOutcome) -> bool:
        target = self._settings.dead_letter_url
        # Postponed ones never are: nothing is wrong with them.
        hopeless = outcome is MessageOutcome.UNREADABLE or (
            outcome is MessageOutcome.FAILED and message.receives >= self._settings.max_receives
        )
        if not hopeless or target is None or await self._queue.moves_dead_letters():
            return False
        await self._queue.dead_letter(message, target)
        log.error("a message went to the dead letters", message_id=message.id, receives=message.receives)
        return True

    def _pause_of(self, message: QueueMessage, outcome: MessageOutcome) -> int:
        pauses = self._settings.retry_s
        return 0 if outcome is MessageOutcome.RELEASED else pauses[min(message.receives, len(pauses)) - 1]
