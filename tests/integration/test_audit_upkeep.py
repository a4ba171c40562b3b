"""Looking after the audit chains: what waits, where anchors lie and for how long, and what people ask of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import orjson
import pytest
from prometheus_client import CollectorRegistry
from typer.testing import CliRunner

from indexes.ensure import ensure
from schema.global_id import encode_id
from service.__main__ import app
from service.access import Viewer
from service.audit import AuditAction, Deed, Note
from service.audit_metrics import AuditMetrics
from service.audit_upkeep import anchor_heads, read_anchors
from service.dev.environment import environment_of
from service.doctor.audit import check_audit
from service.doctor.findings import Level
from service.errors import StorageRefused
from service.media_changes import update_media
from service.object_store import ObjectStore
from service.settings import AuditSettings, Settings
from service.stores import Stores, bind_stores
from service.stores.database import Database, open_database
from tests.documents import ready_media
from tests.servers import StorageServer


@pytest.fixture
async def database(fresh_settings: Settings) -> AsyncIterator[Database]:
    async with open_database(fresh_settings.mongo) as opened:
        await ensure(opened.handle)
        yield opened


@pytest.fixture
def stores(database: Database) -> Stores:
    return bind_stores(database)


def looked_at(number: int, owner: str = "anna") -> Deed:
    note = Note(AuditAction.ORIGINAL_ACCESSED, actor="mo", details={"until": "2026-01-31T00:00:00.000Z"})
    return Deed(f"original:{owner}:{number}", note, owner=owner, subject=str(uuid4()))


async def test_doctor_says_what_waits_and_what_was_cut_off_behind_an_anchor(
    fresh_settings: Settings, database: Database, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def told() -> list[tuple[Level, str]]:
        return [(finding.level, finding.text) for finding in await check_audit(fresh_settings)]

    assert await told() == [(Level.OK, "Every entry is in its chain."), (Level.OK, "Nothing is on record yet.")]
    await stores.audit.record([looked_at(number) for number in range(3)])
    assert (await told())[1][0] is Level.OK, "they have just begun"
    storage = ObjectStore(fresh_settings.storage)
    assert await anchor_heads(stores=stores, object_store=storage, database=fresh_settings.mongo.database)
    assert [level for level, _ in await told()] == [Level.OK, Level.OK]

    pending = {"id": "change:1", "action": "media.changed", "actor": "anna", "owner": "anna", "details": {}}
    at = datetime.now(UTC) - timedelta(hours=1)
    media: Any = ready_media(audit_pending=[{**pending, "subject": uuid4(), "at": at}])
    await database.media.insert_one(media)
    backlog = await stores.audit_reads.backlog()
    assert backlog.number == 1
    assert backlog.oldest is not None
    assert abs(backlog.oldest - at) < timedelta(seconds=1)
    assert (await told())[0][0] is Level.WARNING
    await stores.audit.settle_all()
    assert (await told())[0][0] is Level.OK

    await database.handle["audit"].delete_many({"owner": "anna"})
    level, text = (await told())[1]
    assert (level, "it was there according to the anchor" in text) == (Level.PROBLEM, True)
    await storage.close()


async def test_people_can_ask_who_looked_at_what(fresh_settings: Settings, database: Database, stores: Stores) -> None:
    deeds = [looked_at(1), looked_at(2), looked_at(3, owner="ben")]
    await stores.audit.record(deeds)
    media: Any = ready_media(owner_id="anna")
    await database.media.insert_one(media)
    raw = {"idempotency_key": uuid4().hex, "title": "My secret"}
    await update_media(Viewer("anna"), media["_id"], raw, stores=stores)

    async def asked(*words: str) -> Any:
        environment = environment_of(fresh_settings, ("mongo", "storage", "delivery", "auth"))
        return await asyncio.to_thread(CliRunner().invoke, app, ["audit", "show", *words], env=environment)

    async def show(*words: str) -> list[tuple[str, str, str]]:
        told = await asked(*words, "--json")
        assert told.exit_code == 0, told.output
        entries = [orjson.loads(line) for line in told.stdout.splitlines() if line.startswith("{")]
        return [(entry["actor"], entry["action"], entry["subject"]) for entry in entries]

    looks = [("mo", "original.accessed", deed.subject) for deed in deeds]
    change = ("anna", "media.changed", str(media["_id"]))
    assert sorted(await show("--owner", "anna")) == sorted([*looks[:2], change])
    assert sorted(await show("--actor", "mo")) == sorted(looks)
    assert await show("--media", encode_id("Media", media["_id"])) == [change]
    assert await show("--media", deeds[1].subject) == [looks[1]]
    assert await show("--owner", "anna", "--action", "media.changed") == [change]
    assert await show("--actor", "nobody") == []
    for wrong in (["--media", "no id"], ["--owner", "anna", "--action", "no.action"], []):
        told = CliRunner().invoke(app, ["audit", "show", *wrong])
        assert told.exit_code == 2

    # What was altered is shown, and said to be.
    await database.handle["audit"].update_one({"owner": "ben"}, {"$set": {"actor": "somebody"}})
    for words in (["--owner", "ben"], ["--owner", "ben", "--json"]):
        told = await asked(*words)
        assert (told.exit_code, "somebody" in told.stdout, "It was altered" in told.stdout) == (1, True, True)
    whole = await asked("--owner", "anna")
    assert (whole.exit_code, "altered" in whole.output) == (0, False)


async def test_what_is_appended_and_what_waits_is_counted(stores: Stores) -> None:
    registry = CollectorRegistry()
    metrics = AuditMetrics(registry)
    stores.audit.after_appends(metrics.count_appended)
    await stores.audit.record([looked_at(number) for number in range(5)])
    await stores.audit.record([looked_at(0)])
    metrics.set_backlog(2, 61.0)
    assert registry.get_sample_value("media_audit_appended_total") == 5
    assert registry.get_sample_value("media_audit_waiting") == 2
    assert registry.get_sample_value("media_audit_oldest_waiting_seconds") == 61


async def test_anchors_stay_where_a_bucket_locks_them(
    storage_server: StorageServer, stores: Stores, fresh_settings: Settings
) -> None:
    storage = ObjectStore(storage_server.settings())
    settings = AuditSettings(anchor_bucket=f"anchors-{uuid4().hex[:8]}", anchor_days=30)
    bucket, client = settings.anchor_bucket, storage._client
    anchor: dict[str, Any] = {"object_store": storage, "database": "media", "settings": settings}
    await storage.ensure_buckets()
    await asyncio.to_thread(client.create_bucket, Bucket=bucket, ObjectLockEnabledForBucket=True)
    assert await storage.locked.locks(bucket)
    assert not await storage.locked.locks(storage.media_bucket)
    await stores.audit.record([looked_at(1)])
    assert await anchor_heads(stores=stores, **anchor)
    assert not await anchor_heads(stores=stores, **anchor), "once a day"
    found = await read_anchors(**anchor)
    assert (len(found.heads), found.problems, found.newest is not None) == (1, [], True)
    [version] = await storage.versions(bucket, "audit/media/heads/")
    kept = await asyncio.to_thread(client.head_object, Bucket=bucket, Key=version.key, VersionId=version.id)
    assert kept["ObjectLockMode"] == "COMPLIANCE"
    assert kept["ObjectLockRetainUntilDate"] > datetime.now(UTC) + timedelta(days=29)
    with pytest.raises(StorageRefused):
        await storage.delete(bucket, [version.key])
    assert len(await storage.versions(bucket, "audit/media/heads/")) == 1
    await storage.close()
