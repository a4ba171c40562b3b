"""What memory says of hashes is what the database says, whatever happens; while it may not be, the database answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from threading import get_ident
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymongo.errors import AutoReconnect, OperationFailure

from service import look_alike_memory
from service.look_alike_memory import LookAlikeMemory, open_look_alike_memory
from service.perceptual_hash import bands_of, distance
from service.stores.changes import Change
from service.stores.look_alikes import LookAlikeStore
from tests.documents import ready_media
from tests.in_memory import in_memory_database

HASHES = [0x0F1E_2D3C_4B5A_6978 ^ (1 << bits) - 1 for bits in range(9)] + [~0x0F1E_2D3C_4B5A_6978]


class Feed:
    """A change feed whose events arrive when a test says so."""

    def __init__(self) -> None:
        self.live, self.beginnings = False, 0
        self.tell: Callable[[Change | None], None] = lambda _: None

    def is_live(self) -> bool:
        return self.live

    def listen(self, callback: Callable[[Change | None], None]) -> None:
        self.tell = callback

    def begin(self) -> None:
        self.live, self.beginnings = True, self.beginnings + 1
        self.tell(None)


class Store(LookAlikeStore):
    """Counts what is asked of it, and can fail."""

    def __init__(self, database: Any) -> None:
        super().__init__(database)
        self.asked = 0
        self.fails = False

    async def hashes_near(self, asked: Any, max_distance: int) -> set[int]:
        self.asked += 1
        return await super().hashes_near(asked, max_distance)

    async def hashes_of(self, media_ids: Any) -> list[int]:
        if self.fails:
            raise AutoReconnect("gone")
        return await super().hashes_of(media_ids)


class World:
    def __init__(self) -> None:
        self.database = in_memory_database()
        self.feed, self.store = Feed(), Store(self.database)
        self.media: list[UUID] = []
        self.unheard: list[Change] = []

    async def add(self, value: int) -> None:
        media = ready_media(hashes=_hashes(value))
        await self.database.media.insert_one(media)
        self.media.append(media["_id"])
        self.unheard.append(Change("media", media["_id"], None, "READY", None))

    async def change(self, media_id: UUID, value: int) -> None:
        await self.database.media.update_one({"_id": media_id}, {"$set": {"hashes": _hashes(value)}})
        self.unheard.append(Change("media", media_id, frozenset({"hashes"}), None, None))

    async def strip(self, media_id: UUID) -> None:
        await self.database.media.update_one({"_id": media_id}, {"$unset": {"hashes": 1}})
        self.unheard.append(Change("media", media_id, frozenset({"hashes", "status"}), "DELETED", None))

    def hear(self) -> None:
        for change in self.unheard:
            self.feed.tell(change)
        self.unheard.clear()


def _hashes(value: int) -> dict[str, Any]:
    return {"phash": value, "bands": bands_of(value)}


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0)


async def settled(memory: LookAlikeMemory) -> None:
    """Once all that was heard is held."""
    await until(lambda: not memory._written and memory._hashes is not None and not memory._is_stale)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "change", "strip", "hear", "begin"]), st.integers(0, 20), st.sampled_from(HASHES)
    ),
    max_size=25,
)


@given(STEPS, st.integers(0, 10))
def test_memory_finds_what_the_database_finds_once_it_was_heard(steps: Any, max_distance: int) -> None:
    async def run() -> None:
        world = World()
        async with open_look_alike_memory(world.store, world.feed, capacity=1_000) as memory:  # type: ignore[arg-type]
            assert memory is not None
            world.feed.begin()
            for step, number, value in steps:
                if step == "add":
                    await world.add(value)
                elif step in {"change", "strip"} and world.media:
                    media_id = world.media[number % len(world.media)]
                    await (world.change(media_id, value) if step == "change" else world.strip(media_id))
                elif step == "hear":
                    world.hear()
                elif step == "begin":
                    world.unheard.clear()
                    world.feed.begin()
            world.hear()
            await settled(memory)
            world.store.asked = 0
            for asked in ([HASHES[0]], HASHES[3:5]):
                stored = await LookAlikeStore(world.database).hashes_near(asked, max_distance)
                found = await memory.hashes_near(asked, max_distance)
                # What no media has any more is looked for in vain.
                assert stored <= found <= set(HASHES)
                live = {
                    each["hashes"]["phash"] async for each in world.database.media.find({"hashes": {"$exists": True}})
                }
                assert found & live == stored
            assert world.store.asked == 0

    asyncio.run(run())


async def test_the_database_answers_while_memory_may_be_behind() -> None:
    world = World()
    await world.add(HASHES[0])
    async with open_look_alike_memory(world.store, world.feed, capacity=1_000) as memory:  # type: ignore[arg-type]
        assert memory is not None
        assert await memory.hashes_near(HASHES[:1], 0) == {HASHES[0]}, "nothing is loaded yet"
        world.feed.begin()
        await settled(memory)
        assert await memory.hashes_near(HASHES[:1], 0) == {HASHES[0]}
        assert world.store.asked == 1
        world.feed.live = False
        world.feed.tell(None)
        await memory.hashes_near(HASHES[:1], 0)
        assert world.store.asked == 2, "the stream is interrupted"
        world.feed.live = True
        world.feed.tell(None)
        await memory.hashes_near(HASHES[:1], 0)
        assert world.store.asked == 2, "it went on where it was: nothing was missed"


async def test_more_hashes_than_may_be_held_are_left_to_the_database() -> None:
    world = World()
    for value in HASHES[:3]:
        await world.add(value)
    async with open_look_alike_memory(world.store, world.feed, capacity=4) as memory:  # type: ignore[arg-type]
        assert memory is not None
        world.feed.begin()
        await settled(memory)
        for value in HASHES[3:6]:
            await world.add(value)
        world.hear()
        await until(lambda: memory._hashes is None)
        assert await memory.hashes_near(HASHES[:1], 10) == set(HASHES[:6])
        assert world.store.asked == 1
        world.feed.begin()
        await until(lambda: not memory._is_stale and memory._loaded_in == 2)
        assert not memory.is_ready()


async def test_an_outage_is_survived_and_meanwhile_the_database_is_asked(monkeypatch: Any) -> None:
    monkeypatch.setattr(look_alike_memory, "_PAUSE_S", 0.01)
    monkeypatch.setattr(look_alike_memory, "MAX_LAG_S", 0.0)
    world = World()
    async with open_look_alike_memory(world.store, world.feed, capacity=100) as memory:  # type: ignore[arg-type]
        assert memory is not None
        world.feed.begin()
        await settled(memory)
        world.store.fails = True
        await world.add(HASHES[2])
        world.hear()
        await asyncio.sleep(0)
        assert not memory.is_ready(), "what was written is not known"
        assert await memory.hashes_near(HASHES[:1], 10) == {HASHES[2]}
        world.store.fails = False
        await settled(memory)
        assert memory.is_ready()
        assert await memory.hashes_near(HASHES[:1], 10) == {HASHES[2]}
        assert world.store.asked == 1


async def test_a_refused_read_is_survived_as_well(monkeypatch: Any) -> None:
    monkeypatch.setattr(look_alike_memory, "_PAUSE_S", 0.001)
    world, refused = World(), 0
    await world.add(HASHES[0])
    with monkeypatch.context() as patch:

        async def all_hashes() -> AsyncIterator[list[int]]:
            nonlocal refused
            refused += 1
            raise OperationFailure("hint provided does not correspond to an existing index", 2)
            yield []

        patch.setattr(world.store, "all_hashes", all_hashes)
        async with open_look_alike_memory(world.store, world.feed, capacity=1_000) as memory:  # type: ignore[arg-type]
            assert memory is not None
            world.feed.begin()
            await until(lambda: refused > 1)
            assert not memory.is_ready()
            assert await memory.hashes_near(HASHES[:1], 0) == {HASHES[0]}
            patch.undo()
            await settled(memory)
            assert memory.is_ready()
            assert await memory.hashes_near(HASHES[:1], 0) == {HASHES[0]}
            assert world.store.asked == 1


@pytest.mark.parametrize("most_here", [0, 10**6])
@pytest.mark.parametrize("at_once", [1, 4, 10**6])
async def test_the_same_is_found_by_a_thread_and_in_parts(most_here: int, at_once: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(look_alike_memory, "_MOST_COMPARED_HERE", most_here)
    monkeypatch.setattr(look_alike_memory, "_COMPARED_AT_ONCE", at_once)
    scan, threads = look_alike_memory._near, set()
    monkeypatch.setattr(look_alike_memory, "_near", lambda *given: threads.add(get_ident()) or scan(*given))
    world = World()
    for value in HASHES:
        await world.add(value)
    async with open_look_alike_memory(world.store, world.feed, capacity=100) as memory:  # type: ignore[arg-type]
        assert memory is not None
        world.feed.begin()
        await settled(memory)
        for asked in (HASHES[:1], HASHES[3:5], HASHES):
            found = await memory.hashes_near(asked, 2)
            assert found == {each for each in HASHES if any(distance(each, one) <= 2 for one in asked)}
    assert (get_ident() in threads) == bool(most_here), "many are not compared where everybody else waits"


async def test_no_memory_is_kept_where_none_is_wanted() -> None:
    world = World()
    async with open_look_alike_memory(world.store, world.feed, capacity=0) as memory:  # type: ignore[arg-type]
        assert memory is None
