"""Media of earlier releases are migrated while others write: each once, none missed, whatever dies on the way."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr
from uuid6 import uuid7

from indexes.migrations import MEDIA_INDEXES
from service.dev.environment import environment_of
from service.errors import ConfigurationError
from service.migrations import MigrationOptions, Observer, Progress, Refusal, Superseded, migrate, survey
from service.migrations import run as running
from service.perceptual_hash import bands_of
from service.settings import Environment, MongoSettings, Settings
from service.stores.database import Database, open_database
from service.stores.migrations import MigrationStore, Write
from tests.documents import ready_media

TELLING = 0x0F0F_3C5A_55AA_1234
ANNOTATION = {"id": uuid7(), "label": "cat", "confidence": 0.55, "bounding_box": None, "text": None, "source": "user:a"}
CAT = [{"label": "cat", "step": 5, "confidence": 0.55}]


def old_media(**changed: Any) -> Any:
    """As the releases before the first migration wrote it."""
    return ready_media(schema_version=1, hashes={"phash": TELLING}, annotations=[ANNOTATION], **changed)


@pytest.fixture
async def database(mongod: str) -> AsyncIterator[Database]:
    settings = MongoSettings(uri=SecretStr(mongod), database=f"test_{uuid4().hex[:12]}")
    async with open_database(settings) as opened:
        specifications = [index.specification() for index in MEDIA_INDEXES]
        await opened.handle.command({"createIndexes": "media", "indexes": specifications})
        yield opened
        await opened.handle.client.drop_database(settings.database)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that wait for others ask more often."""
    monkeypatch.setattr(running, "PAUSE_S", 0.01)
    monkeypatch.setattr(running, "ASK_AGAIN_S", 0.02)


class Watcher:
    """Remembers what a run tells."""

    def __init__(self) -> None:
        self.pages: list[Progress] = []
        self.refusals: list[Refusal] = []
        self.holders: list[str] = []
        self.waits = asyncio.Event()

    def _wait(self, holder: str) -> None:
        self.holders.append(holder)
        self.waits.set()

    def observer(self) -> Observer:
        return Observer(on_page=self.pages.append, on_refusal=self.refusals.append, on_wait=self._wait)


async def run(database: Database, watcher: Watcher | None = None, **options: Any) -> Progress:
    observer = (watcher or Watcher()).observer()
    store = MigrationStore(database)
    return await migrate(MigrationOptions(**options), name=uuid4().hex, store=store, observer=observer)


async def writes_of(database: Database) -> dict[UUID, int]:
    """How often each media was updated, by the oplog."""
    oplog = database.handle.client["local"].get_collection("oplog.rs", codec_options=database.handle.codec_options)
    name = f"{database.handle.name}.media"
    counts: dict[UUID, int] = {}
    async for entry in oplog.find({"$or": [{"ns": name, "op": "u"}, {"o.applyOps.ns": name}]}):
        for each in entry["o"].get("applyOps", [entry]):
            if each["op"] == "u":
                counts[each["o2"]["_id"]] = counts.get(each["o2"]["_id"], 0) + 1
    return counts


async def test_media_of_all_releases_end_up_the_same_each_written_once(database: Database) -> None:
    first = [old_media() for _ in range(7)]
    second = [{**old_media(), "schema_version": 2, "hashes": {"phash": TELLING, "bands": [1, 2, 3]}} for _ in range(4)]
    new = ready_media(schema_version=3)
    gone = {"_id": uuid7(), "schema_version": 1, "status": "DELETED", "owner_id": "anna"}
    await database.media.insert_many([*first, *second, new, gone])
    assert (await survey(MigrationStore(database))).pending == 12
    watcher = Watcher()
    assert (await run(database, watcher, batch=5)).migrated == 12
    assert [page.migrated for page in watcher.pages] == [5, 10, 12]
    assert (await survey(MigrationStore(database))).pending == 0
    for media in first:
        assert await database.media.find_one({"_id": media["_id"]}) == {
            **media,
            "schema_version": 3,
            "hashes": {"phash": TELLING, "bands": bands_of(TELLING)},
            "labels": CAT,
            "annotation_count": 1,
        }
    # What a later migration does not concern stays as an earlier one left it.
    assert await database.media.distinct("hashes.bands", {"_id": second[0]["_id"]}) == [1, 2, 3]
    assert await database.media.find_one({"_id": gone["_id"]}) == {**gone, "schema_version": 3}
    assert await database.media.find_one({"_id": new["_id"]}) == new
    assert (await run(database)).migrated == 0
    assert set((await writes_of(database)).values()) == {1}
    assert len(await writes_of(database)) == 12


