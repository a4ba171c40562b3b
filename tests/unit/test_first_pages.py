"""What is kept of the first pages of feeds is what the database would answer, whatever happens in whatever order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from service.access import ANONYMOUS, MODERATOR_ROLE, Action, Viewer, granted_filters
from service.documents import MediaDocument
from service.first_pages import MEDIA_A_PAGE, FirstPages
from service.stores.changes import Change
from service.stores.media import MediaStore
from tests.documents import ready_media
from tests.in_memory import in_memory_database

LIMIT = 3
MODERATOR = Viewer("mod", frozenset({MODERATOR_ROLE}))
FIELDS = frozenset({"title"})


class Feed:
    """A change feed whose events arrive when a test says so."""

    def __init__(self) -> None:
        self.live = True
        self.tell: Callable[[Change | None], None] = lambda _: None

    def is_live(self) -> bool:
        return self.live

    def listen(self, callback: Callable[[Change | None], None]) -> Callable[[], None]:
        self.tell = callback
        return lambda: None


class Store:
    """What a MediaStore answers for the public feed, and how often it was asked. `gate` holds answers back."""

    def __init__(self) -> None:
        self.media: dict[int, MediaDocument] = {}
        self.reads = 0
        self.gate: asyncio.Event | None = None
        self.told: Callable[[UUID], None] = lambda _: None

    def after_writes(self, callback: Callable[[UUID], None]) -> None:
        self.told = callback

    def visible(self, purpose: str) -> list[dict[str, Any]]:
        found = [
            dict(media)
            for media in self.media.values()
            if (media["purpose"], media["status"], media["visibility"]) == (purpose, "READY", "PUBLIC")
        ]
        return sorted(found, key=lambda media: media["_id"], reverse=True)[:LIMIT]

    async def list_page(self, query: dict[str, Any], **asked: Any) -> list[dict[str, Any]]:
        assert (asked["before"], asked["limit"]) == (None, LIMIT)
        assert asked["fields"] >= FIELDS
        self.reads += 1
        answer = self.visible(query["purpose"])
        if self.gate is not None:
            await self.gate.wait()
        return answer


def pages_of(store: Store, feed: Feed, capacity: int = 10) -> FirstPages:
    return FirstPages(store, feed, capacity=capacity)  # type: ignore[arg-type]


async def read(pages: FirstPages, purpose: str = "COMMUNITY") -> list[MediaDocument]:
    return await pages.read(purpose, limit=LIMIT, fields=FIELDS)


WRITES: dict[str, tuple[dict[str, str], frozenset[str]]] = {
    "title": ({"title": "Another"}, frozenset({"title", "updated_at"})),
    "hide": ({"visibility": "PRIVATE"}, frozenset({"visibility", "updated_at"})),
    "show": ({"visibility": "PUBLIC"}, frozenset({"visibility", "updated_at"})),
    "quarantine": ({"status": "QUARANTINED"}, frozenset({"status", "status_history"})),
    "release": ({"status": "READY"}, frozenset({"status", "status_history"})),
    "delete": ({"status": "DELETED"}, frozenset({"status", "status_history"})),
}
STEPS = st.lists(
    st.tuples(st.sampled_from((*WRITES, "insert", "read", "hear", "read during a write")), st.integers(0, 5)),
    max_size=40,
)


class World:
    """A store, the pages above it, and writes that are heard of later."""

    def __init__(self) -> None:
        self.store, self.feed = Store(), Feed()
        self.pages = pages_of(self.store, self.feed)
        self.unheard: list[Change] = []

    def write(self, name: str, number: int) -> None:
        media = self.store.media
        if name == "insert" or number not in media:
            media[number] = ready_media(purpose=("COMMUNITY", "PROFILE")[number % 2])
            self.unheard.append(Change("media", media[number]["_id"], None, "READY"))
            return
        values, fields = WRITES[name]
        media[number] = {**media[number], **values}  # type: ignore[typeddict-item]
        self.unheard.append(Change("media", media[number]["_id"], fields, values.get("status")))

    def hear(self) -> None:
        while self.unheard:
            self.feed.tell(self.unheard.pop(0))

    async def read_during_a_write(self, number: int) -> None:
        self.store.gate = asyncio.Event()
        reading = asyncio.create_task(read(self.pages))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self.write("title", number)
        self.hear()
        self.store.gate.set()
        await reading
        self.store.gate = None

    async def take(self, step: str, number: int) -> None:
        if step == "hear":
            self.hear()
        elif step == "read":
            await read(self.pages)
        elif step == "read during a write":
            await self.read_during_a_write(number)
        else:
            self.write(step, number)


@given(steps=STEPS)
def test_once_a_change_is_heard_no_page_is_older(steps: list[tuple[str, int]]) -> None:
    async def run() -> None:
        world = World()
        for step, number in steps:
            await world.take(step, number)
        world.hear()
        for purpose in ("COMMUNITY", "PROFILE") * 2:
            assert await read(world.pages, purpose) == world.store.visible(purpose)

    asyncio.run(run())


async def test_many_readers_ask_the_database_once_and_then_no_more() -> None:
    store, feed = Store(), Feed()
    store.media[1] = ready_media()
    pages = pages_of(store, feed)
    answers = await asyncio.gather(*(read(pages) for _ in range(20)))
    assert [media["_id"] for media in answers[0]] == [store.media[1]["_id"]]
    assert all(answer is answers[0] for answer in answers)
    await read(pages)
    assert store.reads == 1


async def test_a_reader_who_hangs_up_takes_nothing_from_the_others() -> None:
    store, feed = Store(), Feed()
    store.media[1], store.gate = ready_media(), asyncio.Event()
    pages = pages_of(store, feed)
    first, second = asyncio.create_task(read(pages)), asyncio.create_task(read(pages))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    store.gate.set()
    assert len(await second) == 1


async def test_what_the_process_has_written_itself_is_forgotten_at_once() -> None:
    store, feed = Store(), Feed()
    store.media[1] = ready_media()
    pages = pages_of(store, feed)
    assert len(await read(pages)) == 1
    media_id = store.media.pop(1)["_id"]
    store.told(media_id)
    assert await read(pages) == []


async def test_nothing_is_kept_while_changes_cannot_be_heard() -> None:
    store, feed = Store(), Feed()
    pages = pages_of(store, feed)
    await read(pages)
    feed.live = False
    store.media[1] = ready_media()
    assert len(await read(pages)) == 1
    feed.tell(None)
    feed.live = True
    assert len(await read(pages)) == 1
    assert store.reads == 3


async def test_keeps_no_more_media_than_it_may() -> None:
    store, feed = Store(), Feed()
    store.media = {number: ready_media() for number in range(3)}
    pages = pages_of(store, feed, capacity=1)
    for number in range(20):
        await pages._load(("COMMUNITY", LIMIT, FIELDS | {str(number)}), pages._heard)
    kept = sum(len(page.documents) for page in pages._pages.values())
    assert 0 < kept <= MEDIA_A_PAGE
    none = pages_of(Store(), feed, capacity=0)
    assert await read(none) == await read(none) == []


MEDIA = st.lists(
    st.fixed_dictionaries(
        {
            "owner_id": st.sampled_from(("anna", "bert")),
            "visibility": st.sampled_from(("PUBLIC", "PRIVATE")),
            "status": st.sampled_from(("READY", "QUARANTINED", "DELETED")),
            "purpose": st.sampled_from(("COMMUNITY", "PROFILE")),
        }
    ),
    max_size=12,
)


@given(media=MEDIA, viewer=st.sampled_from((ANONYMOUS, Viewer("anna"), Viewer("cora"), MODERATOR)))
def test_every_viewer_sees_what_the_access_table_grants(media: list[dict[str, str]], viewer: Viewer) -> None:
    async def run() -> None:
        database = in_memory_database()
        for values in media:
            await database.media.insert_one(ready_media(**values))
        store = MediaStore(database)
        pages = FirstPages(store, Feed(), capacity=10)  # type: ignore[arg-type]
        query = {"purpose": "COMMUNITY", "status": "READY"}
        access = granted_filters(viewer, Action.READ)
        expected = await store.list_page(query, access=access, before=None, limit=LIMIT, fields=FIELDS)
        for _ in range(2):
            assert await pages.read_for(viewer, "COMMUNITY", limit=LIMIT, fields=FIELDS) == expected

    asyncio.run(run())
