"""Calls that take several things at once: what is asked for a moment apart is sent together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Batch(Generic[T]):
    items: list[T] = field(default_factory=list)
    is_full: asyncio.Event = field(default_factory=asyncio.Event)


class Gathering(Generic[T]):
    """Sends up to `limit` items by one call of `send`, as soon as there are so many or `linger_s` after the first."""

    def __init__(self, send: Callable[[list[T]], Awaitable[None]], *, limit: int, linger_s: float) -> None:
        self._send = send
        self._limit = limit
        self._linger_s = linger_s
        self._open: tuple[_Batch[T], asyncio.Task[None]] | None = None

    async def add(self, item: T) -> None:
        """Return once `item` was sent with others; raises what `send` raised for all of them."""
        if self._open is None:
            fresh: _Batch[T] = _Batch()
            self._open = fresh, asyncio.create_task(self._send_shortly(fresh))
        batch, sending = self._open
        batch.items.append(item)
        if len(batch.items) == self._limit:
            self._open = None
            batch.is_full.set()
        # Whoever is cancelled takes no other's item along.
        await asyncio.shield(sending)

    async def _send_shortly(self, batch: _Batch[T]) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._linger_s):
                await batch.is_full.wait()
        if self._open is not None and self._open[0] is batch:
            self._open = None
        await self._send(batch.items)
