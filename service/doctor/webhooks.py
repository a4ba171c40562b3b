"""Webhooks: can receivers be reached, do they take what they are sent, and does every process note events?"""

from __future__ import annotations

from urllib.parse import urlsplit

from service.doctor.findings import Finding, ok, problem, warning
from service.settings import Environment, MongoSettings, ReceiverSettings, WebhookSettings
from service.stores.database import OUTAGE_ERRORS, open_database
from service.stores.webhook_receivers import DOWN_AFTER, RegisteredReceiver
from service.stores.webhooks import WebhookStores, bind_webhooks
from service.webhooks.addresses import is_public, resolve

_CHECK = "webhooks"
_LATE_S = 900
_NOT_NOTED = "Set MEDIA_WEBHOOKS__ENABLED=true for every process, or `webhooks forget` who is told no more."


async def check_webhooks(settings: WebhookSettings, mongo: MongoSettings, environment: Environment) -> list[Finding]:
    """What is wrong with receivers; nothing where there never was one. Nothing is sent."""
    try:
        async with open_database(mongo) as database:
            webhooks = bind_webhooks(database)
            registered = {each.name: each for each in await webhooks.receivers.list_all()}
            found = [finding for each in registered.values() for finding in await _judge(each, webhooks)]
            put_off = await webhooks.outbox.count_put_off()
    except OUTAGE_ERRORS:
        # That it is away is a finding of its own.
        return []
    if registered and not settings.notes_events:
        names = ", ".join(registered)
        found.append(problem(_CHECK, f"{names} are to be told of events, but these settings note none.", _NOT_NOTED))
    if put_off:
        text = (
            f"In {put_off} documents there are events that the workers cannot read; they wait for a release that can."
        )
        found.append(
            warning(_CHECK, text, "Was a later release taken back? `events cannot be read` in the log names one.")
        )
    configured = {each.name for each in settings.receivers}
    if settings.receivers and (left := [name for name in registered if name not in configured]):
        text = f"Events are kept for {', '.join(left)}, whom nobody sends to."
        found.append(warning(_CHECK, text, "`python -m service webhooks forget NAME`, or configure it again."))
    return [*found, *[await _reach(each, environment) for each in settings.receivers]]


async def _judge(receiver: RegisteredReceiver, webhooks: WebhookStores) -> list[Finding]:
    waiting = await webhooks.inspection.waiting(receiver.name)
    found = []
    if receiver.failures >= DOWN_AFTER:
        found.append(
            problem(_CHECK, f"{receiver.name} is down: {receiver.reason}.", "Events wait; see to the receiver.")
        )
    elif waiting.oldest_s > _LATE_S:
        remedy = "Is a worker running with its settings? `python -m service webhooks list` says why it waits."
        found.append(warning(_CHECK, f"For {receiver.name} an event waits for {waiting.oldest_s:.0f} s.", remedy))
    if waiting.dead:
        remedy = f"`python -m service webhooks replay --receiver {receiver.name} --dead`, once the cause is gone."
        found.append(warning(_CHECK, f"{waiting.dead} events for {receiver.name} were given up.", remedy))
    return found or [ok(_CHECK, f"{receiver.name} takes what it is sent; {waiting.open} events wait.")]


async def _reach(receiver: ReceiverSettings, environment: Environment) -> Finding:
    parts = urlsplit(receiver.url)
    host = parts.hostname or ""
    try:
        addresses = await resolve(host, parts.port or (443 if parts.scheme == "https" else 80))
    except OSError:
        return problem(_CHECK, f"{host}, where {receiver.name} is, cannot be resolved.", "Correct its url.")
    guarded = environment is Environment.PRODUCTION and not receiver.private_network
    if guarded and not all(map(is_public, addresses)):
        remedy = "If it is meant to be reached there, set its private_network to true."
        return problem(_CHECK, f"{host}, where {receiver.name} is, has a private address: nothing is sent.", remedy)
    return ok(_CHECK, f"{host}, where {receiver.name} is, is found.")
