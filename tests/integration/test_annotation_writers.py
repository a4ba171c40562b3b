"""Annotations that many write and read at once, and that move: none is lost or doubled, and clients do not notice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest

from schema.global_id import encode_id
from service import annotation_reads, annotation_writes
from service.annotation_layout import MAX_EMBEDDED
from service.deletion import remove_objects
from service.models import Job, JobKind, Lane
from service.settings import Settings
from service.stores.annotation_rows import AnnotationRowStore
from service.stores.annotations import AnnotationStore
from tests.documents import MOMENT
from tests.integration.annotation_stand import (
    ANNA,
    BERT,
    DETECTOR,
    MODERATOR,
    AnnotationStand,
    annotation_stand,
    many,
    said,
    uuid_of,
)


@pytest.fixture(scope="module")
async def stand(settings: Settings) -> AsyncIterator[AnnotationStand]:
    async with annotation_stand(settings) as opened:
        yield opened


class Writer:
    """Appends, replaces and takes back what one source says, and knows what must be left of it."""

    def __init__(self, stand: AnnotationStand, media_id: UUID, source: str, seed: int) -> None:
        self._stand, self._media_id, self._source = stand, media_id, source
        self._random = random.Random(seed)
        self.expected: dict[str, str] = {}

    async def write(self, steps: int) -> None:
        for _ in range(steps):
            if self.expected and self._random.random() < 0.3:
                await self._take_back()
            else:
                await self._say(replace=self._random.random() < 0.25)

    async def _say(self, *, replace: bool) -> None:
        labels = [f"{self._source}-{self._random.randrange(5)}" for _ in range(self._random.choice((1, 3, 20, 60)))]
        given = said(*labels, confidence=self._random.random())
        payload = await in_the_end(
            partial(self._stand.annotate, ANNA, self._media_id, source=self._source, replace=replace, annotations=given)
        )
        if replace:
            self.expected.clear()
        self.expected |= {each["id"]: each["label"] for each in payload["annotations"]}
        assert len(payload["annotations"]) == len(labels)

    async def _take_back(self) -> None:
        ids = self._random.sample(sorted(self.expected), min(len(self.expected), self._random.choice((1, 5, 50))))
        payload = await in_the_end(partial(self._stand.take_back, ANNA, ids))
        assert payload["deletedIds"] == ids
        for each in ids:
            del self.expected[each]


async def in_the_end(ask: Callable[..., Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    """The payload of a request that is sent again for as long as its media is too busy."""
    key = uuid4().hex
    while (errors := (payload := await ask(key=key))["userErrors"]) != []:
        assert [error["code"] for error in errors] == ["TEMPORARILY_UNAVAILABLE"]
    return payload


class Apart(dict[UUID, asyncio.Lock]):
    """Queues that nobody shares: as between processes."""

    def setdefault(self, _key: UUID, default: asyncio.Lock) -> asyncio.Lock:  # type: ignore[override]
        return default


@pytest.mark.parametrize(("seed", "apart"), [(1, False), (2, True)])
async def test_of_what_many_write_at_once_nothing_is_lost_or_doubled(
    stand: AnnotationStand, monkeypatch: pytest.MonkeyPatch, seed: int, apart: bool
) -> None:
    if apart:
        monkeypatch.setattr(annotation_writes, "_queues", Apart())
    media_id = await stand.add()
    writers = [Writer(stand, media_id, f"model:writer@{n}", seed * 10 + n) for n in range(4)]
    done = asyncio.Event()
    reading = asyncio.create_task(read_until(stand, media_id, done))
    await asyncio.gather(*(writer.write(5) for writer in writers))
    done.set()
    await reading
    expected = {each for writer in writers for each in writer.expected}
    assert await stand.assert_sound(media_id) == {uuid_of(each) for each in expected}
    shown = await stand.listed(BERT, media_id)
    assert {each["id"]: each["label"] for each in shown} == {
        global_id: label for writer in writers for global_id, label in writer.expected.items()
    }
    assert [each["confidence"] for each in shown] == sorted((each["confidence"] for each in shown), reverse=True)


async def test_who_writes_much_writes_it_once_however_often_others_are_first(
    stand: AnnotationStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other processes are first five times: the thousand rows are there already in the next round."""
    monkeypatch.setattr(annotation_writes, "_queues", Apart())
    media_id = await stand.add()
    await stand.say(media_id, DETECTOR, *["old"] * 1_000)
    inserted, lost = 0, 0
    others: list[str] = []
    insert, write = AnnotationRowStore.insert, AnnotationStore.write

    async def counted(self: AnnotationRowStore, media: UUID, segments: Any) -> None:
        nonlocal inserted
        inserted += sum(len(part) for _, part in segments)
        await insert(self, media, segments)

    async def overtaken(self: AnnotationStore, media: UUID, contents: Any, **more: Any) -> bool:
        nonlocal lost
        if not others and lost < 5:
            lost += 1
            others.append(f"other-{lost}")
            await stand.say(media_id, "user:anna", *others)
            others.clear()
        return await write(self, media, contents, **more)

    monkeypatch.setattr(AnnotationRowStore, "insert", counted)
    monkeypatch.setattr(AnnotationStore, "write", overtaken)
    fresh = await stand.say(media_id, DETECTOR, *["new"] * 1_000)
    assert (lost, inserted) == (5, 1_000 + 5)
    left = await stand.assert_sound(media_id)
    assert (len(left), left >= set(fresh)) == (1_001, True)


