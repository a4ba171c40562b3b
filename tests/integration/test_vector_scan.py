"""Vectors in memory: true while everything changes, never more than they may take, never a search that misses some."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest

from service.access import MODERATOR_ROLE, Action, Viewer, granted_filters
from service.documents import EmbeddingDocument
from service.errors import StateConflict
from service.stores.embeddings import EmbeddingStore, numbers, packed, row_id
from service.vector_search.held_models import capacity_for, size_of
from service.vector_search.held_vectors import HeldVectors
from service.vector_search.scan import ScanSearch
from service.vector_search.written_rows import WrittenRows
from tests.integration.conftest import RunningService
from tests.integration.test_nearest_media import DIMENSIONS, embedded

PLENTY = 10_000_000
ANYBODY = granted_filters(Viewer("mod", frozenset({MODERATOR_ROLE})), Action.READ)
ASKED = np.random.default_rng(8).normal(size=DIMENSIONS)


def a_model() -> str:
    return f"clip-{uuid4().hex[:8]}@1"


@pytest.fixture
def model() -> str:
    return a_model()


@pytest.fixture
def vectors() -> Any:
    return np.random.default_rng(7).normal(size=(200, DIMENSIONS)).astype(np.float32)


@asynccontextmanager
async def scanning(service: RunningService, memory_bytes: int = PLENTY) -> AsyncIterator[ScanSearch]:
    """A search whose change stream is open."""
    search = ScanSearch(service.runtime.database, memory_bytes=memory_bytes)
    try:
        await search._written.hear()
        await until(lambda: search._written.is_live)
        yield search
    finally:
        await search.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


class Reads:
    """How many vectors were read, of whole models and of single rows."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.of_models = self.of_rows = 0
        of_model, by_ids = EmbeddingStore.of_model, EmbeddingStore.by_ids

        async def count_model(store: EmbeddingStore, model: str) -> AsyncIterator[list[EmbeddingDocument]]:
            async for rows in of_model(store, model):
                self.of_models += len(rows)
                yield rows

        async def count_rows(store: EmbeddingStore, ids: list[UUID]) -> list[EmbeddingDocument]:
            rows = await by_ids(store, ids)
            self.of_rows += len(rows)
            return rows

        monkeypatch.setattr(EmbeddingStore, "of_model", count_model)
        monkeypatch.setattr(EmbeddingStore, "by_ids", count_rows)


async def ranked(search: ScanSearch, model: str, asked: Any = ASKED) -> list[UUID]:
    found: list[UUID] = []
    vector = numbers(packed(asked.tolist()))
    async with aclosing(search.nearest(model, vector, access=ANYBODY, limit=7)) as batches:
        async for batch in batches:
            found += [each.media_id for each in batch]
    return found


async def agree(search: ScanSearch, model: str, expected: list[UUID]) -> None:
    """Until memory says what is expected, which is as soon as the change stream has told of everything."""
    async with asyncio.timeout(5):
        while True:
            if await ranked(search, model) == expected:
                return
            await asyncio.sleep(0.02)


async def nearest_of(service: RunningService, model: str) -> list[UUID]:
    """The order that the database itself gives: by what is stored, each compared in 64 bits."""
    rows = await service.runtime.database.embeddings.find({"model": model}).to_list(None)
    stored = np.array([np.frombuffer(numbers(row["vector"]), "<f4") for row in rows], np.float64)
    similarities = stored @ ASKED / np.linalg.norm(stored, axis=1)
    return [rows[place]["media_id"] for place in np.argsort(-similarities)]


