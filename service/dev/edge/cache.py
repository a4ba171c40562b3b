"""The edge's memory: the least recently used goes first, one fetch at a time for each object, errors kept briefly."""

from __future__ import annotations

import asyncio
import enum
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace

from service.dev.edge.freshness import Lifetimes, lifetime, stale_until
from service.dev.edge.origin import Answer, Failure, OriginObject, Unchanged

# What an entry costs besides its bytes, roughly: headers, metadata, key and bookkeeping.
OVERHEAD_BYTES = 2_000

# Asks the origin; given an ETag, only whether that is still the right one.
Fetch = Callable[[str | None], Awaitable[Answer]]


class Outcome(enum.StrEnum):
    """Where an answer came from, as X-Cache names it."""

    HIT = "Hit"
    REFRESH_HIT = "RefreshHit"
    MISS = "Miss"


@dataclass(frozen=True, slots=True)
class Entry:
    """What the origin said, and when it last vouched for it. Times in Unix seconds.

    The origin need not be asked before `fresh_until`; until `usable_until` the entry stands in for one that is down.
    """

    answer: OriginObject | Failure
    fetched_at: float
    fresh_until: float
    usable_until: float
    is_kept: bool

    @property
    def size(self) -> int:
        return OVERHEAD_BYTES + (len(self.answer.body) if isinstance(self.answer, OriginObject) else 0)

    @property
    def tags(self) -> frozenset[str]:
        return self.answer.tags if isinstance(self.answer, OriginObject) else frozenset()


@dataclass(frozen=True, slots=True)
class Served:
    """An entry on its way to a client."""

    entry: Entry
    outcome: Outcome


class EdgeCache:
    """At most `capacity` bytes of answers, by path."""

    def __init__(self, capacity: int, lifetimes: Lifetimes, *, clock: Callable[[], float]) -> None:
        self._capacity = capacity
        self._lifetimes = lifetimes
        self._clock = clock
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._bytes = 0
        self._fills: dict[str, asyncio.Task[Served]] = {}

    @property
    def stored_bytes(self) -> int:
        """What the entries take, overhead included."""
        return self._bytes

    async def get(self, path: str, fetch: Fetch) -> Served:
        """The answer for `path`: from memory while it is fresh, else from one fetch that all who wait for it share."""
        entry = self._entries.get(path)
        if entry is not None:
            self._entries.move_to_end(path)
            if entry.fresh_until > self._clock():
                return Served(entry, Outcome.HIT)
        running = self._fills.get(path)
        if running is None:
            fill = self._fills[path] = asyncio.create_task(self._fill(path, entry, fetch))
            # A client that hangs up must not take the fetch away from the others who wait for it.
            return await asyncio.shield(fill)
        served = await asyncio.shield(running)
        if served.entry.fresh_until > served.entry.fetched_at:
            return served
        # Nobody may be given what was answered to somebody else and was not to be kept.
        return await self._ask(None, fetch)

    async def _fill(self, path: str, stale: Entry | None, fetch: Fetch) -> Served:
        this = asyncio.current_task()
        try:
            served = await self._ask(stale, fetch)
            # An invalidation that arrived meanwhile has forgotten this fetch: its answer may be the old one.
            if self._fills.get(path) is this:
                self._keep(path, served.entry)
            return served
        finally:
            if self._fills.get(path) is this:
                del self._fills[path]

    async def _ask(self, stale: Entry | None, fetch: Fetch) -> Served:
        held = stale.answer if stale is not None and isinstance(stale.answer, OriginObject) else None
        answer = await fetch(held.etag if held is not None else None)
        now = self._clock()
        if stale is None or held is None:
            return Served(self._entry(_definite(answer), now), Outcome.MISS)
        if answer is Unchanged.UNCHANGED:
            return Served(self._entry(held, now), Outcome.REFRESH_HIT)
        if answer is Failure.UNREACHABLE and now < stale.usable_until:
            return Served(replace(stale, fresh_until=now + self._lifetimes.error_s), Outcome.REFRESH_HIT)
        return Served(self._entry(_definite(answer), now), Outcome.MISS)

    def _entry(self, answer: OriginObject | Failure, now: float) -> Entry:
        if isinstance(answer, Failure):
            until = now + self._lifetimes.error_s
            return Entry(answer, now, until, until, is_kept=until > now)
        seconds = lifetime(answer, self._lifetimes, now)
        until = now + (seconds or 0)
        return Entry(answer, now, until, stale_until(answer, until), is_kept=seconds is not None)

    def _keep(self, path: str, entry: Entry) -> None:
        self._drop(path)
        if not entry.is_kept or entry.size > self._capacity:
            return
        self._entries[path] = entry
        self._bytes += entry.size
        while self._bytes > self._capacity:
            self._drop(next(iter(self._entries)))

    def _drop(self, path: str) -> None:
        entry = self._entries.pop(path, None)
        if entry is not None:
            self._bytes -= entry.size

    def forget(self, items: Iterable[str]) -> None:
        """Forget what an invalidation names: `/path`, `/folder/*`, or `#tag`."""
        wanted = list(items)
        if tags := frozenset(item[1:].lower() for item in wanted if item.startswith("#")):
            self._forget_tags(tags)
        exact = {item for item in wanted if item.startswith("/")}
        prefixes = tuple(item[:-1] for item in exact if item.endswith("*"))
        for path in [*self._entries, *self._fills]:
            if path in exact or path.startswith(prefixes):
                self._forget(path)

    def _forget_tags(self, tags: frozenset[str]) -> None:
        for path in [path for path, entry in self._entries.items() if entry.tags & tags]:
            self._forget(path)
        # What a running fetch will bring is not known yet.
        self._fills.clear()

    def _forget(self, path: str) -> None:
        self._drop(path)
        self._fills.pop(path, None)


def _definite(answer: Answer) -> OriginObject | Failure:
    # An origin that says "unchanged" of nothing in particular has not answered.
    return Failure.UNREACHABLE if isinstance(answer, Unchanged) else answer
