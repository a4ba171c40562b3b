"""`indexes` on a real mongod: builds that are killed and joined, drift, hiding before dropping, usage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from motor.motor_asyncio import AsyncIOMotorClient
from pydantic import SecretStr

from indexes.ensure import DECLARED, check, ensure, rebuild
from service.cancellation import end
from service.commands.indexes import apply_indexes, change_indexes, compare_indexes, show_usage
from service.dev import mongod as embedded
from service.dev.processes import Children
from service.index_upkeep.building import BuildOptions, build_missing
from service.settings import MongoSettings, Settings
from service.stores.database import Database, open_database
from service.stores.index_builds import IndexBuilds
from service.stores.index_usage import Unreachable, Usage, read_usage

HASTY = BuildOptions(max_wait_s=5, poll_s=0.05)


@pytest.fixture(scope="module")
async def uri(tmp_path_factory: pytest.TempPathFactory, ports: Iterator[int]) -> AsyncIterator[str]:
    """A mongod of these tests' own, whose index builds can be held up."""
    children, folder = Children(tmp_path_factory.mktemp("logs")), tmp_path_factory.mktemp("held")
    flags = embedded._flags
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded, "_flags", lambda *args: [*flags(*args), "--setParameter", "enableTestCommands=1"])
        yield await embedded.start_mongod(children, folder, next(ports))
    await children.stop_all()


@pytest.fixture
def settings(uri: str) -> Settings:
    mongo = MongoSettings(uri=SecretStr(uri), database=f"test_{uuid4().hex[:12]}", timeout_ms=1_000)
    return Settings.model_construct(mongo=mongo)


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    async with open_database(settings.mongo) as opened:
        yield opened
        await opened.handle.client.drop_database(settings.mongo.database)