async def test_memory_stays_true_while_embeddings_come_change_and_go(
    service: RunningService, model: str, vectors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each of a number of random writes, once the change stream has told of it, memory says what is stored."""
    random, database = np.random.default_rng(9), service.runtime.database
    store, marks = EmbeddingStore(database), 1
    ids = await embedded(service, model, vectors[:120])
    last = {each: {"id": "1", "record": "1"} for each in ids}
    async with scanning(service) as held:
        assert len(await ranked(held, model)) == 120
        read = Reads(monkeypatch)
        for _ in range(6):
            for media_id in random.choice(np.array(ids, object), 40, replace=False).tolist():
                marks += 1
                mark = {"id": str(marks), "record": "1"}
                if random.random() < 0.4:
                    await store.clear(media_id, model, mark=mark, replacing=last[media_id])
                else:
                    media = await store.announce(media_id)
                    assert media is not None
                    vector = random.normal(size=DIMENSIONS).tolist()
                    assert await store.put(media, model, vector, place=0, mark=mark, replacing=last[media_id])
                last[media_id] = mark
            await database.embeddings.delete_many({"media_id": ids.pop(0)})
            fresh = await embedded(service, model, random.normal(size=(5, DIMENSIONS)).astype(np.float32))
            ids, last = ids + fresh, last | {each: {"id": "1", "record": "1"} for each in fresh}
            await agree(held, model, await nearest_of(service, model))
        assert len(held._models.get(model) or ()) > 60
        assert read.of_models <= 2 * len(ids)


def test_a_ranking_meanwhile_sees_what_is_replaced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def rows(number: float) -> list[Any]:
        of_media = {"owner_id": "anna", "status": "READY", "visibility": "PUBLIC", "model": "clip@1", "dimensions": 2}
        return [{**of_media, "_id": each, "media_id": each, "vector": packed([number, 1.0])} for each in ids]

    def rank() -> list[UUID]:
        ranking = held.rank(numbers(packed([1.0, 1.0])), ANYBODY)
        return sorted(each.media_id for each in ranking.part(0, len(ranking)))

    ids = sorted(uuid4() for _ in range(16))
    held, seen = HeldVectors(2, 100), []
    held.replace((), rows(1.0))
    write = HeldVectors._write

    def write_slowly(self: HeldVectors, *given: Any) -> None:
        seen.append(rank())
        write(self, *given)
        seen.append(rank())

    monkeypatch.setattr(HeldVectors, "_write", write_slowly)
    assert held.replace(ids, rows(2.0))
    assert [*seen, rank()] == [ids, ids, ids]
    held.replace(ids[:3], [])
    assert rank() == ids[3:]
    assert not held.replace((), rows(3.0) * 10)
    assert rank() == ids[3:]


async def test_writes_by_other_models_cost_a_search_nothing(
    service: RunningService, model: str, vectors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = a_model()
    await embedded(service, model, vectors[:3])
    ids = await embedded(service, other, vectors[:1])
    async with scanning(service) as search:
        assert len(await ranked(search, model)) == 3
        read = Reads(monkeypatch)
        await embedded(service, other, vectors)
        await service.runtime.database.embeddings.update_many({"model": other}, {"$set": {"status": "FAILED"}})
        await service.runtime.database.embeddings.delete_one({"_id": row_id(ids[0], other)})
        [mine] = await embedded(service, model, vectors[:1])
        # Told in order: once this one is known, all those are.
        await until(lambda: bool(search._written.of(model)))
        assert search._written.of(model) == {row_id(mine, model)}
        assert len(await ranked(search, model)) == 4
    assert (read.of_models, read.of_rows) == (0, 1)


async def test_a_model_that_is_written_to_and_not_searched_is_forgotten(
    service: RunningService, model: str, vectors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.vector_search.written_rows._MOST", 20)
    await embedded(service, model, vectors[:3])
    async with scanning(service) as search:
        await ranked(search, model)
        await embedded(service, model, vectors[:30])
        await until(lambda: search._written.of(model) is None)
        assert search._models.get(model) is None
        assert len(await ranked(search, model)) == 33


async def test_a_stream_that_is_late_is_passed_by_and_what_is_held_stays(
    service: RunningService, model: str, vectors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await embedded(service, model, vectors[:50])
    async with scanning(service) as search:
        before = await ranked(search, model)
        read = Reads(monkeypatch)
        with monkeypatch.context() as late:
            late.setattr(WrittenRows, "is_live", property(lambda _: False))
            assert await ranked(search, model) == before == await nearest_of(service, model)
            [new] = await embedded(service, model, ASKED.reshape(1, -1).astype(np.float32))
            assert await ranked(search, model) == [new, *before]
        assert read.of_models == 50 + 51
        await agree(search, model, [new, *before])
    assert (read.of_models, read.of_rows) == (50 + 51, 1)


async def test_a_model_that_is_too_big_is_refused_without_a_vector_read(
    service: RunningService, model: str, vectors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await embedded(service, model, vectors[:101])
    read = Reads(monkeypatch)
    async with scanning(service, size_of(DIMENSIONS, capacity_for(100))) as search:
        with pytest.raises(StateConflict, match=r"More than 100 .* \(MEDIA_VECTORS__ENGINE\)"):
            await ranked(search, model)
        # Nor is it counted again for a while.
        await service.runtime.database.embeddings.delete_many({"model": model})
        with pytest.raises(StateConflict):
            await ranked(search, model)
        monkeypatch.setitem(search._refused_until, model, 0.0)
        assert await ranked(search, model) == []
    assert read.of_models == 0


async def test_models_searched_longest_ago_make_room(service: RunningService, vectors: Any) -> None:
    models = [a_model() for _ in range(3)]
    for each in models:
        await embedded(service, each, vectors[:60])
    async with scanning(service, 2 * size_of(DIMENSIONS, capacity_for(60))) as search:
        for each in (*models, models[0]):
            assert len(await ranked(search, each)) == 60
        assert list(search._models._kept) == [models[2], models[0]]


async def test_models_searched_at_once_keep_to_the_memory_together(
    service: RunningService, vectors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    models, most = [a_model() for _ in range(4)], size_of(DIMENSIONS, capacity_for(120))
    for each in models:
        await embedded(service, each, vectors[:110])
    taken: list[int] = []
    replace = ScanSearch._replace

    async def replace_and_count(self: ScanSearch, *given: Any) -> bool:
        taken.append(sum(self._models._sizes.values()))
        return await replace(self, *given)

    monkeypatch.setattr(ScanSearch, "_replace", replace_and_count)
    async with scanning(service, most) as search:
        found = await asyncio.gather(*(ranked(search, each) for each in models * 3))
    assert [len(each) for each in found] == [110] * 12
    assert 0 < max(taken) <= most


async def test_what_is_written_to_beyond_its_room_is_read_anew(
    service: RunningService, model: str, vectors: Any
) -> None:
    await embedded(service, model, vectors[:4])
    async with scanning(service) as search:
        await ranked(search, model)
        ids = await embedded(service, model, np.tile(vectors, (2, 1)))
        await until(lambda: len(search._written.of(model) or ()) == len(ids))
        assert sorted(await ranked(search, model)) == sorted(await nearest_of(service, model))
        held = search._models.get(model)
        assert held is not None
        assert len(held) == 404
