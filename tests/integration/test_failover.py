"""Following through elections, deaths of the database and an oplog that no longer reaches back."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr
from pymongo.errors import AutoReconnect, PyMongoError
from uuid6 import uuid7

from service.access import Viewer
from service.cancellation import end
from service.change_feed import ChangeFeed
from service.dev.mongod import start_mongod
from service.dev.processes import Children
from service.lifecycle import MediaStatus
from service.settings import MongoSettings
from service.status_events import StatusEvent, follow_media
from service.stores.database import Database, open_database
from service.stores.media import MediaStore
from tests.documents import MOMENT

ANNA = Viewer("anna")
THE_REST = (MediaStatus.UPLOADED, MediaStatus.PROCESSING, MediaStatus.READY)


@dataclass
class OwnDatabase:
    """A mongod of these tests' own, which may be stopped and started."""

    children: Children
    folder: Path
    port: int
    database: Database

    async def die_and_come_back(self) -> None:
        """kill -9, then a start on the same data."""
        [mongod] = self.children.running
        mongod.process.send_signal(signal.SIGKILL)
        await self.children.stop_all()
        await start_mongod(self.children, self.folder, self.port)

    async def elect(self) -> None:
        """The primary steps down; a second later there is one again."""
        command = {"replSetStepDown": 1, "secondaryCatchUpPeriodSecs": 0, "force": True}
        await self.database.handle.client["admin"].command(command)


@pytest.fixture(scope="module")
async def own(tmp_path_factory: pytest.TempPathFactory, ports: Iterator[int]) -> AsyncIterator[OwnDatabase]:
    children, folder, port = Children(tmp_path_factory.mktemp("logs")), tmp_path_factory.mktemp("own"), next(ports)
    uri = await start_mongod(children, folder, port)
    async with open_database(MongoSettings(uri=SecretStr(uri), database="failover", timeout_ms=2_000)) as database:
        yield OwnDatabase(children, folder, port, database)
    await children.stop_all()


async def insert(database: Database) -> UUID:
    """A media that waits for its bytes."""
    media_id = uuid7()
    await database.media.insert_one(
        {
            "_id": media_id,
            "owner_id": "anna",
            "purpose": "COMMUNITY",
            "visibility": "PRIVATE",
            "status": "INITIATED",
            "status_sequence": 1,
            "status_history": [{"status": "INITIATED", "sequence": 1, "at": MOMENT}],
            "created_at": MOMENT,
            "updated_at": MOMENT,
        }
    )
    return media_id


async def move(database: Database, media_id: UUID, *targets: MediaStatus) -> None:
    """Write each status as soon as the database takes it."""
    for target in targets:
        async with asyncio.timeout(30):
            while True:
                try:
                    await MediaStore(database).transition(media_id, target)
                    break
                except PyMongoError:
                    await asyncio.sleep(0.1)


@asynccontextmanager
async def fed(database: Database) -> AsyncIterator[ChangeFeed]:
    feed = ChangeFeed(database)
    running = asyncio.create_task(feed.run())
    try:
        yield feed
    finally:
        await end(running)


def follow(feed: ChangeFeed, media_id: UUID, after: str | None = None) -> AsyncIterator[StatusEvent]:
    return follow_media(ANNA, [media_id], after=after, fields=(), change_feed=feed)


async def the_rest(events: AsyncIterator[StatusEvent]) -> list[tuple[MediaStatus, int]]:
    async with asyncio.timeout(30):
        return [(event.status, event.sequence) async for event in events]


@pytest.mark.parametrize("outage", ["elect", "die_and_come_back"])
async def test_no_change_is_missed_or_told_twice_across_an_outage(own: OwnDatabase, outage: str) -> None:
    media_id, told = await insert(own.database), []
    async with fed(own.database) as feed:
        feed.listen(told.append)
        events = follow(feed, media_id)
        assert (await anext(events)).status is MediaStatus.INITIATED
        await getattr(own, outage)()
        # Also while the stream is not back yet.
        moving = asyncio.create_task(move(own.database, media_id, *THE_REST))
        assert await the_rest(events) == [(status, number) for number, status in enumerate(THE_REST, start=2)]
        await moving
        # A follower who looks may be ahead of the stream.
        await eventually(lambda: sum(change is not None for change in told) == len(THE_REST))
    # The stream went on where it was: every write was heard, and whatever was in memory was forgotten meanwhile.
    assert [change.status for change in told if change is not None] == ["UPLOADED", "PROCESSING", "READY"]
    assert None in told


async def test_a_cursor_outlives_the_process_and_an_election(own: OwnDatabase) -> None:
    media_id = await insert(own.database)
    async with fed(own.database) as feed:
        cursor = (await anext(follow(feed, media_id))).cursor
    await own.elect()
    await move(own.database, media_id, *THE_REST)
    # Another process knows nothing but what the client brings along.
    async with fed(own.database) as feed:
        expected = [(status, number) for number, status in enumerate(THE_REST, start=2)]
        assert await the_rest(follow(feed, media_id, after=cursor)) == expected


class Aged:
    """A database whose change stream breaks when told to, and whose oplog then no longer reaches back so far."""

    def __init__(self, watching: Any) -> None:
        self._watching = watching
        self.is_broken = False
        self.resumptions: list[Any] = []

    @property
    def client(self) -> Any:
        return self._watching.client

    async def watch(self, pipeline: Any, *, resume_after: Any, **options: Any) -> Any:
        self.resumptions.append(resume_after)
        if resume_after is not None:
            # A token begins with a type byte and the seconds since 1970.
            data = resume_after["_data"]
            resume_after = {"_data": f"{data[:2]}00000001{data[10:]}"}
            self.is_broken = False
        stream = await self._watching.watch(pipeline, resume_after=resume_after, **options)
        try_next = stream.try_next

        async def next_or_break() -> Any:
            if self.is_broken:
                raise AutoReconnect("connection closed")
            return await try_next()

        stream.try_next = next_or_break
        return stream


async def test_where_the_oplog_ends_followers_begin_with_what_is_there(own: OwnDatabase) -> None:
    media_id, told = await insert(own.database), []
    aged = Aged(own.database.watching)
    async with fed(replace(own.database, watching=aged)) as feed:
        feed.listen(told.append)
        await feed.ready()
        following = asyncio.create_task(the_rest(follow(feed, media_id)))
        await move(own.database, media_id, MediaStatus.UPLOADED)
        await eventually(lambda: any(change is not None for change in told))
        aged.is_broken = True
        # The look that is under way ends with this, and is the last.
        await insert(own.database)
        await eventually(lambda: told[-1] is None)
        await move(own.database, media_id, MediaStatus.PROCESSING, MediaStatus.READY)
        assert (await following)[-2:] == [(MediaStatus.PROCESSING, 3), (MediaStatus.READY, 4)]
    # The server refused to resume (286), so the stream began anew; what is kept in memory was to be forgotten.
    assert [each is None for each in aged.resumptions] == [True, False, True]
    assert told.count(None) >= 3


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is awaited happens in the feed's task
            await asyncio.sleep(0.01)