@pytest.fixture
def few_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what these tests are about, to save time: one index of media, and those of jobs and contents."""
    feed = next(index for index in DECLARED["media"] if index.name == "feed")
    monkeypatch.setitem(DECLARED, "media", (feed,))  # type: ignore[arg-type]
    for collection in DECLARED.keys() - {"media", "jobs", "contents"}:
        monkeypatch.delitem(DECLARED, collection)  # type: ignore[arg-type]


@asynccontextmanager
async def held_builds(database: Database) -> AsyncIterator[None]:
    """No index build gets beyond its first phase until the block ends."""
    admin = database.handle.client["admin"]
    await admin.command({"configureFailPoint": "hangAfterStartingIndexBuild", "mode": "alwaysOn"})
    try:
        yield
    finally:
        await admin.command({"configureFailPoint": "hangAfterStartingIndexBuild", "mode": "off"})


async def until_told(told: asyncio.Queue[str], words: str) -> None:
    async with asyncio.timeout(10):
        while words not in await told.get():
            pass


async def names(database: Database, collection: str = "media") -> set[str]:
    return set(await database.handle[collection].index_information())


async def test_a_build_outlives_its_command_and_is_joined_by_the_next(database: Database, few_declared: None) -> None:
    await ensure(database.handle)
    await database.media.drop_index("feed")
    await database.media.insert_many([{"purpose": "COMMUNITY", "status": "READY"} for _ in range(200)])
    builds, told = IndexBuilds(database), asyncio.Queue[str]()
    async with held_builds(database):
        first = asyncio.create_task(build_missing(await check(database.handle), builds, HASTY, tell=told.put_nowait))
        await until_told(told, "200 of 200")
        await end(first)
        [drift] = await check(database.handle)
        assert (drift.building, drift.missing) == (("feed",), ())
        second = asyncio.create_task(build_missing([drift], builds, HASTY, tell=told.put_nowait))
        # Longer than any other operation may take: builds have no deadline.
        await asyncio.sleep(1.2)
        assert not second.done()
        [build] = await builds.under_way() or []
        assert (build.collection, build.names) == ("media", ("feed",))
    await second
    await until_told(told, "media.feed: built in ")
    assert await check(database.handle) == []


async def test_apply_builds_everything_and_a_second_time_nothing(
    settings: Settings, database: Database, few_declared: None, capsys: pytest.CaptureFixture[str]
) -> None:
    await database.media.insert_one({"purpose": "COMMUNITY"})
    assert await compare_indexes(settings) == 1
    assert "media lacks feed. Create it: python -m service indexes --apply" in capsys.readouterr().out
    assert await apply_indexes(settings, HASTY) == 0
    steps = capsys.readouterr().err.splitlines()
    declared = sum(map(len, DECLARED.values()))
    assert sum("built in" in step for step in steps) == declared
    # The one collection that is not empty comes last.
    assert all(step.startswith("media.") for step in steps[-2 * len(DECLARED["media"]) :])
    assert await apply_indexes(settings, HASTY) == 0
    said = capsys.readouterr()
    assert (said.err, said.out) == ("", "Indexes are as declared.\n")
    assert await compare_indexes(settings) == 0
    assert "1 documents" in capsys.readouterr().out


async def test_an_index_is_hidden_before_it_is_dropped_and_a_declared_one_never(
    settings: Settings, database: Database, few_declared: None, capsys: pytest.CaptureFixture[str]
) -> None:
    await ensure(database.handle)
    await database.media.create_index("title", name="stray")
    for asked in ({"drop": ["media.stray"]}, {"hide": ["media.feed"]}, {"drop": ["media.feed"]}):
        assert await change_indexes(settings, asked) == 2
    for place in ("media._id_", "media.nothing", "nowhere.stray", "stray"):
        assert await change_indexes(settings, {"drop": [place]}) == 2
    assert {"stray", "feed", "_id_"} <= await names(database)
    assert [drift.hidden for drift in await check(database.handle)] == [()]
    assert "Hide it first (--hide media.stray)" in capsys.readouterr().err

    probe = {"find": "media", "filter": {"title": "x"}, "hint": "stray"}
    await database.handle.command({"explain": probe})
    assert await change_indexes(settings, {"hide": ["media.stray"]}) == 0
    plan = await database.handle.command({"explain": {"find": "media", "filter": {"title": "x"}}})
    assert "stray" not in str(plan["queryPlanner"]["winningPlan"])
    assert await change_indexes(settings, {"unhide": ["media.stray"]}) == 0
    assert "media.stray may be used again." in capsys.readouterr().out
    assert await change_indexes(settings, {"unhide": ["media.stray"]}) == 0
    assert "media.stray was not hidden" in capsys.readouterr().out
    plan = await database.handle.command({"explain": {"find": "media", "filter": {"title": "x"}}})
    assert "stray" in str(plan["queryPlanner"]["winningPlan"])
    # Not both at once: nobody would have seen what misses it.
    assert await change_indexes(settings, {"hide": ["media.stray"], "drop": ["media.stray"]}) == 2
    assert "see for a day" in capsys.readouterr().err
    assert "hidden" not in (await database.media.index_information())["stray"]
    for asked in ({"hide": ["media.stray"]}, {"drop": ["media.stray"]}):
        assert await change_indexes(settings, asked) == 0
    assert "stray" not in await names(database)
    assert await check(database.handle) == []


async def test_a_changed_index_is_told_and_left_to_people(
    settings: Settings, database: Database, few_declared: None, capsys: pytest.CaptureFixture[str]
) -> None:
    await ensure(database.handle)
    await database.jobs.drop_index("inspection")
    await database.jobs.create_index("state", name="inspection")
    await database.jobs.create_index("lane", name="expiring")
    assert await apply_indexes(settings, HASTY) == 1
    said = capsys.readouterr().out
    assert "jobs.inspection is another index than the one declared under that name. A name never changes" in said
    assert "jobs.expiring is declared nowhere" in said
    # Made by hand: it may go, since it is not what was declared.
    for action in ("hide", "drop"):
        assert await change_indexes(settings, {action: ["jobs.inspection"]}) == 0
    assert await apply_indexes(settings, HASTY) == 1
    assert [drift.undeclared for drift in await check(database.handle)] == [("expiring",)]


async def test_the_same_index_under_another_name_is_refused_in_words(
    settings: Settings, database: Database, few_declared: None, capsys: pytest.CaptureFixture[str]
) -> None:
    await database.contents.create_index("refs", name="references")
    assert await apply_indexes(settings, HASTY) == 2
    assert "references" in capsys.readouterr().err
    assert "refs" not in await names(database, "contents")


async def test_usage_is_told_by_member_and_away_ones_are_named(
    settings: Settings, database: Database, few_declared: None, capsys: pytest.CaptureFixture[str]
) -> None:
    await ensure(database.handle)
    await database.contents.insert_one({"refs": [1]})
    for _ in range(3):
        await database.contents.find_one({"refs": 1})
    found = [each async for each in read_usage(database, settings.mongo, ["contents"])]
    counts = {each.index: each.operations for each in found if isinstance(each, Usage)}
    assert (counts["refs"], counts["object"]) == (3, 0)
    assert await show_usage(settings) == 0
    out = capsys.readouterr().out
    assert "contents.refs" in out
    assert "counted for 0 hours only" in out
    nowhere = settings.mongo.model_copy(update={"uri": SecretStr("mongodb://a:b@127.0.0.1:1/?replicaSet=rs0")})
    [away] = [each async for each in read_usage(database, nowhere, ["contents"])]
    assert isinstance(away, Unreachable)


async def test_ensure_twice_changes_nothing_and_drift_is_told_not_dropped(uri: str) -> None:
    client: AsyncIOMotorClient[Any] = AsyncIOMotorClient(uri)
    handle = client[f"test_drift_{uuid4().hex[-12:]}"]
    try:
        missing = await check(handle)
        assert {drift.collection for drift in missing} == set(DECLARED)
        assert await ensure(handle) == []
        assert await ensure(handle) == []
        await handle["media"].create_index([("surprise", 1)], name="surprise")
        await handle["media"].drop_index("feed")
        await handle["media"].create_index([("purpose", 1)], name="feed")
        [drift] = await ensure(handle)
        assert (drift.undeclared, drift.different, drift.missing) == (("surprise",), ("feed",), ())
        [drift] = await rebuild(handle)
        assert (drift.undeclared, drift.different, drift.missing) == (("surprise",), (), ())
    finally:
        await client.drop_database(handle.name)
        client.close()
