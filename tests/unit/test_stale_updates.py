"""What a slow subscriber is shown was judged when it takes it, not when it was read."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from service import fresh_documents
from service.access import ANONYMOUS
from service.change_feed import READY, ChangeFeed
from service.errors import NotFound
from service.feed_updates import follow_feed
from service.models import MediaPurpose
from service.status_events import follow_media
from service.stores.database import Database
from tests.documents import ready_media
from tests.in_memory import in_memory_database


@pytest.fixture
def database() -> Database:
    return in_memory_database()


@pytest.fixture
def feed(database: Database) -> ChangeFeed:
    feed = ChangeFeed(database)
    feed._watching.set()
    return feed


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The time as documents on their way see it: `now`, in seconds."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(fresh_documents, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


async def test_what_turns_private_while_a_reader_takes_its_time_is_not_shown(
    database: Database, feed: ChangeFeed, clock: SimpleNamespace
) -> None:
    shown, hidden, last = media = [ready_media() for _ in range(3)]
    await database.media.insert_many([dict(each) for each in media])
    updates = follow_feed(ANONYMOUS, MediaPurpose.COMMUNITY, fields={"title"}, change_feed=feed)
    first = asyncio.create_task(anext(updates))
    while READY not in feed._followers:  # noqa: ASYNC110 - it follows in its own task
        await asyncio.sleep(0)
    [follower] = feed._followers[READY]
    for each in media:
        follower.notify(each["_id"])
    assert (await first)["_id"] == shown["_id"]
    await database.media.update_one({"_id": hidden["_id"]}, {"$set": {"visibility": "PRIVATE"}})
    clock.now += 1
    assert (await anext(updates))["_id"] == last["_id"]


async def test_the_same_goes_for_statuses(database: Database, feed: ChangeFeed, clock: SimpleNamespace) -> None:
    shown, hidden = media = [ready_media() for _ in range(2)]
    await database.media.insert_many([dict(each) for each in media])
    ids = [each["_id"] for each in media]
    events = follow_media(ANONYMOUS, ids, after=None, fields={"title"}, change_feed=feed)
    assert (await anext(events)).media["_id"] == shown["_id"]
    await database.media.update_one({"_id": hidden["_id"]}, {"$set": {"visibility": "PRIVATE"}})
    clock.now += 1
    with pytest.raises(NotFound):
        await anext(events)
