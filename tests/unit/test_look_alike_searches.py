"""Searches that wait for their turn: like ones are one, those that nobody wants are dropped, too many are refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from service.errors import TemporarilyUnavailable
from service.perceptual_hash import bands_of
from service.stores import look_alikes
from service.stores.look_alikes import LookAlikeStore
from tests.documents import ready_media
from tests.in_memory import in_memory_database

HASH = 0x0F1E_2D3C_4B5A_6978


class Busy:
    """A collection whose searches are answered once a test says so."""

    def __init__(self, media: Any) -> None:
        self._media = media
        self.begun = self.stopped = 0
        self.may_answer = asyncio.Event()

    def find_raw_batches(self, *asked: Any, **options: Any) -> Busy:
        self.begun += 1
        self._cursor = self._media.find_raw_batches(*asked, **options)
        return self

    def hint(self, _: str) -> AsyncIterator[bytes]:
        return self._answers(self._cursor)

    async def _answers(self, cursor: Any) -> AsyncIterator[bytes]:
        try:
            await self.may_answer.wait()
        except asyncio.CancelledError:
            self.stopped += 1
            raise
        async for batch in cursor:
            yield batch


@pytest.fixture
async def busy() -> tuple[LookAlikeStore, Busy]:
    database = in_memory_database()
    await database.media.insert_one(ready_media(hashes={"phash": HASH, "bands": bands_of(HASH)}))
    store = LookAlikeStore(database)
    store._reads = reads = Busy(database.media)  # type: ignore[assignment]
    return store, reads


async def asking(store: LookAlikeStore, *hashes: int) -> list[asyncio.Task[set[int]]]:
    tasks = [asyncio.create_task(store.hashes_near([each], 3)) for each in hashes]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


async def leave(*tasks: asyncio.Task[set[int]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0)


async def test_searches_that_nobody_waits_for_are_not_made(busy: tuple[LookAlikeStore, Busy]) -> None:
    store, reads = busy
    others = await asking(store, *range(1, 5))
    abandoned = await asking(store, *range(10, 60))
    assert reads.begun == 4
    await leave(*abandoned)
    [new] = await asking(store, HASH)
    reads.may_answer.set()
    assert await new == {HASH}
    await asyncio.gather(*others)
    assert reads.begun == 5


async def test_a_search_under_way_is_stopped_when_the_last_who_wants_it_leaves(
    busy: tuple[LookAlikeStore, Busy],
) -> None:
    store, reads = busy
    under_way = await asking(store, *range(1, 5))
    await leave(*under_way[:3])
    assert reads.stopped == 3
    reads.may_answer.set()
    assert await under_way[3] == set()
    [new] = await asking(store, HASH)
    assert await new == {HASH}, "they have left their turn to others"


async def test_who_leaves_does_not_take_the_answer_of_others_along(busy: tuple[LookAlikeStore, Busy]) -> None:
    store, reads = busy
    first = await asking(store, *range(1, 5))
    one, other = await asking(store, HASH, HASH)
    await leave(one)
    [again] = await asking(store, HASH)
    reads.may_answer.set()
    assert await other == await again == {HASH}
    await asyncio.gather(*first)
    assert reads.begun == 5, "who asks for the same shares one search"


async def test_who_comes_as_a_search_is_dropped_gets_one_of_their_own(busy: tuple[LookAlikeStore, Busy]) -> None:
    store, reads = busy
    first = await asking(store, *range(1, 5))
    [waiting] = await asking(store, HASH)
    waiting.cancel()
    await asyncio.sleep(0)
    later = asyncio.create_task(store.hashes_near([HASH], 3))
    reads.may_answer.set()
    assert await later == {HASH}
    await asyncio.gather(*first)


async def test_more_than_may_wait_are_refused_and_may_come_again(
    busy: tuple[LookAlikeStore, Busy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look_alikes, "_MOST_WAITING", 2)
    store, reads = busy
    under_way = [task for each in range(1, 5) for task in await asking(store, each)]
    waiting = await asking(store, 5, 6)
    with pytest.raises(TemporarilyUnavailable) as refused:
        await store.hashes_near([HASH], 3)
    assert refused.value.retryable
    assert reads.begun == 4
    [shared] = await asking(store, 6)
    reads.may_answer.set()
    await asyncio.gather(*under_way, *waiting, shared)
    assert await store.hashes_near([HASH], 3) == {HASH}
