"""One change stream for the whole process, fanned out to everyone who follows a media and to its caches."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import contextmanager
from uuid import UUID

from service.stores.changes import MEDIA, Change, Signal, watch_documents
from service.stores.database import Database

# The server is asked once a second at least; after this long without an answer something is wrong with the connection.
SILENCE_S = 3.0

Listener = Callable[[Change | None], None]


class Follower:
    """Which of the followed media changed since the last look. Coalesces, so a slow reader costs no memory."""

    def __init__(self, media_ids: Collection[UUID]) -> None:
        self.media_ids = frozenset(media_ids)
        self._changed: set[UUID] = set()
        self._wake = asyncio.Event()

    def notify(self, media_ids: Collection[UUID]) -> None:
        self._changed |= self.media_ids.intersection(media_ids)
        self._wake.set()

    async def changes(self) -> AsyncIterator[set[UUID]]:
        """Non-empty sets of ids, each time something changed."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            changed, self._changed = self._changed, set()
            if changed:
                yield changed


class ChangeFeed:
    """`run` must be running for followers and listeners to hear anything."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._followers: defaultdict[UUID, set[Follower]] = defaultdict(set)
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
    def follow(self, media_ids: Collection[UUID]) -> Iterator[Follower]:
        """Hear of changes to `media_ids` from now on; read their present state after entering, and none is missed."""
        follower = Follower(media_ids)
        for media_id in follower.media_ids:
            self._followers[media_id].add(follower)
        try:
            yield follower
        finally:
            for media_id in follower.media_ids:
                self._followers[media_id].discard(follower)
                if not self._followers[media_id]:
                    del self._followers[media_id]

    def _tell(self, change: Change | None) -> None:
        for listener in self._listeners:
            listener(change)

    def _hear_change(self, change: Change) -> None:
        if change.collection != MEDIA:
            return
        self._tell(change)
        if change.status is not None:
            for follower in self._followers.get(change.id, ()):
                follower.notify((change.id,))

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
                follower.notify(follower.media_ids)
