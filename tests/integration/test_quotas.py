"""Bytes that owners have stored and may send: exact in races, after crashes, and in any order of events."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as trying
from hypothesis import strategies as st
from uuid6 import uuid7

from indexes.ensure import ensure
from service.documents import MediaDocument, UploadDocument
from service.errors import ErrorCode, Problem
from service.lifecycle import AWAITING_BYTES, MediaStatus, sources_of
from service.models import Holding
from service.processing_retry import RETRY_FIELDS, step_back
from service.quota_recounts import recount_owners
from service.quotas import MOST_OPEN, Wanted, count, look_after, look_after_quotas, reserve, settle
from service.rate_limits import Budget, RateLimiter, key_of_viewer, keys_of_viewer
from service.settings import Settings
from service.stores import Stores, bind_stores
from service.stores.database import Database, open_database
from service.stores.quota_marks import Counted
from service.stores.quotas import ByteLimits, Move
from service.stores.rate_limits import DatabaseWindows

S = MediaStatus
REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))


@pytest.fixture(scope="module")
async def database(settings: Settings) -> AsyncIterator[Database]:
    async with open_database(settings.mongo) as opened:
        await ensure(opened.handle)
        yield opened


@pytest.fixture(scope="module")
def stores(database: Database) -> Stores:
    return bind_stores(database)


async def write(stores: Stores, owner: str, media_id: UUID, size: int, *, session: bool = True) -> None:
    """What createUploads writes once it has reserved."""
    media = MediaDocument(
        _id=media_id, owner_id=owner, purpose="COMMUNITY", visibility="PRIVATE", kind="IMAGE",
        content={"type": "image/jpeg", "bytes": size}, original={"bucket": "uploads", "key": f"k/{media_id}"},
    )  # fmt: skip
    await stores.media.insert_initiated([media])
    if session:
        now = datetime.now(UTC)
        upload = UploadDocument(
            _id=media_id, owner_id=owner, purpose="COMMUNITY", method="SINGLE", bucket="uploads", key=f"k/{media_id}",
            content_type="image/jpeg", bytes=size, sha256="", client={}, created_at=now, expires_at=now,
        )  # fmt: skip
        await stores.uploads.insert([upload])


async def stored(stores: Stores, owner: str) -> tuple[int, int, int]:
    """What is stored, reserved and sent today."""
    sums = await stores.quotas.get(owner)
    assert sums is not None
    return sums["stored"], sums["reserved"], sums["sent"]


async def opened(stores: Stores, owner: str, size: int, limits: ByteLimits = ByteLimits()) -> UUID | Problem:  # noqa: B008
    media_id = uuid7()
    problems = await reserve(owner, [Wanted(media_id, size, 0)], limits=limits, is_repeat=False, stores=stores)
    if problems:
        return problems[media_id]
    await write(stores, owner, media_id, size)
    return media_id


async def arrive(stores: Stores, owner: str, media_id: UUID) -> None:
    await stores.media.transition(media_id, S.UPLOADED, sources=AWAITING_BYTES)
    await settle(owner, media_id, stores=stores)


async def racer(settings: Settings, *arguments: object) -> Process:
    environment = {
        **os.environ,
        "MEDIA_ENVIRONMENT": "development",
        "MEDIA_MONGO__URI": settings.mongo.uri.get_secret_value(),
        "MEDIA_MONGO__DATABASE": settings.mongo.database,
    }
    argv = ("-m", "tests.limit_racer", *map(str, arguments))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *argv, stdin=PIPE, stdout=PIPE, env=environment, cwd=REPOSITORY
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    return process


async def test_four_processes_are_given_what_there_is_and_nothing_more(settings: Settings, stores: Stores) -> None:
    limit, size, total = 5_000, 1_000, 100_500
    owner = f"racing {uuid4()}"
    processes = await asyncio.gather(*(racer(settings, owner, limit, size, owner, total) for _ in range(4)))
    answers = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    given_out = [tuple(map(int, out.split())) for out, _ in answers]
    assert sum(spent for spent, _ in given_out) == limit
    assert sum(reserved for _, reserved in given_out) == total // size
    assert await stored(stores, owner) == (0, 100_000, 100_000)


async def test_what_fits_is_reserved_file_by_file_and_the_rest_refused_with_its_place(stores: Stores) -> None:
    owner, limits = f"owner {uuid4()}", ByteLimits(daily=1_000, total=1_500)
    files = [Wanted(uuid7(), size, place, is_sent=sent) for place, (size, sent) in enumerate(
        ((600, True), (500, True), (400, True), (700, False), (500, False))
    )]  # fmt: skip
    problems = await reserve(owner, files, limits=limits, is_repeat=False, stores=stores)
    assert {each.position for each in files if each.media_id in problems} == {1, 3}
    today, total = problems[files[1].media_id], problems[files[3].media_id]
    assert (today.code, today.field, today.retryable) == (ErrorCode.QUOTA_EXCEEDED, ("files", "1", "byteSize"), False)
    assert "have 400 left" in today.message
    assert "00:00 UTC" in today.message
    assert "have 500 left" in total.message
    # Known content is not sent, and is stored all the same.
    assert await stored(stores, owner) == (0, 1_500, 1_000)
    # The same request again reserves nothing more, also when all of it has happened and been forgotten.
    for file in files[:1]:
        await write(stores, owner, file.media_id, file.bytes)
        await arrive(stores, owner, file.media_id)
        await stores.media.transition(file.media_id, S.PROCESSING)
        await stores.media.transition(file.media_id, S.READY)
    await look_after(owner, stores=stores)
    await reserve(owner, files, limits=limits, is_repeat=True, stores=stores)
    assert await stored(stores, owner) == (600, 900, 1_000)


async def test_a_new_day_and_abandoned_sessions_give_back_what_may_be_sent(database: Database, stores: Stores) -> None:
    owner, limits = f"owner {uuid4()}", ByteLimits(daily=1_000)
    first = await opened(stores, owner, 600, limits)
    assert isinstance(first, UUID)
    assert isinstance(await opened(stores, owner, 600, limits), Problem)
    await stores.media.transition(first, S.EXPIRED, sources=AWAITING_BYTES)
    await count(owner, first, stores=stores)
    await count(owner, first, stores=stores)
    assert await stored(stores, owner) == (0, 0, 0)
    second = await opened(stores, owner, 1_000, limits)
    assert isinstance(second, UUID)
    yesterday = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    entry = f"entries.m{second.hex}.day"
    await database.quotas.update_one({"_id": owner}, {"$set": {"day": yesterday, entry: yesterday}})
    third = await opened(stores, owner, 1_000, limits)
    assert isinstance(third, UUID)
    # What was sent yesterday is given back yesterday.
    await stores.media.transition(second, S.EXPIRED, sources=AWAITING_BYTES)
    await count(owner, second, stores=stores)
    assert await stored(stores, owner) == (0, 1_000, 1_000)


async def test_open_sessions_of_one_owner_are_bounded(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.quotas.MOST_OPEN", 2)
    owner = f"owner {uuid4()}"
    outcomes = [await opened(stores, owner, 10) for _ in range(3)]
    assert [isinstance(each, UUID) for each in outcomes] == [True, True, False]
    assert MOST_OPEN == 10_000


async def test_owners_of_earlier_releases_and_sums_that_were_altered_are_counted_anew(
    database: Database, stores: Stores
) -> None:
    owner, sizes = f"earlier {uuid4()}", (100, 250, 7)
    for size in sizes:
        media_id = uuid7()
        await write(stores, owner, media_id, size)
        for status in (S.UPLOADED, S.PROCESSING, S.READY):
            await stores.media.transition(media_id, status)
    [found] = [each async for each in recount_owners(repair=False, owner_id=owner, stores=stores)]
    assert (found.counted, found.stored, found.uncounted) == (0, 357, 3)
    assert await stores.quotas.get(owner) is None, "looking changes nothing"
    assert owner in {each.owner_id async for each in recount_owners(repair=True, stores=stores)}
    assert await stored(stores, owner) == (357, 0, 0)
    # One that nobody has counted yet is counted when it goes, and not below nothing.
    await database.quotas.update_one({"_id": owner}, {"$set": {"stored": 99}})
    [altered] = [each async for each in recount_owners(repair=True, owner_id=owner, stores=stores)]
    assert (altered.counted, altered.stored, altered.is_right) == (99, 357, False)
    assert await stored(stores, owner) == (357, 0, 0)
    limiter = RateLimiter(DatabaseWindows(database), window_s=600)
    for whose in (owner, "somebody else"):
        await limiter.take(Budget.READS, key_of_viewer(whose), 1, limit=10)
    await stores.quotas.forget_owner(owner)
    assert {row["_id"] async for row in database.rate_limits.find()} & {*keys_of_viewer(owner)} == set()
    assert await database.rate_limits.find_one({"_id": "reads:viewer:somebody else"}) is not None
    assert await stores.quotas.get(owner) is None


STEPS = ("open", "die after reserving", "arrive", "die after arriving", "process", "fail", "retry", "quarantine",
         "expire", "die after expiring", "delete", "die after deleting", "count", "upkeep", "repeat")  # fmt: skip


class Owner:
    """Everything that may happen to the uploads of one owner, and what should come of it."""

    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        self.id = f"anybody {uuid4()}"
        self.sizes: dict[UUID, int] = {}

    async def step(self, what: str, which: int, size: int) -> None:
        stores = self.stores
        if what in ("open", "die after reserving"):
            media_id = uuid7()
            await self._reserve(media_id, size, is_repeat=False)
            if what == "open":
                await write(stores, self.id, media_id, size, session=which % 4 != 0)
                self.sizes[media_id] = size
            return
        if what == "upkeep":
            await look_after(self.id, stores=stores)
            return
        if not self.sizes:
            return
        media_id = list(self.sizes)[which % len(self.sizes)]
        if what == "repeat":
            await self._reserve(media_id, self.sizes[media_id], is_repeat=True)
        elif what == "retry":
            media = await stores.media.get(media_id, fields=RETRY_FIELDS)
            if media is not None and media["status"] == S.FAILED:
                await step_back(media, media["status_sequence"], actor=self.id, stores=stores)
        else:
            await self._move(what, media_id)

    async def _move(self, what: str, media_id: UUID) -> None:
        targets = {
            "arrive": (S.UPLOADED, True), "die after arriving": (S.UPLOADED, False), "process": (S.READY, False),
            "fail": (S.FAILED, True), "quarantine": (S.QUARANTINED, False), "expire": (S.EXPIRED, True),
            "die after expiring": (S.EXPIRED, False), "delete": (S.DELETED, True),
            "die after deleting": (S.DELETED, False), "count": (None, True),
        }  # fmt: skip
        target, counts = targets[what]
        if target in (S.READY, S.FAILED):
            await self.stores.media.transition(media_id, S.PROCESSING)
        moved = None
        if target is not None:
            sources = AWAITING_BYTES if target is S.UPLOADED else sources_of(target)
            moved = await self.stores.media.transition(media_id, target, sources=sources)
        if what == "arrive" and moved is not None:
            await settle(self.id, media_id, stores=self.stores)
        elif counts:
            await count(self.id, media_id, stores=self.stores)

    async def _reserve(self, media_id: UUID, size: int, *, is_repeat: bool) -> None:
        wanted = [Wanted(media_id, size, 0)]
        assert not await reserve(self.id, wanted, limits=ByteLimits(), is_repeat=is_repeat, stores=self.stores)

    async def come_to_rest(self, database: Database) -> None:
        """What jobs and upkeep do sooner or later, and an hour later for who died before writing anything."""
        statuses = await self.stores.media.get_many(self.sizes, fields=())
        for media_id, media in statuses.items():
            if media["status"] == S.DELETED:
                await count(self.id, media_id, stores=self.stores)
        sums = await self.stores.quotas.get(self.id, None)
        long_ago = datetime.now(UTC) - timedelta(hours=2)
        for key in (sums or {"entries": {}})["entries"]:
            await database.quotas.update_one({"_id": self.id}, {"$set": {f"entries.{key}.at": long_ago}})
        for _ in range(2):
            await look_after(self.id, stores=self.stores)


# How far each of three uploads has come before anything else happens to it; upkeep has left those at rest.
COME_TO: Sequence[tuple[str, ...]] = (
    (), ("arrive",), ("arrive", "process"), ("arrive", "process", "upkeep"), ("arrive", "fail", "upkeep"),
    ("expire", "upkeep"), ("arrive", "quarantine", "upkeep"),
)  # fmt: skip


@trying(
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
    max_examples=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(
    begun=st.tuples(*[st.sampled_from(COME_TO)] * 3),
    steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 5), st.integers(1, 10_000)), max_size=12),
)
async def test_whatever_happens_the_sums_are_right_once_it_has_come_to_rest(
    database: Database, stores: Stores, begun: tuple[tuple[str, ...], ...], steps: list[tuple[str, int, int]]
) -> None:
    owner = Owner(stores)
    for which, so_far in enumerate(begun):
        await owner.step("open", 1, 500 + which)
        for what in so_far:
            await owner.step(what, which, 1)
    # Three at a time: requests, jobs and upkeep of one owner meet.
    for start in range(0, len(steps), 3):
        await asyncio.gather(*(owner.step(*step) for step in steps[start : start + 3]))
    await owner.come_to_rest(database)
    media = await stores.media.get_many(owner.sizes, fields=())
    counted = {S.UPLOADED, S.PROCESSING, S.READY, S.QUARANTINED}
    expected = sum(owner.sizes[each] for each, found in media.items() if found["status"] in counted)
    waiting = sum(owner.sizes[each] for each, found in media.items() if found["status"] in AWAITING_BYTES)
    assert (await stored(stores, owner.id))[:2] == (expected, waiting)
    [found] = [each async for each in recount_owners(repair=False, owner_id=owner.id, stores=stores)]
    assert found.is_right
    sums = await stores.quotas.get(owner.id)
    assert sums is not None
    under_way = AWAITING_BYTES | {S.UPLOADED, S.PROCESSING}
    assert sums["listed"] == sum(each["status"] in under_way for each in media.values()), "what rests has no entry"


async def test_who_looked_before_an_entry_was_dropped_cannot_count_it_again(stores: Stores) -> None:
    owner = f"late {uuid4()}"
    media_id = await opened(stores, owner, 70)
    assert isinstance(media_id, UUID)
    seen = await stores.quotas.get(owner)
    assert seen is not None
    await arrive(stores, owner, media_id)
    for status in (S.PROCESSING, S.READY):
        await stores.media.transition(media_id, status)
    await look_after(owner, stores=stores)
    late = {"generation": seen["generation"]}
    assert not await stores.quotas.reserve(owner, {media_id: (70, 70)}, limits=ByteLimits(), **late)
    nothing, whole = Counted(), Counted(Holding.STORED, 70, 1)
    assert not await stores.quotas.move(owner, {media_id: Move(None, nothing, whole)}, **late)
    assert await stored(stores, owner) == (70, 0, 70)


async def test_upkeep_finds_owners_that_are_due(database: Database, stores: Stores) -> None:
    owner = f"due {uuid4()}"
    media_id = await opened(stores, owner, 40)
    assert isinstance(media_id, UUID)
    await stores.media.transition(media_id, S.UPLOADED, sources=AWAITING_BYTES)
    await database.quotas.update_one({"_id": owner}, {"$set": {"due_at": datetime.now(UTC) - timedelta(seconds=1)}})
    assert await look_after_quotas(stores=stores) >= 1
    assert await stored(stores, owner) == (40, 0, 40)
