"""Exact search: the vectors of a model in memory, all compared, kept true by a change stream.

Numpy is loaded by the first search: most processes never see one.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, defaultdict
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING
from uuid import UUID

from anyio import CapacityLimiter, to_thread

from service.cancellation import end
from service.documents import EmbeddingDocument
from service.errors import StateConflict
from service.stores.change_streams import Signal, Told
from service.stores.database import Database
from service.stores.embeddings import EmbeddingStore, watch_embeddings
from service.stores.media_reads import AccessFilters
from service.vector_search.candidates import Candidate

if TYPE_CHECKING:
    from service.vector_search.held_vectors import HeldVectors

# Comparisons at once: each takes a core for milliseconds.
_AT_ONCE = 2
# How late the change stream may be, in seconds.
_MAX_LAG_S = 1.0
# How long the first search waits for it to open.
_OPENING_S = 2.0
# Rows to a query, of those that were written to since.
_BATCH = 100


class ScanSearch:
    """Holds `most_held` vectors at most, of all models; those models go first that were searched longest ago.

    What is held is used while the change stream is live. Otherwise all vectors of the model are read for each search.
    """

    def __init__(self, database: Database, *, most_held: int) -> None:
        self._database = database
        self._store = EmbeddingStore(database)
        self._most_held = most_held
        self._held: OrderedDict[str, HeldVectors] = OrderedDict()
        # Rows of each model that is held or being read that were written to and not read since.
        self._written: dict[str, set[UUID]] = {}
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._threads = CapacityLimiter(_AT_ONCE)
        self._following: asyncio.Task[None] | None = None
        self._begun = asyncio.Event()
        self._is_connected = False
        self._told_until = 0.0
        # Grows when anything may have been missed.
        self._epoch = 0

    async def check(self) -> None:
        """Any database can be scanned."""

    async def close(self) -> None:
        """Stop following."""
        if self._following is not None:
            await end(self._following)

    async def nearest(
        self, model: str, vector: bytes, *, access: AccessFilters, limit: int
    ) -> AsyncGenerator[list[Candidate], None]:
        """See `VectorSearch.nearest`: exact, and ends with the last embedding there is."""
        await self._follow()
        async with self._turns[model]:
            held = await self._current(model)
        ranking = await to_thread.run_sync(held.rank, vector, access, limiter=self._threads)
        start = 0
        while start < len(ranking):
            yield ranking.part(start, start + limit)
            start, limit = start + limit, 2 * limit

    def _is_live(self) -> bool:
        return self._is_connected and time.monotonic() - self._told_until < _MAX_LAG_S

    async def _current(self, model: str) -> HeldVectors:
        """The vectors of a model as they are now, or were milliseconds ago."""
        held = self._held.get(model)
        if held is None or not self._is_live() or held.wasted > len(held):
            self._forget(model)
            held = await self._read(model)
        else:
            self._held.move_to_end(model)
        await self._catch_up(model, held)
        return held

    async def _read(self, model: str) -> HeldVectors:
        # Takes a tenth of a second where nothing has needed it before.
        await to_thread.run_sync(import_module, "numpy")
        from service.vector_search.held_vectors import HeldVectors

        epoch, is_live = self._epoch, self._is_live()
        self._written[model] = set()
        held = HeldVectors(await self._store.dimensions_of(model) or 1)
        async for rows in self._store.of_model(model):
            await self._put(held, rows)
            if len(held) > self._most_held:
                self._forget(model)
                raise StateConflict(
                    f"More than {self._most_held} media have embeddings by {model}: more than this deployment scans. "
                    "Ask its operator for an engine with an index (MEDIA_VECTORS__ENGINE)."
                )
        if is_live and epoch == self._epoch:
            self._keep(model, held)
        else:
            self._forget(model)
        return held

    def _keep(self, model: str, held: HeldVectors) -> None:
        self._held[model] = held
        while sum(map(len, self._held.values())) > self._most_held:
            self._forget(next(iter(self._held)))

    def _forget(self, model: str) -> None:
        self._held.pop(model, None)
        self._written.pop(model, None)

    async def _catch_up(self, model: str, held: HeldVectors) -> None:
        written = self._written.get(model)
        while written:
            ids = [written.pop() for _ in range(min(len(written), _BATCH))]
            try:
                rows = await self._store.by_ids(ids)
            except BaseException:
                written.update(ids)
                raise
            held.remove(ids)
            await self._put(held, [row for row in rows if row["model"] == model])

    async def _put(self, held: HeldVectors, rows: Sequence[EmbeddingDocument]) -> None:
        await to_thread.run_sync(held.put, rows, limiter=self._threads)

    async def _follow(self) -> None:
        if self._following is None:
            self._following = asyncio.create_task(self._hear())
            with suppress(TimeoutError):
                async with asyncio.timeout(_OPENING_S):
                    await self._begun.wait()

    async def _hear(self) -> None:
        async for event in watch_embeddings(self._database):
            if isinstance(event, Told):
                self._told_until = max(self._told_until, event.until)
            elif isinstance(event, Signal):
                self._hear_signal(event)
            else:
                for written in self._written.values():
                    written.add(event)

    def _hear_signal(self, signal: Signal) -> None:
        self._is_connected = signal is not Signal.INTERRUPTED
        if signal is Signal.BEGUN:
            self._epoch += 1
            self._told_until = time.monotonic()
            for model in tuple(self._held):
                self._forget(model)
            self._begun.set()
