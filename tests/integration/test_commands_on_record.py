"""Commands that change data at once are on record before they begin, and those that only look are not."""

from __future__ import annotations

from service.commands.embeddings import run_forget_model
from service.commands.quotas import run_recount
from service.commands.reconcile import run_reconciliation
from service.commands.webhooks import forget_receiver, replay_events
from service.reconciliation import RunOptions
from service.settings import Settings
from service.stores.database import open_database
from service.stores.webhook_inspection import Choice


async def commands_on_record(settings: Settings) -> list[str]:
    async with open_database(settings.mongo) as database:
        entries = await database.handle["audit"].find({"action": "operator.command"}).sort("_id", 1).to_list(None)
    return [entry["details"]["command"] for entry in entries]


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
