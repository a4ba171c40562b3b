"""One change stream for the whole process, fanned out to everyone who follows something and to its caches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple
from uuid import UUID

from service.coalesced_reads import CoalescedReads, Found
from service.lifecycle import MediaStatus
from service.stores.changes import DELETIONS, Change, Signal, watch_documents
from service.stores.database import Database
from service.stores.media import MediaStore

# The server is asked once a second at least; after this long without an answer something is wrong with the connection.
SILENCE_S = 3.0

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
        self._connected = False
        self._heard_at = 0.0

    async def run(self) -> None:
        """Read the change stream until cancelled."""
        clock = asyncio.get_running_loop().time
        try:
            async for event in watch_documents(self._database):
                silence, self._heard_at = clock() - self._heard_at, clock()
                if self._connected and silence > SILENCE_S:
                    # What was kept is out of date by whatever now comes late.
                    self._tell(None)
                if isinstance(event, Signal):
                    self._hear_signal(event)
                else:
                    self._hear_change(event)
        finally:
            self._hear_signal(Signal.INTERRUPTED)

    async def ready(self) -> None:
        """Return once the stream is open: what changes from now on will be heard."""
        await self._watching.wait()

    def is_live(self) -> bool:
        """Whether changes are being heard now. What is kept in memory must not be served while they are not."""
        return self._connected and asyncio.get_running_loop().time() - self._heard_at < SILENCE_S

    def listen(self, callback: Listener) -> Callable[[], None]:
        """Have `callback` called, within the event loop, for every write to a media; call the result to end that.

        It is given the change, or None where any media may have changed unheard: when the stream begins, when it falls
        silent or is interrupted, and where it has to begin anew. It hears of a write once a majority has it, some
        milliseconds after the writer's acknowledgement. It must be quick and must not raise.
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

    def _hear_change(self, change: Change) -> None:
        if change.collection != DELETIONS:
            self._tell(change)
        for topic in _topics(change):
            for follower in self._followers.get(topic, ()):
                follower.notify(change.id)

    def _hear_signal(self, signal: Signal) -> None:
        if signal is Signal.QUIET:
            return
        self._connected = signal is not Signal.INTERRUPTED
        if signal is Signal.RESUMED:
            return
        self._tell(None)
        if signal is Signal.BEGUN:
            self._watching.set()
            for follower in {follower for group in self._followers.values() for follower in group}:
                follower.miss()


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
