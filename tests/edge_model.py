"""What the model of the edge's cache remembers: which objects there are, what was asked of whom, what must be kept."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from service.dev.edge.cache import Served
from service.dev.edge.origin import Answer

DELAY_S, ERROR_S, DEFAULT_S = 7, 3, 20
ROOMY = 1_000_000
# Cache-Control, the seconds it is fresh for, and whether it is kept at all.
KINDS = {
    "max-age=5": (5, True),
    "max-age=9, s-maxage=15": (15, True),
    None: (DEFAULT_S, True),
    "no-cache": (0, True),
    "private, max-age=60": (0, False),
    "max-age=5, must-revalidate": (5, True),
}
TAGS = {"/a/1": "x", "/b/1": "y"}
PATHS = tuple(TAGS)
NOT_A_DATE = datetime(2026, 1, 1, tzinfo=UTC)


def names(items: Iterable[str], path: str) -> bool:
    """Whether an invalidation of `items` is about `path`, spelled out."""
    return any(
        item in (path, f"/{path[1]}/*", "/*") or (item.startswith("#") and item[1:].lower() == TAGS[path])
        for item in items
    )


@dataclass
class Read:
    """The origin being asked: when, and what it answered. Numbers count events."""

    path: str
    number: int
    answer: Answer
    is_done: bool = False


@dataclass
class Asked:
    """A request on its way."""

    path: str
    number: int
    task: asyncio.Task[Served]


@dataclass
class Kept:
    """An object that the cache must still have, and when the origin last vouched for it."""

    body: bytes
    vouched_at: float
    number: int
