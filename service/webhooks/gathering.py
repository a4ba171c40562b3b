"""From the outboxes of documents to a delivery for each receiver that wants the event.

Whoever dies on the way is followed by the next round, which writes the same deliveries under the same ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import structlog

from service.lifecycle import MediaStatus
from service.stores.event_outbox import OUTBOX, SEQUENCE
from service.stores.webhook_deliveries import NewDelivery
from service.stores.webhook_receivers import RegisteredReceiver
from service.stores.webhooks import WebhookStores
from service.webhooks.payload import event_body, event_id, event_type

log = structlog.get_logger(__name__)

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
    deliveries: list[NewDelivery] = []
    taken: dict[str, dict[UUID, int]] = {"media": {}, "deletions": {}}
    # The media's own events are counted to the end before those of their deletions.
    sources = [("media", each, 0) for each in media.values()]
    sources += [("deletions", each, media.get(each["_id"], {}).get(SEQUENCE, 0)) for each in hidden]
    for collection, document, before in sources:
        if (made := _deliveries_of(document, before, receivers)) is not None:
            deliveries += made
            taken[collection] |= _latest(document)
    await webhooks.deliveries.add(deliveries)
    for collection, sequences in taken.items():
        await outbox.take_out(collection, sequences)
    return sum(map(len, taken.values()))


def _is_hidden(media: Mapping[str, Any] | None) -> bool:
    """Whether nothing will follow in the media's own outbox; its deletion is written down a moment earlier."""
    return media is None or media["status"] == MediaStatus.DELETED


def _deliveries_of(
    document: Mapping[str, Any], before: int, receivers: Sequence[RegisteredReceiver]
) -> list[NewDelivery] | None:
    """What a document's events come to, numbered after `before`; None if they are not what this release knows.

    Those stay where they are, for a release that knows them, and hold up no others.
    """
    try:
        return [
            delivery
            for entry in document.get(OUTBOX, ())
            for delivery in _for_each(document, entry, before + entry["sequence"], receivers)
        ]
    except ValueError:
        log.exception("events of a media cannot be told", media_id=str(document["_id"]))
        return None


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


def _latest(document: Mapping[str, Any]) -> dict[UUID, int]:
    sequences = [entry["sequence"] for entry in document.get(OUTBOX, ())]
    return {document["_id"]: max(sequences)} if sequences else {}
