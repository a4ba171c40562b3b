"""For every index that webhooks need a query that it serves, asked as the service asks it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import uuid4

from uuid6 import uuid7

from service.stores.database import Database
from service.stores.webhook_deliveries import NewDelivery
from service.stores.webhook_inspection import Choice
from service.stores.webhooks import WebhookStores, bind_webhooks
from tests.integration.index_cases import Case

NOW = datetime.now(UTC)


async def _filled(database: Database, owner: str = "anna") -> tuple[WebhookStores, list[NewDelivery]]:
    """Three events of each of 20 media for two receivers of this call's own."""
    webhooks, names = bind_webhooks(database), [f"r{uuid4().hex[:8]}" for _ in range(2)]
    deliveries = []
    for _ in range(20):
        media_id = uuid7()
        for name in names:
            deliveries += [
                NewDelivery(name, f"evt_{media_id.hex}_{number}", media_id, number, "media.ready", owner, NOW, "{}")
                for number in (1, 2, 3)
            ]
    await webhooks.deliveries.add(deliveries)
    return webhooks, deliveries


async def _in_order(database: Database) -> object:
    webhooks, deliveries = await _filled(database)
    stream = await webhooks.deliveries.claim(deliveries[0].receiver, lease_s=60)
    assert stream is not None
    return await webhooks.deliveries.next_of(stream, limit=20)


async def _due(database: Database) -> object:
    webhooks, deliveries = await _filled(database)
    return await webhooks.deliveries.claim(deliveries[0].receiver, lease_s=60)


async def _inspection(database: Database) -> object:
    webhooks, [first, *_] = await _filled(database)
    await webhooks.inspection.waiting(first.receiver)
    await webhooks.inspection.find(Choice(receiver=first.receiver, state="open"), limit=20)
    return await webhooks.inspection.find(Choice(receiver=first.receiver), limit=20)


async def _replay(database: Database) -> object:
    webhooks, deliveries = await _filled(database)
    receiver = deliveries[0].receiver
    for number, each in enumerate(each for each in deliveries if each.receiver == receiver):
        if number % 3:
            await webhooks.deliveries.note_accepted(each.id, status=200, keep_s=60)
        else:
            await webhooks.deliveries.give_up(each.id, reason="It was away.", keep_s=60)
    # What is asked is asked again, of deliveries that have not been opened by it.
    for choice in (Choice(receiver=receiver, state="dead", since=NOW), Choice(receiver=receiver)):
        assert [page async for page in webhooks.inspection.replay(choice, limit=20)] == [20]
    return None


async def _of_media(database: Database) -> object:
    webhooks, [first, *_] = await _filled(database)
    return await webhooks.inspection.find(Choice(media_id=first.media_id), limit=20)


async def _event(database: Database) -> object:
    webhooks, [first, *_] = await _filled(database)
    return await webhooks.inspection.get(first.event_id)


async def _owner(database: Database) -> object:
    webhooks, deliveries = await _filled(database, "leaver")
    for each in deliveries[:30]:
        await webhooks.deliveries.note_accepted(each.id, status=200, keep_s=60)
    await webhooks.forget_owner("leaver")
    # What is asked is asked again, of deliveries that are there.
    _, again = await _filled(database, "leaver")
    for each in again[:30]:
        await webhooks.deliveries.note_accepted(each.id, status=200, keep_s=60)
    return None


def _outbox(collection: str) -> Case:
    async def waiting(database: Database) -> object:
        documents = [{"_id": uuid7(), "media_id": uuid7(), "place": 0} for _ in range(60)]
        pending = [{**each, "webhook_pending": [{"sequence": 1}], "owner_id": "o"} for each in documents[:20]]
        await database.handle[collection].insert_many([*pending, *documents[20:]])
        return await bind_webhooks(database).outbox.waiting(collection, limit=10)

    return waiting


WEBHOOK_CASES: Mapping[str, Mapping[str, Case]] = {
    "webhook_deliveries": {
        "in_order": _in_order,
        "inspection": _inspection,
        "replay": _replay,
        "of_media": _of_media,
        "event": _event,
        "owner": _owner,
    },
    "webhook_streams": {"due": _due},
    "media": {"webhook_pending": _outbox("media")},
    "deletions": {"webhook_pending": _outbox("deletions")},
}
