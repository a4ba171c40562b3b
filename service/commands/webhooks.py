"""`webhooks`: what receivers are told, and what becomes of what they did not take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from service.audit import moment
from service.commands.on_record import owner_of, put_on_record
from service.commands.printing import counted, json_line, print_table, problem_console, result_console
from service.errors import TemporarilyUnavailable
from service.settings import Settings
from service.stores.audit import AuditStore
from service.stores.database import OUTAGE_ERRORS, open_database
from service.stores.media_reads import MediaReads
from service.stores.webhook_inspection import Choice, DeliveryDocument, Waiting
from service.stores.webhook_receivers import DOWN_AFTER, RegisteredReceiver
from service.stores.webhooks import WebhookStores, bind_webhooks

_STOPPING: tuple[type[Exception], ...] = (*OUTAGE_ERRORS, TemporarilyUnavailable)
_OF_RECEIVERS = ("Receiver", "State", "Told since", "Waiting", "Oldest waits", "Dead")
_OF_EVENTS = ("Event", "Type", "Receiver", "State", "Failures", "Happened", "Last error")


async def show_events(settings: Settings, choice: Choice, *, limit: int, as_json: bool) -> int:
    """Print how receivers fare, then the newest events; the exit code."""
    try:
        async with open_database(settings.mongo) as database:
            webhooks = bind_webhooks(database)
            receivers = [
                (each, await webhooks.inspection.waiting(each.name))
                for each in await webhooks.receivers.list_all()
                if choice.receiver in {None, each.name}
            ]
            rows = await _newest(webhooks, choice, [each.name for each, _ in receivers], limit)
    except OUTAGE_ERRORS as error:
        return _stopped(error)
    if as_json:
        for receiver, waiting in receivers:
            result_console().print(json_line({"receiver": _summary(receiver, waiting)}), markup=False)
        for row in rows:
            result_console().print(json_line(_plain(row)), markup=False)
        return 0
    print_table(result_console(), _OF_RECEIVERS, [_receiver_cells(*each) for each in receivers])
    if rows:
        result_console().print()
        print_table(result_console(), _OF_EVENTS, map(_cells, rows))
    return 0


async def _newest(webhooks: WebhookStores, choice: Choice, names: Sequence[str], limit: int) -> list[DeliveryDocument]:
    if not limit:
        return []
    if choice.media_id is not None:
        return await webhooks.inspection.find(choice, limit=limit)
    chosen = [Choice(receiver=name, state=choice.state) for name in names]
    return [row for each in chosen for row in await webhooks.inspection.find(each, limit=limit)]


def _summary(receiver: RegisteredReceiver, waiting: Waiting) -> dict[str, Any]:
    return {
        "name": receiver.name,
        "since": receiver.since,
        "down_since": receiver.down_since if receiver.failures >= DOWN_AFTER else None,
        "reason": receiver.reason,
        "waiting": waiting.open,
        "oldest_s": round(waiting.oldest_s, 3),
        "dead": waiting.dead,
    }


def _receiver_cells(receiver: RegisteredReceiver, waiting: Waiting) -> Sequence[str]:
    state = f"down: {receiver.reason}" if receiver.failures >= DOWN_AFTER else "up"
    numbers = str(waiting.open), f"{waiting.oldest_s:.0f} s", str(waiting.dead)
    return receiver.name, state, f"{receiver.since:%Y-%m-%d %H:%M:%S}", *numbers


def _cells(row: DeliveryDocument) -> Sequence[str]:
    happened = f"{row['at']:%Y-%m-%d %H:%M:%S}"
    state, failures = row["state"], str(row["failures"])
    return row["event_id"], row["type"], row["receiver"], state, failures, happened, row.get("last_error", "")


def _plain(row: DeliveryDocument) -> dict[str, Any]:
    names = ("receiver", "event_id", "type", "state", "failures", "at", "opened_at", "ended_at", "status", "last_error")
    whole: dict[str, Any] = dict(row)
    return {name: whole[name] for name in names if name in whole}


async def show_event(settings: Settings, event_id: str) -> int:
    """Print one event with its body, a line of JSON for each receiver; the exit code: 1 without one."""
    try:
        async with open_database(settings.mongo) as database:
            rows = await bind_webhooks(database).inspection.get(event_id)
    except OUTAGE_ERRORS as error:
        return _stopped(error)
    for row in rows:
        result_console().print(json_line({**_plain(row), "body": orjson.loads(row["body"])}), markup=False)
    if not rows:
        problem_console().print("There is no such event, or it was kept long enough.", markup=False)
    return 0 if rows else 1


async def replay_events(settings: Settings, choice: Choice, *, limit: int) -> int:
    """Have what was chosen sent again; the exit code."""
    replayed = 0
    try:
        async with open_database(settings.mongo) as database:
            given = {
                "receiver": choice.receiver,
                "dead": choice.state == "dead",
                "since": None if choice.since is None else moment(choice.since),
                "limit": limit,
            }
            owner_id = await owner_of(choice.media_id, MediaReads(database))
            audit = AuditStore(database)
            await put_on_record("webhooks replay", given, audit=audit, owner_id=owner_id, media_id=choice.media_id)
            async for page in bind_webhooks(database).inspection.replay(choice, limit=limit):
                replayed += page
    except _STOPPING as error:
        return _stopped(error)
    problem_console().print(f"{counted(replayed, 'event')} will be sent again by the workers.", markup=False)
    return 0


async def forget_receiver(settings: Settings, name: str) -> int:
    """Remove what is kept for a receiver; the exit code: 2 while it is configured, 1 if nobody knows it."""
    if name in {receiver.name for receiver in settings.webhooks.receivers}:
        problem_console().print(f"{name} is configured: take it out of MEDIA_WEBHOOKS__RECEIVERS first.", markup=False)
        return 2
    try:
        async with open_database(settings.mongo) as database:
            await put_on_record("webhooks forget", {"receiver": name}, audit=AuditStore(database))
            removed = await bind_webhooks(database).forget_receiver(name)
    except _STOPPING as error:
        return _stopped(error)
    if removed is None:
        problem_console().print(f"Nothing is kept for {name}.", markup=False)
        return 1
    problem_console().print(f"{name} is forgotten, with {counted(removed, 'event')}.", markup=False)
    return 0


def _stopped(error: Exception) -> int:
    problem_console().print(f"Stopped: {error}. The same command may be run again.", markup=False)
    return 1
