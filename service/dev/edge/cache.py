"""The edge's memory: the least recently used goes first, one fetch at a time for each object, errors kept briefly."""

from __future__ import annotations

import asyncio
import enum
import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.object_store import ObjectBody

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

# What an entry costs besides its bytes, roughly: headers, metadata, key and bookkeeping.
OVERHEAD_BYTES = 2_000
CACHE_TAG = "cache-tag"

_UNCACHEABLE = frozenset({"no-store", "no-cache", "private"})
_SECONDS = re.compile(r"[0-9]{1,10}")


class Failure(enum.Enum):
    """What came back from the origin instead of an object."""

    MISSING = "missing"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Entry:
    """What the origin said. Times in Unix seconds."""

    answer: ObjectBody | Failure
    fetched_at: float
    fresh_until: float

    @property
    def size(self) -> int:
        return OVERHEAD_BYTES + (len(self.answer.body) if isinstance(self.answer, ObjectBody) else 0)

    @property
    def tags(self) -> frozenset[str]:
        if not isinstance(self.answer, ObjectBody):
            return frozenset()
        return frozenset(tag.strip() for tag in self.answer.metadata.get(CACHE_TAG, "").split(","))


def lifetime(cache_control: str | None, default_s: int) -> int:
    """Seconds a shared cache may keep an object, as CloudFront reads Cache-Control when its minimum TTL is 0."""
    if cache_control is None:
        return default_s
    directives = dict(part.strip().lower().partition("=")[::2] for part in cache_control.split(","))
    if _UNCACHEABLE & directives.keys():
        return 0
    seconds = directives.get("s-maxage", directives.get("max-age", ""))
    return int(seconds) if _SECONDS.fullmatch(seconds) else default_s


class EdgeCache:
    """At most `capacity` bytes of answers, by path."""

    def __init__(self, capacity: int, *, default_ttl_s: int, error_ttl_s: int, clock: Callable[[], float]) -> None:
        self._capacity = capacity
        self._default_ttl_s = default_ttl_s
        self._error_ttl_s = error_ttl_s
        self._clock = clock
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._bytes = 0
        self._fills: dict[str, asyncio.Task[Entry]] = {}

    async def get(self, path: str, fetch: Callable[[], Awaitable[ObjectBody | Failure]]) -> tuple[Entry, bool]:
        """The answer for `path`, and whether it was here already. Requests that wait for one object share a fetch."""
        entry = self._entries.get(path)
        if entry is not None and entry.fresh_until > self._clock():
            self._entries.move_to_end(path)
            return entry, True
        fill = self._fills.get(path)
        if fill is None:
            fill = self._fills[path] = asyncio.create_task(self._fill(path, fetch))
        # A client that hangs up must not take the fetch away from the others who wait for it.
        return await asyncio.shield(fill), False

    async def _fill(self, path: str, fetch: Callable[[], Awaitable[ObjectBody | Failure]]) -> Entry:
        this = asyncio.current_task()
        try:
            answer = await fetch()
            now = self._clock()
            entry = Entry(answer, now, now + self._ttl(answer))
            # An invalidation that arrived meanwhile has forgotten this fetch: its answer may be the old one.
            if self._fills.get(path) is this:
                self._keep(path, entry)
            return entry
        finally:
            if self._fills.get(path) is this:
                del self._fills[path]

    def _ttl(self, answer: ObjectBody | Failure) -> int:
        if isinstance(answer, Failure):
            return self._error_ttl_s
        return lifetime(answer.cache_control, self._default_ttl_s)

    def _keep(self, path: str, entry: Entry) -> None:
        self._drop(path)
        if entry.fresh_until <= entry.fetched_at or entry.size > self._capacity:
            return
        self._entries[path] = entry
        self._bytes += entry.size
        while self._bytes > self._capacity:
            self._drop(next(iter(self._entries)))

    def _drop(self, path: str) -> None:
        entry = self._entries.pop(path, None)
        if entry is not None:
            self._bytes -= entry.size

    def invalidate_paths(self, patterns: Iterable[str]) -> None:
        """Forget what lies under each path; a final `*` stands for any text, as in a CloudFront invalidation."""
        for pattern in patterns:
            prefix = pattern.removesuffix("*")
            for path in [*self._entries, *self._fills]:
                if path == pattern or (prefix != pattern and path.startswith(prefix)):
                    self._forget(path)

    def invalidate_tags(self, tags: Iterable[str]) -> None:
        """Forget every object whose `x-amz-meta-cache-tag` names one of `tags`."""
        wanted = frozenset(tags)
        for path in [path for path, entry in self._entries.items() if entry.tags & wanted]:
            self._forget(path)
        # What a running fetch will bring is not known yet.
        self._fills.clear()

    def _forget(self, path: str) -> None:
        self._drop(path)
        self._fills.pop(path, None)
