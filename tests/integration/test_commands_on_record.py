"""Commands that change data at once are on record before they begin, and those that only look are not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from uuid6 import uuid7

from indexes.ensure import ensure
from service.commands.embeddings import run_forget_model
from service.commands.jobs import drain_jobs, retry_jobs
from service.commands.migrate import run_migration
from service.commands.quotas import run_recount
from service.commands.reconcile import run_reconciliation
from service.commands.reprocess import run_reprocessing
from service.commands.webhooks import forget_receiver, replay_events
from service.migrations import LATEST, MigrationOptions
from service.reconciliation import RunOptions
from service.reprocessing import parse_where
from service.settings import Settings
from service.stores.audit_reads import AuditReads
from service.stores.database import open_database
from service.stores.webhook_inspection import Choice
from tests.documents import ready_media


@pytest.fixture(autouse=True)
async def _indexes(fresh_settings: Settings) -> None:
    async with open_database(fresh_settings.mongo) as database:
        await ensure(database.handle)


async def entries_on_record(settings: Settings, **asked: Any) -> list[dict[str, Any]]:
    """Of commands, oldest first."""
    async with open_database(settings.mongo) as database:
        found = AuditReads(database).entries(**({"actor": "operator"} | asked))
        return [dict(entry) async for entry in found if entry["action"] == "operator.command"]


async def commands_on_record(settings: Settings) -> list[str]:
    return [entry["details"]["command"] for entry in await entries_on_record(settings)]


async def test_who_only_looks_leaves_nothing_and_who_changes_an_entry_each(fresh_settings: Settings) -> None:
    await run_recount(fresh_settings, owner_id=None, repair=False)
    await run_reconciliation(fresh_settings, RunOptions(), as_json=True)
    assert await commands_on_record(fresh_settings) == []

    await run_recount(fresh_settings, owner_id=None, repair=True)
    await run_reconciliation(fresh_settings, RunOptions(apply=True, buckets=frozenset({"nowhere"})), as_json=True)
    assert await commands_on_record(fresh_settings) == ["quotas --repair"], "a run that is refused does not begin"

    await run_reconciliation(fresh_settings, RunOptions(apply=True), as_json=True)
    await run_forget_model(fresh_settings, "nobodys@1")
    await replay_events(fresh_settings, Choice(receiver="billing"), limit=10)
    await forget_receiver(fresh_settings, "billing")
    assert await commands_on_record(fresh_settings) == [
        *("quotas --repair", "reconcile --apply", "annotations forget-model", "webhooks replay", "webhooks forget")
    ]


async def test_an_entry_says_with_which_options(fresh_settings: Settings) -> None:
    since = datetime(2026, 1, 31, 12, tzinfo=UTC)
    await replay_events(fresh_settings, Choice(receiver="billing", state="dead", since=since), limit=7)
    await replay_events(fresh_settings, Choice(receiver="billing"), limit=10)
    await run_reconciliation(fresh_settings, RunOptions(apply=True, restart=True), as_json=True)
    ids = ["gone-1", "x" * 5_000, *map(str, range(2, 150))]
    await retry_jobs(fresh_settings, ids, kind=None, as_json=True)
    await retry_jobs(fresh_settings, [], kind="render", as_json=True)
    await drain_jobs(fresh_settings, kind="render", older_than=timedelta(hours=1.5))
    options = {"rate": 7.5, "after": None, "apply": True, "force": True, "as_json": True}
    await run_reprocessing(fresh_settings, parse_where(["purpose=COVER"]), **options)
    await run_migration(fresh_settings, MigrationOptions(recheck=True, rate=9.5, batch=3))
    entries = await entries_on_record(fresh_settings)
    assert [{**each["details"], "command": each["subject"]} for each in entries] == [
        each["details"] for each in entries
    ]
    assert {(each["owner"], each["actor"]) for each in entries} == {("operator", "operator")}
    moment = "2026-01-31T12:00:00.000Z"
    named = ["gone-1", "x" * 200, *map(str, range(2, 100))]
    assert [each["details"] for each in entries] == [
        {"command": "webhooks replay", "receiver": "billing", "dead": True, "since": moment, "limit": 7},
        {"command": "webhooks replay", "receiver": "billing", "dead": False, "since": None, "limit": 10},
        {"command": "reconcile --apply", "buckets": [], "older_than_s": 86_400, "restart": True},
        {"command": "jobs retry", "jobs": named, "number": 150},
        {"command": "jobs retry", "kind": "render", "jobs": "all"},
        {"command": "jobs drain", "kind": "render", "older_than_s": 5_400},
        {"command": "reprocess --apply", "where": ["purpose"], "force": True, "rate": 7.5, "after": None},
        {"command": "migrate --up", "to": LATEST, "recheck": True, "rate": 9.5, "batch": 3},
    ]


async def test_what_is_about_one_owner_or_one_media_is_found_under_them(fresh_settings: Settings) -> None:
    media = ready_media(owner_id="eve")
    async with open_database(fresh_settings.mongo) as database:
        await database.media.insert_one(media)
    media_id, unknown = media["_id"], uuid7()
    options = {"rate": 1_000, "after": None, "apply": True, "force": False, "as_json": True}
    await run_recount(fresh_settings, owner_id="eve", repair=True)
    await run_reprocessing(fresh_settings, parse_where(["owner_id=eve", "purpose=COVER"]), **options)
    await run_reprocessing(fresh_settings, parse_where(["owner_id!=eve"]), **options)
    await run_reprocessing(fresh_settings, parse_where([f"id={media_id}"]), **options)
    for each in (media_id, unknown):
        await replay_events(fresh_settings, Choice(media_id=each), limit=10)
    of_eve = await entries_on_record(fresh_settings, actor=None, owner_id="eve")
    assert [(each["details"]["command"], each["subject"]) for each in of_eve] == [
        *(("quotas --repair", "eve"), ("reprocess --apply", "eve")),
        *(("reprocess --apply", str(media_id)), ("webhooks replay", str(media_id))),
    ]
    assert {each["actor"] for each in of_eve} == {"operator"}
    assert not any("eve" in str(each["details"]) for each in of_eve), "once, where it is looked for"
    of_media = await entries_on_record(fresh_settings, actor=None, media_id=media_id)
    assert of_media == of_eve[2:]
    [nobodys] = await entries_on_record(fresh_settings, actor=None, media_id=unknown)
    assert nobodys["owner"] == "operator"
