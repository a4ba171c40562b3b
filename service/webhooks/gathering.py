"""From the outboxes of documents to a delivery for each receiver that wants the event.

Whoever dies on the way is followed by the next round, which writes the same deliveries under the same ids.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from service.lifecycle import MediaStatus
from service.stores.event_outbox import OUTBOX, SEQUENCE
from service.stores.webhook_deliveries import NewDelivery
from service.stores.webhook_outbox import COLLECTIONS, LOOK_AGAIN, WebhookOutbox
from service.stores.webhook_receivers import RegisteredReceiver
from service.stores.webhooks import WebhookStores
from service.telemetry import Metrics
from service.webhooks.payload import event_body, event_id, event_type

log = structlog.get_logger(__name__)

PAGE = 200
# After this time a document's events are tried again that could not be read: perhaps by another release.
_PUT_OFF_S = 600


@dataclass(slots=True)
class _Reading:
    """What the events of a document come to, up to and including the sequence `taken`; `problem` with the next one."""

    collection: str
    document: Mapping[str, Any]
    deliveries: list[NewDelivery] = field(default_factory=list)
    taken: int | None = None
    problem: str | None = None


async def gather_events(webhooks: WebhookStores, *, holder: str, lease_s: float, metrics: Metrics) -> int:
    """Take up to a page of documents' events to their deliveries; how many documents there were.

    0 as well where another process than `holder` does so. What this release cannot read stays in its document, with
    all that follows it there, for a release that can; it holds up no other media.
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
    readings = [_read("media", each, 0, receivers) for each in media.values()]
    unread = {each.document["_id"] for each in readings if each.problem is not None}
    for deletion in hidden:
        media_id = deletion["_id"]
        if media_id in unread:
            readings.append(_Reading("deletions", deletion, problem="the events of its media go before"))
        else:
            # The media's own events are counted to the end before those of their deletions.
            readings.append(_read("deletions", deletion, media.get(media_id, {}).get(SEQUENCE, 0), receivers))
    deliveries = [delivery for each in readings for delivery in each.deliveries]
    await webhooks.deliveries.add(deliveries)
    await webhooks.forget_erased({each.owner_id for each in deliveries})
    for collection in COLLECTIONS:
        await _take_out(outbox, collection, [each for each in readings if each.collection == collection], metrics)
    return sum(each.taken is not None or each.problem is not None for each in readings)


async def _take_out(outbox: WebhookOutbox, collection: str, readings: Collection[_Reading], metrics: Metrics) -> None:
    taken = {each.document["_id"]: each.taken for each in readings if each.taken is not None}
    await outbox.take_out(collection, taken)
    unread = [each for each in readings if each.problem is not None]
    await outbox.put_off(collection, [each.document["_id"] for each in unread], delay_s=_PUT_OFF_S)
    metrics.count_unreadable_events(len(unread))
    if fresh := [each for each in unread if LOOK_AGAIN not in each.document]:
        log.error(
            "events cannot be read by this release; they wait for one that can, and others pass",
            collection=collection,
            documents=len(fresh),
            first=str(fresh[0].document["_id"]),
            problem=fresh[0].problem,
        )


def _is_hidden(media: Mapping[str, Any] | None) -> bool:
    """Whether nothing will follow in the media's own outbox; its deletion is written down a moment earlier."""
    return media is None or media["status"] == MediaStatus.DELETED


def _read(
    collection: str, document: Mapping[str, Any], before: int, receivers: Sequence[RegisteredReceiver]
) -> _Reading:
    """What a document's events come to, numbered after `before`, until one of them is not what this release knows."""
    reading = _Reading(collection, document)
    for entry in document.get(OUTBOX, ()):
        try:
            sequence = int(entry["sequence"])
            made = list(_for_each(document, entry, before + sequence, receivers))
        except Exception as error:  # noqa: BLE001 - another release may have written anything
            # Without what the error says: it may quote what people wrote.
            reading.problem = f"{type(error).__name__} at one of them"
            break
        reading.deliveries += made
        reading.taken = sequence
    return reading


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
