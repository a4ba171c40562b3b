"""The audit chains on a real database: what is written is on record, once, whoever dies or writes besides."""

from __future__ import annotations

import asyncio
import hashlib
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import structlog
from pymongo.errors import AutoReconnect
from typer.testing import CliRunner
from uuid6 import uuid7

from indexes.ensure import ensure
from service.__main__ import app
from service.access import Viewer
from service.audit import Finding, Head, PendingEntry, bucket_of, moment
from service.audit_upkeep import anchor_heads, read_anchors, verify_chains
from service.deletion import remove_objects, request_deletions
from service.dev.environment import environment_of
from service.media_changes import update_media
from service.models import Job, JobKind, Lane
from service.object_keys import anchor_prefix
from service.object_store import ObjectStore
from service.settings import Settings
from service.stores import Stores, bind_stores
from service.stores.audit import AuditStore
from service.stores.database import Database, open_database
from tests.documents import ready_media

ANNA = Viewer("anna")


@pytest.fixture
async def database(fresh_settings: Settings) -> AsyncIterator[Database]:
    async with open_database(fresh_settings.mongo) as opened:
        await ensure(opened.handle)
        yield opened


@pytest.fixture
def stores(database: Database) -> Stores:
    return bind_stores(database)


@pytest.fixture
async def storage(fresh_settings: Settings) -> AsyncIterator[ObjectStore]:
    store = ObjectStore(fresh_settings.storage)
    yield store
    await store.close()


async def stored(database: Database, count: int, owner: str = "anna") -> list[UUID]:
    media: list[Any] = [ready_media(owner_id=owner) for _ in range(count)]
    await database.media.insert_many(media)
    return [each["_id"] for each in media]


async def change(stores: Stores, media_id: UUID, **changes: Any) -> None:
    await update_media(ANNA, media_id, {"idempotency_key": uuid4().hex, **changes}, stores=stores)


async def delete(stores: Stores, *media_ids: UUID, bucket: str = "media-renditions") -> None:
    await request_deletions(ANNA, media_ids, idempotency_key=uuid4().hex, stores=stores, media_bucket=bucket)


async def on_record(database: Database) -> list[dict[str, Any]]:
    return await database.handle["audit"].find().sort("_id", 1).to_list(None)


async def waiting(database: Database) -> int:
    return await AuditStore(database).count_waiting()


async def faults(stores: Stores) -> list[Finding]:
    return [told async for told in verify_chains(stores.audit, []) if isinstance(told, Finding)]


async def test_changes_and_deletions_are_on_record_without_what_people_wrote(
    database: Database, stores: Stores, storage: ObjectStore, no_deletion_window: None
) -> None:
    [media_id] = await stored(database, 1)
    await database.media.update_one({"_id": media_id}, {"$set": {"original.bucket": storage.upload_bucket}})
    key = uuid4().hex
    for _ in range(2):
        raw = {"idempotency_key": key, "title": "My secret", "location": {"latitude": 48.1, "longitude": 11.5}}
        await update_media(ANNA, media_id, raw, stores=stores)
    for _ in range(2):
        await delete(stores, media_id, bucket=storage.media_bucket)
    at = await stores.media.server_time()
    job = Job(f"{media_id}:delete:1", JobKind.DELETE, media_id, Lane.STANDARD, attempt=1, fence=1, enqueued_at=at)
    for _ in range(2):
        await remove_objects(job, stores=stores, object_store=storage)
    entries = await on_record(database)
    assert [(each["action"], each["actor"]) for each in entries] == [
        ("media.changed", "anna"),
        ("deletion.requested", "anna"),
        ("deletion.objects_removed", "service"),
    ]
    assert {(each["owner"], each["subject"]) for each in entries} == {("anna", str(media_id))}
    assert entries[0]["details"] == {"fields": ["embedded.location", "is_location_settled", "location", "title"]}
    assert "secret" not in str(entries)
    assert "48.1" not in str(entries)
    assert (await waiting(database), await faults(stores)) == (0, [])


