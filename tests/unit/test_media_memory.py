"""Pages out of memory are those of the database: which media always, what is in them once a change was heard."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from service.access import ANONYMOUS, Action, Viewer, granted_filters
from service.documents import MediaDocument
from service.media_memory import MediaMemory
from service.stores.changes import Change
from tests.documents import ready_media

LIMIT = 4
FIELDS = frozenset({"title"})
COMMUNITY = {"purpose": "COMMUNITY", "status": "READY"}


class Feed:
    """A change feed whose events arrive when a test says so."""

    def __init__(self) -> None:
        self.live = True
        self.tell: Callable[[Change | None], None] = lambda _: None

    def is_live(self) -> bool:
        return self.live

    def listen(self, callback: Callable[[Change | None], None]) -> None:
        self.tell = callback


class Store:
    """What a MediaStore answers for the public feed, and what it was asked."""

    def __init__(self) -> None:
        self.media: dict[int, MediaDocument] = {}
        self.asked: list[str] = []
        self.told: Callable[[UUID], None] = lambda _: None
        self.between: Callable[[], None] = lambda: None

    def after_writes(self, callback: Callable[[UUID], None]) -> None:
        self.told = callback

    def page(self) -> list[MediaDocument]:
        shown = [each for each in self.media.values() if (each["status"], each["visibility"]) == ("READY", "PUBLIC")]
        return sorted(map(_copy, shown), key=lambda each: each["_id"], reverse=True)[:LIMIT]

    async def list_page(self, _query: Any, **_asked: Any) -> list[MediaDocument]:
        self.asked.append("page")
        return self.page()

    async def list_ids(self, _query: Any, **_asked: Any) -> list[bytes] | None:
        self.asked.append("ids")
        ids = [each["_id"].bytes for each in self.page()]
        self.between()
        return ids

    async def get_many(self, ids: Iterable[UUID], **_asked: Any) -> dict[UUID, MediaDocument]:
        wanted = set(ids)
        self.asked.append(f"{len(wanted)} by id")
        return {each["_id"]: each for each in self.page() if each["_id"] in wanted}


def _copy(media: MediaDocument) -> MediaDocument:
    return {**media}


class World:
    def __init__(self, *, capacity: int = 100) -> None:
        self.store, self.feed = Store(), Feed()
        self.memory = MediaMemory(self.store, self.feed, capacity=capacity)  # type: ignore[arg-type]
        self.unheard: list[Change] = []

    async def read(self, viewer: Viewer = ANONYMOUS) -> list[MediaDocument]:
        access = granted_filters(viewer, Action.READ)
        return await self.memory.list_page(COMMUNITY, access=access, before=None, limit=LIMIT, fields=FIELDS)

    async def warm(self) -> None:
        """Read until memory is asked first."""
        for _ in range(40):
            await self.read()
        self.store.asked.clear()

    def write(self, number: int, **values: str) -> None:
        changed = frozenset(values) if number in self.store.media else None
        self.store.media[number] = {**self.store.media.get(number, ready_media()), **values}  # type: ignore[typeddict-item]
        status = values.get("status") or ("READY" if changed is None else None)
        self.unheard.append(Change("media", self.store.media[number]["_id"], changed, status))

    def hear(self) -> None:
        while self.unheard:
            self.feed.tell(self.unheard.pop(0))


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            (
                {"title": "Another"},
                {"visibility": "PRIVATE"},
                {"visibility": "PUBLIC"},
                {"status": "DELETED"},
                {"status": "READY"},
                "read",
                "hear",
                "deaf",
                "live",
            )
        ),
        st.integers(0, 5),
    ),
    max_size=40,
)


@given(steps=STEPS)
def test_who_sees_what_is_never_a_matter_of_memory(steps: list[tuple[Any, int]]) -> None:
    async def run() -> None:
        world = World()
        world.write(0)
        await world.warm()
        for step, number in steps:
            if step == "hear":
                world.hear()
            elif step in ("deaf", "live"):
                world.feed.live = step == "live"
                world.hear()
                world.feed.tell(None)
            elif step != "read":
                world.write(number, **step)
            # Also before anything was heard.
            shown = await world.read()
            assert [each["_id"] for each in shown] == [each["_id"] for each in world.store.page()]
        world.hear()
        assert await world.read() == world.store.page()

    asyncio.run(run())


async def test_a_page_that_is_read_again_costs_its_ids_and_what_is_new() -> None:
    world = World()
    for number in range(3):
        world.write(number)
    world.hear()
    await world.warm()
    await world.read()
    assert world.store.asked == ["ids"]
    world.write(3)
    world.hear()
    assert len(await world.read()) == 4
    assert world.store.asked == ["ids", "ids", "1 by id"]


async def test_pages_that_are_never_read_again_are_not_asked_for_twice() -> None:
    world = World()
    for number in range(30):
        world.write(number)
        await world.read()
        world.store.media.clear()
    assert set(world.store.asked) == {"page"}


async def test_what_goes_between_the_two_questions_does_not_leave_a_hole() -> None:
    world = World()
    for number in range(LIMIT + 1):
        world.write(number)
    await world.warm()
    world.write(LIMIT)
    world.hear()
    world.store.between = lambda: world.write(LIMIT, status="DELETED")
    assert len(await world.read()) == LIMIT


async def test_a_cold_page_now_and_then_does_not_turn_it_off() -> None:
    world = World()
    for number in range(3):
        world.write(number)
    world.hear()
    await world.warm()
    for turn in range(60):
        if turn % 5 == 0:
            world.memory._documents.clear()
        await world.read()
    assert world.store.asked.count("page") == 0


async def test_what_may_be_of_any_size_is_not_kept() -> None:
    world = World()
    world.write(0)
    access = granted_filters(ANONYMOUS, Action.READ)
    fields = frozenset({"annotations"})
    for _ in range(40):
        await world.memory.list_page(COMMUNITY, access=access, before=None, limit=LIMIT, fields=fields)
    assert not world.memory._documents


async def test_pages_of_more_than_one_visibility_are_read_whole() -> None:
    world = World()
    world.write(0)
    for _ in range(40):
        await world.read(Viewer("anna"))
    assert set(world.store.asked) == {"page"}


async def test_what_the_process_has_written_itself_is_forgotten_at_once() -> None:
    world = World()
    world.write(0)
    await world.warm()
    world.store.media[0]["title"] = "After"
    world.store.told(world.store.media[0]["_id"])
    assert [each["title"] for each in await world.read()] == ["After"]


async def test_keeps_no_more_than_it_may_and_nothing_at_all_if_so_told() -> None:
    for capacity, kept in ((2, 2), (0, 0)):
        world = World(capacity=capacity)
        for number in range(4):
            world.write(number)
        for _ in range(50):
            assert len(await world.read()) == 4
        assert len(world.memory._documents) == kept
        assert sum(map(len, world.memory._projections.values())) == kept
