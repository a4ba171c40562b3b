"""Messages in hand: kept hidden from other consumers while somebody works on them, then deleted or given back."""

from __future__ import annotations

import asyncio

import structlog

from service.errors import TemporarilyUnavailable
from service.gathering import Gathering
from service.message_queue import BATCH, MessageQueue, QueueMessage

# What ends within this many seconds is deleted by one call; each of them waits that much longer.
LINGER_S = 0.02

log = structlog.get_logger(__name__)


class Custody:
    """The messages of one queue that this process has received. Run `keep_hidden` beside the work on them."""

    def __init__(self, queue: MessageQueue, *, visibility_s: int) -> None:
        self._queue = queue
        self._visibility_s = visibility_s
        self._held: set[QueueMessage] = set()
        self._extending = asyncio.Lock()
        self._deletions = Gathering(queue.delete, limit=BATCH, linger_s=LINGER_S)
        self._pauses = Gathering(self._pause, limit=BATCH, linger_s=LINGER_S)

    def take(self, message: QueueMessage) -> None:
        """Keep `message` hidden from here on: not one moment passes in which an extension could overlook it."""
        self._held.add(message)

    def let_go(self, message: QueueMessage) -> None:
        """Extend it no more; if nothing else follows, it is delivered again when its time is over."""
        self._held.discard(message)

    async def delete(self, message: QueueMessage) -> None:
        """Acknowledge it. Raises TemporarilyUnavailable; it is delivered again then."""
        self.let_go(message)
        await self._deletions.add(message)

    async def postpone(self, message: QueueMessage, seconds: int) -> None:
        """Let it be delivered again in `seconds`. Raises TemporarilyUnavailable; it is delivered at its time then."""
        self.let_go(message)
        await self._pauses.add((message, seconds))

    async def keep_hidden(self) -> None:
        """Extend the time of whatever is held, however long each takes, until cancelled."""
        while True:
            await asyncio.sleep(self._visibility_s / 3)
            async with self._extending:
                held = list(self._held)
                batches = [held[start : start + BATCH] for start in range(0, len(held), BATCH)]
                await asyncio.gather(*(self._extend(batch) for batch in batches))

    async def _extend(self, messages: list[QueueMessage]) -> None:
        try:
            await self._queue.hide(dict.fromkeys(messages, self._visibility_s))
        except TemporarilyUnavailable as error:
            log.warning("the queue does not answer; messages may come twice", error=repr(error.__cause__))

    async def _pause(self, paused: list[tuple[QueueMessage, int]]) -> None:
        # An extension that is under way may still name these: it must not have the last word. Later ones do not.
        async with self._extending:
            pass
        await self._queue.hide(dict(paused))