async def test_what_others_write_meanwhile_is_neither_lost_nor_missed(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    media = [old_media() for _ in range(30)]
    await database.media.insert_many(media[5:])
    read, later = MigrationStore.page_below, [{**ANNOTATION, "label": "dog"}]

    async def interfering(self: MigrationStore, *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        page = await read(self, *args, **kwargs)
        if media[10]["_id"] in {document["_id"] for document in page} and page[0]["schema_version"] == 1:
            # A process of the earlier release writes between the migration's look and its write, and behind it.
            await database.media.update_one({"_id": media[10]["_id"]}, {"$set": {"annotations": later}})
            await database.media.delete_one({"_id": media[11]["_id"]})
            if not await database.media.find_one({"_id": media[0]["_id"]}):
                await database.media.insert_many(media[:5])
        return page

    monkeypatch.setattr(MigrationStore, "page_below", interfering)
    done = await run(database, batch=10)
    assert (done.migrated, done.refused) == (29, 0)
    assert await database.media.count_documents({"schema_version": 3, "annotation_count": 1}) == 29
    rewritten = await database.media.find_one({"_id": media[10]["_id"]})
    assert [each["label"] for each in rewritten["labels"]] == ["dog"]
    assert rewritten["annotations"] == later


async def test_killed_half_way_it_goes_on_and_does_nothing_twice(database: Database, mongod: str) -> None:
    await database.media.insert_many([old_media() for _ in range(120)])
    mongo = MongoSettings(uri=SecretStr(mongod), database=database.handle.name)
    settings = Settings(environment=Environment.DEVELOPMENT, mongo=mongo)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "service", "migrate", "--up", "--rate", "100", "--batch", "7"),
        env={**os.environ, **environment_of(settings, ("mongo",))},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    while b"14 migrated" not in await process.stderr.readline():
        assert not process.stderr.at_eof()
    process.kill()
    await process.wait()
    store = MigrationStore(database)
    # Whoever was killed holds the lease for as long as it said; nobody waits for that here.
    await database.handle["migrations"].update_one({"_id": "lease"}, [{"$set": {"until": "$$NOW"}}])
    [interrupted] = await store.interrupted()
    assert 14 <= interrupted["migrated"] < 120
    watcher = Watcher()
    await run(database, watcher, batch=7)
    assert watcher.pages[0].migrated >= interrupted["migrated"]
    assert await database.media.count_documents({"schema_version": 3, "labels": CAT}) == 120
    assert set((await writes_of(database)).values()) == {1}
    assert await store.interrupted() == []


async def test_two_runs_take_turns(database: Database) -> None:
    await database.media.insert_many([old_media() for _ in range(20)])
    store, watcher = MigrationStore(database), Watcher()
    assert await store.hold("another", lease_s=60) is None
    waiting = asyncio.create_task(run(database, watcher))
    await asyncio.wait_for(watcher.waits.wait(), timeout=10)
    assert watcher.holders == ["another"]
    assert await database.media.count_documents({"schema_version": 1}) == 20
    await store.let_go("nobody")
    await store.let_go("another")
    assert (await waiting).migrated == 20


async def test_a_run_that_was_silent_for_too_long_stops(database: Database) -> None:
    await database.media.insert_many([old_media() for _ in range(4)])

    class Overtaken(MigrationStore):
        async def advance(self, run_id: str, **values: Any) -> None:
            await super().advance(run_id, **values)
            await database.handle["migrations"].update_one({"_id": "lease"}, {"$set": {"holder": "another"}})

    with pytest.raises(Superseded):
        await migrate(MigrationOptions(batch=2), name="mine", store=Overtaken(database), observer=Watcher().observer())
    assert await database.media.count_documents({"schema_version": 1}) == 2
    # The lease of the other is not this one's to end.
    assert await MigrationStore(database).hold("third", lease_s=1) is not None


async def test_down_leaves_what_the_earlier_release_wrote(database: Database) -> None:
    before = [old_media() for _ in range(12)]
    await database.media.insert_many(before)
    await run(database, batch=5)
    assert (await run(database, batch=5, down=True, to=2)).migrated == 12
    halfway = await database.media.find_one({"_id": before[3]["_id"]})
    assert halfway["hashes"]["bands"] == bands_of(TELLING)
    assert "labels" not in halfway
    assert (await run(database, batch=5, down=True, to=1)).migrated == 12
    assert await database.media.find().sort("_id", 1).to_list(20) == sorted(before, key=lambda media: media["_id"])


async def test_a_recheck_finds_what_processes_of_the_earlier_release_have_written_since(database: Database) -> None:
    media = [old_media() for _ in range(6)]
    await database.media.insert_many(media)
    await run(database)
    await database.media.update_one({"_id": media[2]["_id"]}, {"$set": {"annotations": [], "hashes": {"phash": 0}}})
    assert (await run(database)).migrated == 0
    assert (await run(database, recheck=True, batch=4)).migrated == 1
    mended = await database.media.find_one({"_id": media[2]["_id"]})
    assert (mended["labels"], mended["annotation_count"], mended["hashes"]) == ([], 0, {"phash": 0})


async def test_a_recheck_that_was_killed_looks_again_at_what_others_wrote(database: Database) -> None:
    current = {"schema_version": 3, "hashes": {"phash": TELLING, "bands": bands_of(TELLING)}}
    media = [ready_media(annotations=[ANNOTATION], **current) for _ in range(6)]
    await database.media.insert_many(media)

    class Contended(MigrationStore):
        async def write(self, writes: Sequence[Write]) -> int:
            # Of the first page, a process of the earlier release writes one between the look and the write.
            later = {"annotations": [{**ANNOTATION, "label": "dog"}]}
            await database.media.update_one({"_id": media[0]["_id"]}, {"$set": later})
            return await super().write(writes)

        async def advance(self, run_id: str, **values: Any) -> None:
            await super().advance(run_id, **values)
            raise ConnectionError("killed")

    options, observer = MigrationOptions(recheck=True, batch=2), Watcher().observer()
    with pytest.raises(ConnectionError):
        await migrate(options, name="mine", store=Contended(database), observer=observer)
    assert (await run(database, recheck=True, batch=2)).migrated == 6
    assert await database.media.count_documents({"labels.label": "cat"}) == 5
    assert await database.media.distinct("labels.label", {"_id": media[0]["_id"]}) == ["dog"]
    assert set((await writes_of(database)).values()) == {1, 2}


async def test_what_a_later_release_wrote_is_not_touched(database: Database) -> None:
    later = old_media() | {"schema_version": 4}
    await database.media.insert_one(later)
    assert await run(database) == Progress()
    for options in ({"recheck": True}, {"down": True, "to": 1}):
        watcher = Watcher()
        assert (await run(database, watcher, **options)).refused == 1
        assert "later release" in watcher.refusals[0].reason
    assert await database.media.find_one({}) == later


@pytest.mark.parametrize("version", [None, "1", True, [3], {}, 1.5, "missing"], ids=repr)
async def test_what_says_no_version_is_pending_and_told(database: Database, version: object) -> None:
    odd = old_media() | {"schema_version": version}
    if version == "missing":
        del odd["schema_version"]
    await database.media.insert_many([odd, old_media()])
    for options in ({}, {"recheck": True}, {"down": True, "to": 1}):
        watcher = Watcher()
        assert (await run(database, watcher, **options)).refused == 1
        assert {refusal.media_id for refusal in watcher.refusals} == {odd["_id"]}
        assert "Make it a number" in watcher.refusals[0].reason
        if "down" not in options:
            assert (await survey(MigrationStore(database))).pending == 1
    assert await database.media.find_one({"_id": odd["_id"]}) == odd


@pytest.mark.parametrize(("release", "options"), [(3, {"down": True, "to": 1}), (1, {})], ids=["down", "up"])
async def test_it_ends_although_media_go_on_being_written(
    database: Database, release: int, options: Mapping[str, Any]
) -> None:
    await database.media.insert_many([ready_media(schema_version=release) for _ in range(6)])

    class Busy(MigrationStore):
        async def write(self, writes: Sequence[Write]) -> int:
            written = await super().write(writes)
            await database.media.insert_one(ready_media(schema_version=release))
            return written

    async def go(store: MigrationStore) -> Progress:
        return await migrate(MigrationOptions(**options), name="mine", store=store, observer=Watcher().observer())

    done = await go(Busy(database))
    assert not done.is_settled
    assert await database.media.count_documents({"schema_version": release}) == 1
    # Once those processes are stopped it goes on to the end.
    done = await go(MigrationStore(database))
    assert (done.migrated, done.is_settled) == (1, True)
    assert await database.media.count_documents({"schema_version": release}) == 0


async def test_a_document_that_no_release_wrote_is_left_and_told(database: Database) -> None:
    odd = old_media() | {"annotations": "none"}
    await database.media.insert_many([odd, old_media()])
    watcher = Watcher()
    done = await run(database, watcher)
    assert (done.migrated, done.refused) == (1, 1)
    assert {refusal.media_id for refusal in watcher.refusals} == {odd["_id"]}
    assert await database.media.find_one({"_id": odd["_id"]}) == odd


async def test_without_the_index_nothing_is_scanned(database: Database) -> None:
    await database.media.insert_one(old_media())
    await database.media.drop_index("pending_3")
    assert (await survey(MigrationStore(database))).pending is None
    with pytest.raises(ConfigurationError, match="indexes --apply"):
        await run(database)
    assert await database.media.count_documents({"schema_version": 1}) == 1
