"""From the outboxes of documents to a delivery for each receiver that wants the event.

Whoever dies on the way is followed by the next round, which writes the same deliveries under the same ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from uuid import UUID

from service.lifecycle import MediaStatus
from service.stores.event_outbox import OUTBOX, SEQUENCE
from service.stores.webhook_deliveries import NewDelivery
from service.stores.webhook_receivers import RegisteredReceiver
from service.stores.webhooks import WebhookStores
from service.webhooks.payload import event_body, event_id, event_type

PAGE = 200


async def gather_events(webhooks: WebhookStores, *, holder: str, lease_s: float) -> int:
    """Take up to a page of documents' events to their deliveries; how many documents there were.

    0 as well where another process than `holder` does so.
    """
    outbox = webhooks.outbox
    deletions = await outbox.waiting("deletions", limit=PAGE)
    changed = await outbox.waiting("media", limit=PAGE)
    if not (changed or deletions) or not await webhooks.receivers.take_turn(holder, lease_s=lease_s):
        return 0
    # Read after the deletions: their media's own events go before theirs, and are all there.
    of_deletions = await outbox.media([deletion["_id"] for deletion in deletions])
    media = {document["_id"]: document for document in changed} | of_deletions
    hidden = [each for each in deletions if _is_hidden(media.get(each["_id"]))]
    # Read after all of these: whoever is not registered by now is not told of them.
    receivers = await webhooks.receivers.list_all()
    deliveries = [*_of_media(media.values(), receivers), *_of_deletions(hidden, media, receivers)]
    await webhooks.deliveries.add(deliveries)
    await outbox.take_out("media", _latest(media.values()))
    await outbox.take_out("deletions", _latest(hidden))
    return len(changed) + len(hidden)


def _is_hidden(media: Mapping[str, Any] | None) -> bool:
    """Whether nothing will follow in the media's own outbox; its deletion is written down a moment earlier."""
    return media is None or media["status"] == MediaStatus.DELETED


def _of_media(documents: Iterable[Mapping[str, Any]], receivers: Iterable[RegisteredReceiver]) -> Iterator[NewDelivery]:
    for document in documents:
        for entry in document.get(OUTBOX, ()):
            yield from _for_each(document, entry, entry["sequence"], receivers)


def _of_deletions(
    deletions: Iterable[Mapping[str, Any]],
    media: Mapping[UUID, Mapping[str, Any]],
    receivers: Iterable[RegisteredReceiver],
) -> Iterator[NewDelivery]:
    for deletion in deletions:
        # The media's own events are counted to the end.
        before = media.get(deletion["_id"], {}).get(SEQUENCE, 0)
        for entry in deletion[OUTBOX]:
            yield from _for_each(deletion, entry, before + entry["sequence"], receivers)


def _for_each(
    document: Mapping[str, Any], entry: Mapping[str, Any], sequence: int, receivers: Iterable[RegisteredReceiver]
) -> Iterator[NewDelivery]:
    type_, media_id = event_type(entry), document["_id"]
    wanting = [each for each in receivers if each.wants(type_, document["purpose"], entry["at"])]
    if not wanting:
        return
    body, id_ = event_body(document, entry, sequence), event_id(media_id, sequence)
    for receiver in wanting:
        yield NewDelivery(
            receiver=receiver.name,
            event_id=id_,
            media_id=media_id,
            sequence=sequence,
            type=type_,
            owner_id=document["owner_id"],
            at=entry["at"],
            body=body,
        )


def _latest(documents: Iterable[Mapping[str, Any]]) -> dict[UUID, int]:
    return {
        document["_id"]: max(entry["sequence"] for entry in document[OUTBOX])
        for document in documents
        if document.get(OUTBOX)
    }