async def test_a_write_is_not_refused_where_its_entry_cannot_be_appended_yet(
    database: Database, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    [media_id] = await stored(database, 1)

    async def away(*_: object) -> None:
        raise AutoReconnect("gone")

    with monkeypatch.context() as patch:
        patch.setattr(AuditStore, "append", away)
        await change(stores, media_id, title="x")
        await delete(stores, media_id)
    assert (await on_record(database), await waiting(database)) == ([], 2)
    assert await stores.audit.settle_all() == 2
    assert [each["action"] for each in await on_record(database)] == ["media.changed", "deletion.requested"]
    assert await stores.audit.settle_all() == 0
    assert "audit_pending" not in (await database.media.find_one({"_id": media_id}) or {})


async def test_what_is_no_entry_is_reported_and_holds_up_no_other(
    database: Database, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.stores.audit.PAGE", 2)
    at = await stores.media.server_time()
    good = {**pending("anna", 1, at)}
    malformed: list[Any] = [
        [{"id": "broken"}],
        {"id": "no list"},
        [{**good, "at": "yesterday"}],
        [{**good, "owner": 7}],
        [{**good, "details": {"size": float("nan")}}],
        [{**good, "id": 7}, {**good, "id": "x"}],
    ]
    ids = await stored(database, len(malformed) + 1)
    for media_id, outbox in zip(ids, [*malformed, [good]], strict=True):
        await database.media.update_one({"_id": media_id}, {"$set": {"audit_pending": outbox}})
    await database.handle["holds"].insert_one({"_id": uuid7(), "audit_pending": [pending("ben", 1, at)]})
    backlog = await stores.audit_reads.backlog()
    assert (backlog.number, backlog.oldest) == (8, at)
    with structlog.testing.capture_logs() as logs:
        assert await stores.audit.settle_all() == 2
    assert {each["id"] for each in logs if each["log_level"] == "error"} == {str(each) for each in ids[:-1]}
    assert {each["id"] for each in await on_record(database)} == {"anna:1", "ben:1"}
    assert (await waiting(database), await faults(stores)) == (len(malformed), [])


async def start(settings: Settings, where: str, owner: str, ids: list[UUID]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.audit_killable", where, owner, *map(str, ids)),
        env=environment_of(settings, ("mongo",)),
        stdout=asyncio.subprocess.PIPE,
    )


@pytest.mark.parametrize("where", ["append", "clear"])
async def test_a_writer_killed_on_the_way_to_the_chain_leaves_one_entry(
    where: str, fresh_settings: Settings, database: Database, stores: Stores
) -> None:
    ids = await stored(database, 1)
    process = await start(fresh_settings, where, "anna", ids)
    assert await process.wait() == -signal.SIGKILL
    assert await waiting(database) == 1
    assert len(await on_record(database)) == (1 if where == "clear" else 0)
    # Whoever comes, and all at once.
    await asyncio.gather(*(AuditStore(database).settle_all() for _ in range(4)))
    [entry] = await on_record(database)
    assert (entry["action"], entry["subject"]) == ("media.changed", str(ids[0]))
    assert (await waiting(database), await faults(stores)) == (0, [])


async def test_of_four_writing_processes_of_which_two_are_killed_nothing_is_lost_or_doubled(
    fresh_settings: Settings, database: Database, stores: Stores
) -> None:
    # One owner: all of them append to the same chain.
    batches = [await stored(database, 30) for _ in range(4)]
    processes = [await start(fresh_settings, "never", "anna", ids) for ids in batches]
    for process, lines in zip(processes[:2], (3, 11), strict=True):
        assert process.stdout is not None
        for _ in range(lines):
            assert await process.stdout.readline()
        process.kill()
    await asyncio.gather(*(process.communicate() for process in processes))
    assert [process.returncode for process in processes[2:]] == [0, 0]
    await AuditStore(database).settle_all()
    changed = await database.media.distinct("_id", {"last_change": {"$exists": True}})
    deleted = await database.deletions.distinct("_id")
    assert len(changed) >= 60 + 3 + 11
    expected = Counter([*(("media.changed", str(each)) for each in changed)])
    expected += Counter([("deletion.requested", str(each)) for each in deleted])
    assert Counter((each["action"], each["subject"]) for each in await on_record(database)) == expected
    assert (await waiting(database), await faults(stores)) == (0, [])


def pending(owner: str, number: int, at: Any) -> PendingEntry:
    entry: Any = {"id": f"{owner}:{number}", "action": "media.changed", "actor": owner, "owner": owner, "at": at}
    return {**entry, "subject": uuid7(), "details": {"fields": ["title"]}}


async def test_more_than_a_page_from_several_at_once_is_one_chain(
    database: Database, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.stores.audit.PAGE", 7)
    at = await stores.media.server_time()
    entries = [pending("anna", number, at) for number in range(60)]
    writers = [AuditStore(database) for _ in range(4)]
    # Each entry by two of them.
    await asyncio.gather(
        *(writer.append(entries[15 * part : 15 * part + 30]) for part, writer in enumerate(writers)),
        *(writers[0].append([entry]) for entry in entries[:10]),
    )
    found = await on_record(database)
    assert [each["sequence"] for each in found] == list(range(1, 61))
    assert {each["id"] for each in found} == {each["id"] for each in entries}
    assert await faults(stores) == []


def run(settings: Settings, *words: str) -> Any:
    environment = environment_of(settings, ("mongo", "storage", "delivery", "auth"))
    return CliRunner().invoke(app, ["audit", *words], env=environment)


async def command(settings: Settings, *words: str) -> Any:
    return await asyncio.to_thread(run, settings, *words)


async def test_heads_are_anchored_once_a_day_and_verify_finds_what_was_changed_behind_them(
    fresh_settings: Settings, database: Database, stores: Stores, storage: ObjectStore, tmp_path: Path
) -> None:
    name = fresh_settings.mongo.database
    anchor: Mapping[str, Any] = {"stores": stores, "object_store": storage, "database": name}
    assert not await anchor_heads(**anchor), "there is nothing to anchor"
    at = await stores.media.server_time()
    for owner in ("anna", "ben"):
        await stores.audit.append([pending(owner, number, at) for number in range(5)])
    assert await anchor_heads(**anchor)
    await stores.audit.append([pending("anna", 5, at)])
    assert not await anchor_heads(**anchor), "once a day"
    key = f"{anchor_prefix(name)}{at:%Y-%m-%d}.json"
    assert not await storage.create(storage.media_bucket, key, b"{}", content_type="application/json")
    anchors = await read_anchors(object_store=storage, database=name)
    assert {(each.head.bucket, each.head.sequence) for each in anchors.heads} == {
        (bucket_of("anna"), 5),
        (bucket_of("ben"), 5),
    }
    whole = await command(fresh_settings, "verify")
    assert whole.exit_code == 0, whole.output
    assert "11 entries in 2 chains, held against 1 anchor in storage: whole." in whole.output

    export = tmp_path / "chains.jsonl"
    written = await command(fresh_settings, "export")
    assert written.exit_code == 0
    export.write_bytes(written.stdout_bytes)
    kept = await storage.get(storage.media_bucket, key)
    assert kept is not None
    anchor_file = tmp_path / "anchor.json"
    anchor_file.write_bytes(kept.body)
    offline = ("verify", "--file", str(export), "--anchor", str(anchor_file))
    assert (await command(fresh_settings, *offline)).exit_code == 0
    export.write_bytes(written.stdout_bytes.replace(b'"actor":"ben"', b'"actor":"eve"', 1))
    assert (await command(fresh_settings, *offline)).exit_code == 1

    # Long ago, and nowhere written down.
    audit = database.handle["audit"]
    first = {"bucket": bucket_of("anna"), "sequence": 1}
    await audit.update_one(first, {"$set": {"at": f"{at - timedelta(days=3):%Y-%m-%dT%H:%M:%SZ}"}})
    told = await command(fresh_settings, "verify")
    yesterday, before = (f"{at - timedelta(days=days):%Y-%m-%d}" for days in (1, 2))
    assert f"There is no anchor of {before} to {yesterday}" in told.output
    await audit.update_one(first, {"$set": {"at": moment(at)}})
    assert (await command(fresh_settings, "verify")).exit_code == 0

    # The whole chain is made anew, without its last entries: true in itself.
    await audit.delete_many({"bucket": bucket_of("ben")})
    await stores.audit.append([pending("ben", number, at + timedelta(hours=1)) for number in range(4)])
    assert await faults(stores) == []
    assert (await command(fresh_settings, "verify")).exit_code == 1
    # And the anchor is overwritten to match: storage keeps what it had.
    body = b'{"heads":[]}'
    headers: Mapping[str, Any] = {"content_type": "application/json", "cache_control": "no-store", "metadata": {}}
    await storage.put(storage.media_bucket, key, body, **headers, sha256=hashlib.sha256(body).hexdigest())
    found = await command(fresh_settings, "verify")
    assert "it is missing, and was there according to the anchor" in found.output


@pytest.mark.parametrize(
    "spoil",
    [
        {"$set": {"actor": "eve"}},
        {"$set": {"hash": "0" * 64}},
        {"$set": {"note": "x"}},
        {"$unset": {"previous": ""}},
        {"$set": {"at": "2020-01-01T00:00:00.000Z"}},
        {"$set": {"details.fields": []}},
    ],
)
async def test_verify_finds_what_is_changed_in_the_database(
    database: Database, stores: Stores, spoil: dict[str, Any]
) -> None:
    at = await stores.media.server_time()
    await stores.audit.append([pending("anna", number, at) for number in range(3)])
    await database.handle["audit"].update_one({"sequence": 2}, spoil)
    assert {finding.sequence for finding in await faults(stores)} & {2}


async def test_what_lies_outside_the_chains_or_in_another_place_is_found(database: Database, stores: Stores) -> None:
    at = await stores.media.server_time()
    await stores.audit.append([pending("anna", number, at) for number in range(3)])
    [first, *_] = await on_record(database)
    bucket = bucket_of("anna")
    assert await stores.audit.count_strays() == 0
    await database.handle["audit"].insert_one({**first, "_id": f"{bucket:03d}:0000000000015", "id": "another"})
    assert await faults(stores)
    await database.handle["audit"].insert_one({"_id": "x", "bucket": 999})
    assert await stores.audit.count_strays() == 1
    heads = [told async for told in verify_chains(stores.audit, []) if isinstance(told, Head)]
    assert [head.bucket for head in heads] == [bucket]