async def read_until(stand: AnnotationStand, media_id: UUID, done: asyncio.Event) -> None:
    """Read one source over and over: its annotations of one write are there together, or not at all."""
    source = "model:twins@1"
    while not done.is_set():
        await stand.say(media_id, source, *["twin"] * 30)
        seen, _ = await asyncio.gather(
            stand.page(BERT, media_id, first=100, source=source), stand.say(media_id, source, *["twin"] * 40)
        )
        assert len(seen["edges"]) in {30, 40}
    await stand.say(media_id, source)


async def test_a_reader_that_was_overtaken_reads_again(stand: AnnotationStand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the document and the rows everything is replaced, and the rows that were listed are gone."""
    media_id = await stand.add()
    await stand.say(media_id, DETECTOR, *["old"] * 150)
    whole, overtaken = AnnotationRowStore.page, 0

    async def slow(self: AnnotationRowStore, *args: Any, **more: Any) -> Any:
        nonlocal overtaken
        overtaken += 1
        if overtaken == 1:
            await stand.say(media_id, DETECTOR, *["new"] * 150)
        if overtaken == 2:
            await stand.say(media_id, DETECTOR, *["few"] * 2)
        if overtaken == 3:
            await stand.say(media_id, DETECTOR)
            await stand.say(media_id, DETECTOR, "last")
        return await whole(self, *args, **more)

    monkeypatch.setattr(AnnotationRowStore, "page", slow)
    assert [each["label"] for each in (await stand.listed(BERT, media_id))] == ["last"]
    assert overtaken == 3


async def test_a_reader_is_not_kept_for_ever(stand: AnnotationStand, monkeypatch: pytest.MonkeyPatch) -> None:
    media_id = await stand.add()
    await stand.say(media_id, DETECTOR, *["old"] * 150)
    whole = AnnotationRowStore.page

    async def slow(self: AnnotationRowStore, *args: Any, **more: Any) -> Any:
        await stand.say(media_id, DETECTOR, *["new"] * 101)
        return await whole(self, *args, **more)

    monkeypatch.setattr(AnnotationRowStore, "page", slow)
    monkeypatch.setattr(annotation_reads, "_TRIES", 2)
    query = "query ($id: ID!) { media(id: $id) { annotations { nodes { id } } } }"
    result = await stand.post(query, BERT, id=encode_id("Media", media_id))
    assert "ask again" in str(result.errors)


async def test_an_annotation_is_found_by_its_id_while_it_moves(
    stand: AnnotationStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    media_id = await stand.add()
    [wanted] = await stand.say(media_id, "user:anna", "cat")
    whole = AnnotationRowStore.find
    moved = False

    async def slow(self: AnnotationRowStore, *args: Any, **more: Any) -> Any:
        nonlocal moved
        rows = await whole(self, *args, **more)
        if not moved and rows:
            # It was found in a segment that is written anew before its media is read.
            moved = True
            await stand.annotate(ANNA, media_id, annotations=said("dog"))
        return rows

    await stand.say(media_id, DETECTOR, *["thing"] * MAX_EMBEDDED)
    monkeypatch.setattr(AnnotationRowStore, "find", slow)
    node = "query ($id: ID!) { node(id: $id) { id } }"
    assert (await stand.run(node, BERT, id=encode_id("Annotation", wanted)))["node"] is not None
    assert moved


async def test_pages_go_on_where_they_were_when_annotations_move(stand: AnnotationStand) -> None:
    media_id = await stand.add()
    await stand.annotate(ANNA, media_id, annotations=many(90))
    order = [each["id"] for each in await stand.listed(BERT, media_id)]
    first = await stand.page(BERT, media_id, first=40)
    cursor = first["pageInfo"]["endCursor"]
    rest = await stand.listed(BERT, media_id, after=cursor)

    await stand.annotate(MODERATOR, media_id, annotations=many(30, "later"))
    assert await stand.is_moved(media_id)
    assert await stand.listed(BERT, media_id, after=cursor, source="user:anna") == rest
    assert [each["id"] for each in await stand.listed(BERT, media_id, label="thing", first=7)] == order
    assert (await stand.page(BERT, media_id, label="thing", first=40)) == first
    for size in (9, 100):
        pages = await stand.listed(BERT, media_id, first=size)
        assert len({each["id"] for each in pages}) == len(pages) == 120
    sure = await stand.listed(BERT, media_id, label="thing", min=0.5)
    assert [each["id"] for each in sure] == order[: len(sure)]
    assert min(each["confidence"] for each in sure) >= 0.5
    every = await stand.listed(BERT, media_id, label="thing")
    assert len(sure) == sum(each["confidence"] >= 0.5 for each in every)
    assert await stand.listed(BERT, media_id, source="user:nobody") == []


async def test_many_that_move_and_go_leave_an_ordinary_media(stand: AnnotationStand) -> None:
    media_id = await stand.add()
    ids = [encode_id("Annotation", each) for each in await stand.say(media_id, DETECTOR, *["x"] * 1_500)]
    assert len(await stand.assert_sound(media_id)) == 1_500
    for part in (ids[:1_000], ids[1_000:]):
        assert (await stand.take_back(ANNA, part))["deletedIds"] == part
    assert await stand.assert_sound(media_id) == set()
    assert not await stand.is_moved(media_id)
    await stand.annotate(ANNA, media_id, annotations=said("cat"))
    assert len(await stand.assert_sound(media_id)) == 1
    assert len(await stand.listed(BERT, media_id)) == 1


async def test_a_deleted_media_keeps_no_annotation(stand: AnnotationStand) -> None:
    media_id, other = await stand.add(), await stand.add()
    for each in (media_id, other):
        await stand.say(each, DETECTOR, *["secret"] * 150)
    stores, object_store = stand.stores, stand.runtime.object_store
    await stores.deletions.request(media_id, owner_id="anna", requested_by="anna", purpose="COMMUNITY", objects=[])
    job = Job("job", JobKind.DELETE, media_id, Lane.STANDARD, 1, 1, MOMENT)
    await remove_objects(job, stores=stores, object_store=object_store)
    left = await stand.media(media_id)
    assert not {key for key in left if "annot" in key or key == "labels"}
    assert await stand.runtime.database.annotations.count_documents({"media_id": media_id}) == 0
    assert len(await stand.assert_sound(other)) == 150
    [error] = (await stand.annotate(ANNA, media_id, annotations=said("cat")))["userErrors"]
    assert error["code"] == "NOT_FOUND"
