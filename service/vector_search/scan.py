"""Exact search: the vectors of a model in memory, all compared, kept true by a change stream.

Numpy is loaded by the first search: most processes never see one.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Collection, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Final
from uuid import UUID

from anyio import CapacityLimiter, to_thread

from service.documents import EmbeddingDocument
from service.errors import StateConflict
from service.stores.database import Database
from service.stores.embeddings import EmbeddingStore
from service.stores.media_reads import AccessFilters
from service.vector_search.candidates import Candidate
from service.vector_search.held_models import HeldModels, capacity_for, size_of
from service.vector_search.written_rows import WrittenRows

if TYPE_CHECKING:
    from service.vector_search.held_vectors import HeldVectors, Ranking

# Comparisons at once: each takes a core for milliseconds.
_AT_ONCE: Final = 2
# Rows to a query, of those that were written to since.
_BATCH: Final = 100
# How long a model that is too big is not counted again.
_REFUSED_S: Final = 60.0


class ScanSearch:
    """Keeps vectors in `memory_bytes` at most, over all models; those go first that were searched longest ago.

    While the change stream is late or interrupted what is kept is left alone: each search reads the vectors of its
    model, a batch at a time, and keeps none of them.
    """

    def __init__(self, database: Database, *, memory_bytes: int) -> None:
        self._store = EmbeddingStore(database)
        self._models = HeldModels(memory_bytes)
        self._written = WrittenRows(database, concerns=self._may_hold, forget=self._forget)
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        # One model at a time is read from the database.
        self._reading = asyncio.Lock()
        self._refused_until: dict[str, float] = {}
        self._threads = CapacityLimiter(_AT_ONCE)

    async def check(self) -> None:
        """Any database can be scanned."""

    async def close(self) -> None:
        """Stop following."""
        await self._written.close()

    async def nearest(
        self, model: str, vector: bytes, *, access: AccessFilters, limit: int
    ) -> AsyncGenerator[list[Candidate], None]:
        """See `VectorSearch.nearest`: exact, and ends with the last embedding there is."""
        ranking, start = await self._ranking(model, vector, access), 0
        while start < len(ranking):
            yield ranking.part(start, start + limit)
            start, limit = start + limit, 2 * limit

    async def _ranking(self, model: str, vector: bytes, access: AccessFilters) -> Ranking:
        await self._written.hear()
        async with self._turns[model]:
            held = await self._current(model)
        if held is None:
            async with self._reading:
                return await self._read_and_rank(model, vector, access)
        return await to_thread.run_sync(held.rank, vector, access, limiter=self._threads)

    async def _current(self, model: str) -> HeldVectors | None:
        """The vectors of a model as they are now, or were milliseconds ago; None while they cannot be kept true."""
        if not self._written.is_live:
            return None
        held = self._models.get(model)
        if held is not None:
            if await self._catch_up(model, held):
                return held
            self._forget(model)
            # Before its place is taken by what is read anew.
            held = None
        async with self._reading:
            return await self._load(model)

    async def _load(self, model: str) -> HeldVectors | None:
        await _load_numpy()
        from service.vector_search.held_vectors import HeldVectors

        dimensions, count = await self._measure(model)
        capacity = capacity_for(count)
        size, is_kept = size_of(dimensions, capacity), False
        if not await self._models.make_room(size):
            return None
        written = self._written.follow(model)
        try:
            held = HeldVectors(dimensions, capacity)
            self._models.count(held, size)
            async for rows in self._store.of_model(model):
                if not await self._replace(held, (), rows):
                    return None
            is_kept = await self._catch_up(model, held) and self._written.of(model) is written
        finally:
            if not is_kept:
                self._forget(model)
        if not is_kept:
            return None
        self._models.keep(model, held)
        return held

    async def _measure(self, model: str) -> tuple[int, int]:
        """The dimensions of a model, and how many vectors it has; raises StateConflict where these are too many."""
        dimensions = await self._store.dimensions_of(model) or 1
        most = self._models.most(dimensions)
        is_refused = time.monotonic() < self._refused_until.get(model, 0.0)
        count = 0 if is_refused else await self._store.count_of(model, limit=most + 1)
        if not is_refused and count <= most:
            return dimensions, count
        if not is_refused:
            self._refused_until[model] = time.monotonic() + _REFUSED_S
        raise StateConflict(
            f"More than {most} media have embeddings by {model}: more than this deployment scans. Ask its operator for "
            "more memory (MEDIA_VECTORS__MEMORY_BYTES), or for an engine with an index (MEDIA_VECTORS__ENGINE)."
        )

    async def _read_and_rank(self, model: str, vector: bytes, access: AccessFilters) -> Ranking:
        await _load_numpy()
        from service.vector_search.held_vectors import in_order, rank_rows

        await self._measure(model)
        found: list[Candidate] = []
        async for rows in self._store.of_model(model):
            found += await to_thread.run_sync(rank_rows, rows, vector, access, limiter=self._threads)
        return await to_thread.run_sync(in_order, found, limiter=self._threads)

    async def _catch_up(self, model: str, held: HeldVectors) -> bool:
        """Read what was written to since; False where there is no room for it, or too much has been written to."""
        written = self._written.of(model)
        while written:
            ids = [written.pop() for _ in range(min(len(written), _BATCH))]
            try:
                rows = await self._store.by_ids(ids)
                has_room = await self._replace(held, ids, [row for row in rows if row["model"] == model])
            except BaseException:
                written.update(ids)
                raise
            if not has_room:
                return False
        return written is not None

    async def _replace(self, held: HeldVectors, gone: Collection[UUID], rows: Sequence[EmbeddingDocument]) -> bool:
        return await to_thread.run_sync(held.replace, gone, rows, limiter=self._threads)

    def _may_hold(self, model: str, row_id: UUID) -> bool:
        # What is being read at this moment may have been read before it was written to.
        return self._turns[model].locked() or self._models.holds(model, row_id)

    def _forget(self, model: str) -> None:
        self._models.forget(model)
        self._written.leave(model)


async def _load_numpy() -> None:
    # Takes a tenth of a second where nothing has needed it before.
    await to_thread.run_sync(import_module, "numpy")
