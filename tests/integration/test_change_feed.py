"""One change stream for a process: what its listeners hear, and that nothing is missed when it breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from uuid6 import uuid7

from service.cancellation import end
from service.change_feed import ChangeFeed
from service.lifecycle import MediaStatus
from service.settings import Settings
from service.stores.changes import Change
from service.stores.database import Database, open_database
from service.stores.media import MediaStore
from tests.documents import MOMENT


def stored_media() -> dict[str, Any]:
    """As much of a READY media as its status and its visibility need."""
    return {
        "_id": uuid7(),
        "owner_id": "anna",
        "purpose": "COMMUNITY",
        "visibility": "PUBLIC",
        "status": "READY",
        "status_sequence": 4,
        "status_history": [{"status": "READY", "sequence": 4, "at": MOMENT}],
        "tags": ["cat"],
        "renditions": [{"key": "a"}],
        "created_at": MOMENT,
        "updated_at": MOMENT,
    }


@pytest.fixture
async def database(fresh_settings: Settings) -> AsyncIterator[Database]:
    async with open_database(fresh_settings.mongo) as opened:
        yield opened


class Heard:
    """What one listener was told, in order."""

    def __init__(self) -> None:
        self._told: asyncio.Queue[Change | None] = asyncio.Queue()

    def __call__(self, change: Change | None) -> None:
        self._told.put_nowait(change)

    async def next(self) -> Change | None:
        async with asyncio.timeout(10):
            return await self._told.get()

    async def next_change(self) -> Change:
        while (change := await self.next()) is None:
            pass
        return change


@pytest.fixture
async def feed(database: Database) -> AsyncIterator[ChangeFeed]:
    feed = ChangeFeed(database)
    running = asyncio.create_task(feed.run())
    yield feed
    await end(running)


async def test_listeners_hear_of_every_write_and_of_which_fields(database: Database, feed: ChangeFeed) -> None:
    heard, media = Heard(), stored_media()
    stop = feed.listen(heard)
    assert not feed.is_live()
    # First of all: anything may have changed before.
    assert await heard.next() is None
    assert feed.is_live()
    await database.media.insert_one(media)
    assert await heard.next() == Change("media", media["_id"], None, "READY")
    await database.media.update_one({"_id": media["_id"]}, {"$set": {"visibility": "PRIVATE"}, "$unset": {"tags": ""}})
    assert (await heard.next_change()).fields == {"visibility", "tags"}
    await database.media.update_one({"_id": media["_id"]}, [{"$set": {"renditions": []}}])
    assert (await heard.next_change()).fields == {"renditions"}
    await MediaStore(database).transition(media["_id"], MediaStatus.DELETED)
    change = await heard.next_change()
    assert change.status == "DELETED"
    assert change.fields is not None
    assert {"status", "status_sequence", "status_history"} <= change.fields
    await database.media.delete_one({"_id": media["_id"]})
    assert await heard.next() == Change("media", media["_id"], None, None)
    stop()
    await database.media.insert_one(stored_media())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await heard._told.get()


async def test_documents_of_others_are_passed_over(database: Database, feed: ChangeFeed) -> None:
    heard, media = Heard(), stored_media()
    feed.listen(heard)
    assert await heard.next() is None
    odd = {**stored_media(), "status": 4, "capture_id": {"a": 1}}
    await database.media.insert_many([{"_id": {"a": 1}}, {"_id": "x", "status": "READY"}, odd, media])
    assert await heard.next() == Change("media", odd["_id"], None, None)
    assert await heard.next() == Change("media", media["_id"], None, "READY")
    assert feed.is_live()
