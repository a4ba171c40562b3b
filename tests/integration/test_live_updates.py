"""Following captures, feeds and deletions: who hears of what, and when it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from uuid6 import uuid7

from schema.global_id import encode_id, id_of
from service.access import ANONYMOUS, Viewer
from service.change_feed import MAX_WAITING, READY, ChangeFeed
from service.errors import TemporarilyUnavailable
from service.feed_updates import follow_feed
from service.lifecycle import MediaStatus
from service.models import DeletionStage, MediaPurpose
from service.stores.changes import Change
from service.stores.media import MediaStore
from tests.documents import ready_media
from tests.integration.conftest import RunningService
from tests.photos import small_photo

CAPTURE = """
subscription ($id: ID!, $after: String) { captureStatus(captureId: $id, after: $after) { status cursor media { id } } }
"""
FEED = "subscription ($purpose: MediaPurpose!) { feedUpdates(purpose: $purpose) { id status title } }"
DELETION = "subscription ($id: ID!) { deletionProgress(id: $id) { stage objectsTotal objectsRemoved mediaId } }"


class Heard:
    """What a subscription sends, in the background; `until` waits for as many events."""

    def __init__(self, events: AsyncIterator[Any]) -> None:
        self.events: list[Any] = []
        self._more = asyncio.Condition()
        self.task = asyncio.create_task(self._collect(events))

    async def _collect(self, events: AsyncIterator[Any]) -> None:
        async for event in events:
            async with self._more:
                self.events.append(event)
                self._more.notify_all()

    async def until(self, count: int) -> list[Any]:
        async with asyncio.timeout(10), self._more:
            await self._more.wait_for(lambda: len(self.events) >= count)
        return self.events

    async def end(self) -> list[Any]:
        async with asyncio.timeout(20):
            await self.task
        return self.events


@asynccontextmanager
async def hearing(events: AsyncIterator[Any]) -> AsyncIterator[Heard]:
    heard = Heard(events)
    try:
        yield heard
    finally:
        heard.task.cancel()
        await asyncio.wait([heard.task])


def unfinished(**changed: Any) -> dict[str, Any]:
    """A media one step before READY."""
    media = ready_media(**changed)
    return {**media, "status": "PROCESSING", "status_sequence": 3, "status_history": media["status_history"][:3]}


@pytest.fixture
async def finish(service: RunningService) -> Callable[[UUID], Awaitable[None]]:
    store = MediaStore(service.runtime.database)

    async def finish(media_id: UUID) -> None:
        assert await store.transition(media_id, MediaStatus.READY) is not None

    return finish


async def test_a_capture_is_followed_with_those_that_join_it(service: RunningService) -> None:
    anna, capture = service.client("anna"), f"walk-{uuid7()}"
    first = await anna.send(small_photo(21), captureId=capture)
    async with hearing(anna.subscribe(CAPTURE, id=capture)) as heard:
        assert [event["status"] for event in await heard.until(1)] == ["UPLOADED"]
        second = await anna.send(small_photo(22), captureId=capture)
        await heard.until(3)
        async with service.working():
            events = await heard.end()
    courses = {each: [event["status"] for event in events if event["media"]["id"] == each] for each in (first, second)}
    assert courses == {
        first: ["UPLOADED", "PROCESSING", "READY"],
        second: ["INITIATED", "UPLOADED", "PROCESSING", "READY"],
    }
    # Resumed from any place it tells the rest and nothing twice.
    for place in (0, 3):
        resumed = [each async for each in anna.subscribe(CAPTURE, id=capture, after=events[place]["cursor"])]
        rest = [(event["media"]["id"], event["status"]) for event in events[place + 1 :]]
        told = [(event["media"]["id"], event["status"]) for event in resumed]
        if place:
            assert sorted(told) == sorted(rest)
        else:
            # One that joined since begins with its present status.
            assert told == [(first, "PROCESSING"), (first, "READY"), (second, "READY")]


async def test_a_resumed_capture_tells_of_a_deletion_meanwhile(service: RunningService) -> None:
    anna, capture = service.client("anna"), f"walk-{uuid7()}"
    ids = [await anna.send(small_photo(seed), captureId=capture) for seed in (23, 24)]
    async with hearing(anna.subscribe(CAPTURE, id=capture)) as heard:
        cursor = (await heard.until(2))[-1]["cursor"]
    await anna.delete(*ids)
    async with service.working():
        # Until nothing says any more which capture they were of.
        while await service.runtime.database.media.count_documents({"capture_id": capture}):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    events = [event async for event in anna.subscribe(CAPTURE, id=capture, after=cursor)]
    assert {event["media"]["id"] for event in events if event["status"] == "DELETED"} == set(ids)


async def test_captures_of_others_are_unknown_but_for_what_is_public(service: RunningService) -> None:
    capture = f"walk-{uuid7()}"
    public = ready_media(capture_id=capture)
    hidden = ready_media(capture_id=capture, visibility="PRIVATE")
    await service.runtime.database.media.insert_many([public, hidden, unfinished(capture_id=capture)])
    events = [event async for event in service.client("bert").subscribe(CAPTURE, id=capture)]
    assert [event["media"]["id"] for event in events] == [encode_id("Media", public["_id"])]
    with pytest.raises(AssertionError, match="NOT_FOUND"):
        await Heard(service.client("bert").subscribe(CAPTURE, id="no-such-capture")).end()


async def test_a_feed_tells_of_what_becomes_ready_to_those_who_may_see_it(
    service: RunningService, finish: Callable[[UUID], Awaitable[None]]
) -> None:
    shown, private, other = unfinished(), unfinished(visibility="PRIVATE"), unfinished(purpose="COVER")
    last = unfinished()
    media = service.runtime.database.media
    await media.insert_many([shown, private, other, last])
    stranger, owner = service.client(None), service.client("anna")
    variables = {"purpose": "COMMUNITY"}
    async with (
        hearing(stranger.subscribe(FEED, **variables)) as seen,
        hearing(owner.subscribe(FEED, **variables)) as own,
    ):
        await followers(service.change_feed, 2)
        for each in (shown, private, other, last):
            await finish(each["_id"])
        expected = [encode_id("Media", each["_id"]) for each in (shown, last)]
        assert [event["id"] for event in await seen.until(2)] == expected
        everything = [encode_id("Media", each["_id"]) for each in (shown, private, last)]
        assert [event["id"] for event in await own.until(3)] == everything
        # What was hidden in the meantime is not shown.
        late = unfinished()
        await media.insert_one(late)
        await media.update_one({"_id": late["_id"]}, {"$set": {"visibility": "PRIVATE"}})
        await finish(late["_id"])
        assert len(await own.until(4)) == 4
        assert len(seen.events) == 2


async def test_one_query_answers_all_whom_a_change_wakes(
    service: RunningService, finish: Callable[[UUID], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    queries, get_many = [], MediaStore.get_many

    async def counted(self: MediaStore, ids: Any, **given: Any) -> Any:
        queries.append(set(ids))
        return await get_many(self, ids, **given)

    monkeypatch.setattr(MediaStore, "get_many", counted)
    media, feed = unfinished(visibility="PRIVATE"), service.change_feed
    await service.runtime.database.media.insert_one(media)
    viewers = [Viewer("anna"), ANONYMOUS, Viewer("bert"), Viewer("carl", frozenset({"moderator"}))] * 25
    updates = [follow_feed(each, MediaPurpose.COMMUNITY, fields={"title"}, change_feed=feed) for each in viewers]
    tasks = [asyncio.create_task(anext(each)) for each in updates]
    await followers(feed, len(tasks))
    await finish(media["_id"])
    async with asyncio.timeout(10):
        told = await asyncio.gather(
            *(task for task, viewer in zip(tasks, viewers, strict=True) if viewer.id in {"anna", "carl"})
        )
    assert [each["_id"] for each in told] == [media["_id"]] * 50
    assert queries == [{media["_id"]}]
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def followers(feed: ChangeFeed, count: int) -> None:
    """Return once so many hear of media that become ready."""
    async with asyncio.timeout(10):
        while len(feed._followers.get(READY, ())) < count:  # noqa: ASYNC110 - they come in the server's tasks
            await asyncio.sleep(0.01)


async def test_a_reader_who_is_too_slow_is_told_so_and_costs_no_memory(service: RunningService) -> None:
    feed = ChangeFeed(service.runtime.database)
    feed._watching.set()
    updates = follow_feed(ANONYMOUS, MediaPurpose.COMMUNITY, fields=(), change_feed=feed)
    waiting = asyncio.create_task(anext(updates))
    await followers(feed, 1)
    for _ in range(10 * MAX_WAITING):
        await feed._hear_change(Change("media", uuid7(), None, "READY"))
    [follower] = feed._followers[READY]
    assert len(follower._changed or ()) <= MAX_WAITING
    with pytest.raises(TemporarilyUnavailable):
        await waiting
    assert feed._followers == {}


async def test_a_deletion_is_followed_to_its_last_stage(service: RunningService, no_deletion_window: None) -> None:
    anna = service.client("anna")
    media_id = await anna.send(small_photo(25))
    [deletion] = (await anna.delete(media_id))["deletions"]
    async with hearing(anna.subscribe(DELETION, id=deletion["id"])) as heard:
        assert [event["stage"] for event in await heard.until(1)] == ["HIDDEN"]
        async with service.working():
            assert [event["stage"] for event in await heard.until(2)] == ["HIDDEN", "OBJECTS_REMOVED"]
        # As it is written once the CDN says so.
        deletions, which = service.runtime.database.deletions, {"_id": id_of("Media", media_id)}
        await deletions.update_one(which, {"$set": {"stage": DeletionStage.CDN_INVALIDATED.value}})
        await heard.until(3)
        # No news to whoever follows it.
        await deletions.update_one(which, {"$set": {"looks": 7}})
        await deletions.update_one(which, {"$set": {"stage": DeletionStage.VERIFIED.value}})
        events = await heard.end()
    stages = [event["stage"] for event in events]
    assert stages == ["HIDDEN", "OBJECTS_REMOVED", "CDN_INVALIDATED", "VERIFIED"]
    assert {event["mediaId"] for event in events} == {media_id}
    # Over already: the last stage, and the end.
    assert [event async for event in anna.subscribe(DELETION, id=deletion["id"])] == events[-1:]
    for subject in ("bert", None):
        with pytest.raises(AssertionError, match="NOT_FOUND"):
            await Heard(service.client(subject).subscribe(DELETION, id=deletion["id"])).end()
