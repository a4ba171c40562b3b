"""One change stream for the whole process, fanned out to everyone who follows a media."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import contextmanager
from uuid import UUID

from service.stores.changes import watch_statuses
from service.stores.database import Database


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
    """`run` must be running for followers to hear anything."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._followers: defaultdict[UUID, set[Follower]] = defaultdict(set)
        self._watching = asyncio.Event()

    async def run(self) -> None:
        """Read the change stream until cancelled."""
        async for media_id in watch_statuses(self._database):
            if media_id is None:
                self._watching.set()
                for follower in {follower for group in self._followers.values() for follower in group}:
                    follower.notify(follower.media_ids)
            else:
                for follower in self._followers.get(media_id, ()):
                    follower.notify((media_id,))

    async def ready(self) -> None:
        """Return once the stream is open: what changes from now on will be heard."""
        await self._watching.wait()

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
