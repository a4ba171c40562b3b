"""Which embeddings have been written to, by a change stream that begins with the first search."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from uuid import UUID

from service.cancellation import end
from service.stores.change_streams import Signal, Told
from service.stores.database import Database
from service.stores.embeddings import Written, watch_embeddings

# How late the change stream may be, in seconds.
_MAX_LAG_S = 1.0
# How long the first search waits for it to open.
_OPENING_S = 2.0
# Rows of a model that nobody has read since: a model that has more is sooner read anew.
_MOST = 10_000


class WrittenRows:
    """Sets of rows by model, of those models that are followed.

    `concerns(model, row)` says whether a row may be one of a model's that is followed: not every event tells.
    `forget(model)` is called for a followed model of whose rows too many, or unknown ones, have been written.
    """

    def __init__(
        self, database: Database, *, concerns: Callable[[str, UUID], bool], forget: Callable[[str], None]
    ) -> None:
        self._database = database
        self._concerns = concerns
        self._forget = forget
        self._written: dict[str, set[UUID]] = {}
        self._hearing: asyncio.Task[None] | None = None
        self._begun = asyncio.Event()
        self._is_connected = False
        self._told_until = 0.0

    @property
    def is_live(self) -> bool:
        """Whether all that was written up to a second ago is known."""
        return self._is_connected and time.monotonic() - self._told_until < _MAX_LAG_S

    async def hear(self) -> None:
        """Begin to listen, and wait a moment for the stream; nothing, if that was done before."""
        if self._hearing is None:
            self._hearing = asyncio.create_task(self._hear())
            with suppress(TimeoutError):
                async with asyncio.timeout(_OPENING_S):
                    await self._begun.wait()

    async def close(self) -> None:
        """Listen no longer."""
        if self._hearing is not None:
            await end(self._hearing)

    def follow(self, model: str) -> set[UUID]:
        """The rows of a model that are written to from now on; taken out by whoever has read them."""
        return self._written.setdefault(model, set())

    def of(self, model: str) -> set[UUID] | None:
        """What `follow` gave; None if the model is not followed, or no longer."""
        return self._written.get(model)

    def leave(self, model: str) -> None:
        """Follow a model no longer."""
        self._written.pop(model, None)

    async def _hear(self) -> None:
        async for event in watch_embeddings(self._database):
            if isinstance(event, Told):
                self._told_until = max(self._told_until, event.until)
            elif isinstance(event, Signal):
                self._hear_signal(event)
            else:
                self._note(event)

    def _note(self, event: Written) -> None:
        if event.model is None:
            models = [each for each in self._written if self._concerns(each, event.row_id)]
        else:
            models = [event.model] if event.model in self._written else []
        for model in models:
            self._written[model].add(event.row_id)
            if len(self._written[model]) > _MOST:
                self._forget(model)

    def _hear_signal(self, signal: Signal) -> None:
        self._is_connected = signal is not Signal.INTERRUPTED
        if signal is Signal.BEGUN:
            self._told_until = time.monotonic()
            for model in tuple(self._written):
                self._forget(model)
            self._begun.set()
