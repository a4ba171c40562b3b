"""One change stream for the whole process, fanned out to everyone who follows something and to its caches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple
from uuid import UUID

from service.coalesced_reads import CoalescedReads, Found
from service.lifecycle import MediaStatus
from service.stores.change_streams import Signal, Told
from service.stores.changes import DELETIONS, Change, watch_documents
from service.stores.database import Database
from service.stores.media import MediaStore

# How late the stream may be and still pass for live. It is asked five times a second at least.
MAX_LAG_S = 1.0

# Followers that are woken at once; each then has an answer to make, and others must have their turn in between.
_WOKEN_AT_ONCE = 200

# Ids that may wait for one follower.
MAX_WAITING = 100

Listener = Callable[[Change | None], None]


class Topic(NamedTuple):
    """What can be followed: a media's status, a deletion, media that join a capture, media that become ready."""

    kind: Literal["status", "deletion", "capture", "ready"]
    key: UUID | str = ""


READY = Topic("ready")


class Follower:
    """What has changed since the last look. Coalesces, so a slow reader costs no memory."""

    __slots__ = ("_changed", "_missed", "_waiter", "topics")

    def __init__(self) -> None:
        self.topics: list[Topic] = []
        self._changed: set[UUID] | None = None
        self._missed = False
        self._waiter: asyncio.Future[None] | None = None

    def notify(self, key: UUID) -> None:
        """Something happened to `key`."""
        if self._changed is None:
            self._changed = set()
        self._changed.add(key)
        if len(self._changed) > MAX_WAITING:
            self.miss()
        self._wake()

    def miss(self) -> None:
        """Anything may have happened."""
        self._missed, self._changed = True, None
        self._wake()

    async def changes(self) -> set[UUID] | None:
        """Wait for changes and take them: ids, or None where any may have changed, or too many for one look."""
        while self._changed is None and not self._missed:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        changed, missed = self._changed, self._missed
        self._changed, self._missed = None, False
        return None if missed else changed

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class ChangeFeed:
    """`run` must be running for followers and listeners to hear anything."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reads = CoalescedReads(MediaStore(database))
        self._followers: dict[Topic, set[Follower]] = {}
        self._listeners: list[Listener] = []
        self._watching = asyncio.Event()
        self._is_connected = False
        self._told_until = time.monotonic()
        # How often the stream has begun anew: nothing was heard of what was written before.
        self.beginnings = 0

    async def run(self) -> None:
        """Read the change stream until cancelled."""
        try:
            async for event in watch_documents(self._database):
                if isinstance(event, Told):
                    self._hear_told(event.until)
                elif isinstance(event, Signal):
                    await self._hear_signal(event)
                else:
                    await self._hear_change(event)
        finally:
            self._is_connected = False
            self._tell(None)

    async def ready(self) -> None:
        """Return once the stream is open: what changes from now on will be heard."""
        await self._watching.wait()

    def is_live(self) -> bool:
        """Whether all that a majority had written `MAX_LAG_S` ago has been heard.

        What is kept in memory must not be served while it has not.
        """
        return self._is_connected and self.lag_s() < MAX_LAG_S

    def lag_s(self) -> float:
        """How long ago, in seconds, the database was as far as what has been heard of it."""
        return time.monotonic() - self._told_until

    def listen(self, callback: Listener) -> Callable[[], None]:
        """Have `callback` called, within the event loop, for every write to a media; call the result to end that.

        It is given the change, or None where any media may have changed unheard: when the stream begins, when it is
        interrupted, when it is live again after having been late, and where it has to begin anew. It hears of a write
        once a majority has it, some milliseconds after the writer's acknowledgement. It must be quick and must not
        raise.
        """
        self._listeners.append(callback)
        return lambda: self._listeners.remove(callback)

    @contextmanager
    def follow(self, topics: Iterable[Topic]) -> Iterator[Follower]:
        """Hear of `topics` from now on; read their present state after entering, and no change is missed."""
        follower = Follower()
        self.follow_also(follower, topics)
        try:
            yield follower
        finally:
            for topic in follower.topics:
                group = self._followers[topic]
                group.discard(follower)
                if not group:
                    del self._followers[topic]

    def follow_also(self, follower: Follower, topics: Iterable[Topic]) -> None:
        """Let one who follows something hear of more, until it leaves."""
        for topic in topics:
            group = self._followers.setdefault(topic, set())
            if follower not in group:
                group.add(follower)
                follower.topics.append(topic)

    async def read(self, media_ids: Collection[UUID], fields: frozenset[str]) -> Found:
        """Those of `media_ids` that exist, among others: one query for all followers that a change has woken.

        No rule is applied: ask the access table before anything is shown. The documents must not be changed.
        """
        return await self._reads.read(media_ids, fields)

    def _tell(self, change: Change | None) -> None:
        for listener in self._listeners:
            listener(change)

    async def _hear_change(self, change: Change) -> None:
        if change.collection != DELETIONS:
            self._tell(change)
        for topic in _topics(change):
            if topic in self._followers:
                await _wake(self._followers[topic], lambda follower: follower.notify(change.id))

    def _hear_told(self, until: float) -> None:
        was_late, self._told_until = self.lag_s() >= MAX_LAG_S, max(self._told_until, until)
        if was_late and self.is_live():
            # What was kept before was not looked after meanwhile.
            self._tell(None)

    async def _hear_signal(self, signal: Signal) -> None:
        self._is_connected = signal is not Signal.INTERRUPTED
        if signal is Signal.RESUMED:
            return
        if signal is Signal.BEGUN:
            self._told_until = time.monotonic()
            self.beginnings += 1
        self._tell(None)
        if signal is Signal.BEGUN:
            self._watching.set()
            everybody = {follower for group in self._followers.values() for follower in group}
            await _wake(everybody, Follower.miss)


async def _wake(followers: Collection[Follower], tell: Callable[[Follower], None]) -> None:
    # Who leaves meanwhile is told in vain, who comes reads the present state.
    for number, follower in enumerate(tuple(followers), start=1):
        tell(follower)
        if not number % _WOKEN_AT_ONCE:
            await asyncio.sleep(0)


def _topics(change: Change) -> Iterator[Topic]:
    if change.collection == DELETIONS:
        yield Topic("deletion", change.id)
        return
    if change.status is not None:
        yield Topic("status", change.id)
    if change.status == MediaStatus.READY:
        yield READY
    if change.capture_id is not None:
        yield Topic("capture", change.capture_id)
