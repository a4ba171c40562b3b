"""Storage events as they take effect: in their order, each as often as it is delivered, once."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from service.documents import UploadDocument
from service.finalisation import object_created
from service.lifecycle import MediaStatus
from service.object_keys import parse_key
from service.object_store import ObjectStore
from service.storage_events import EventKind, StorageEvent, parse_events
from service.stores import Stores

log = structlog.get_logger(__name__)


class EventOutcome(enum.StrEnum):
    """What became of an event. STALE: a later event of the same key came first. LOST: a media needs what is gone."""

    HANDLED = "handled"
    STALE = "stale"
    UNKNOWN = "unknown"
    LOST = "lost"


EventCounter = Callable[[EventKind, EventOutcome], None]

_NEED_THEIR_ORIGINAL = frozenset(
    {MediaStatus.UPLOADED, MediaStatus.PROCESSING, MediaStatus.READY, MediaStatus.QUARANTINED}
)


async def handle_notification(
    notification: str | bytes | Mapping[str, Any], *, stores: Stores, object_store: ObjectStore, count: EventCounter
) -> None:
    """Handle every event of a notification; `count` hears of each.

    Raises UnreadableEvent, and whatever storage or the database raise: then the whole notification is to be delivered
    again, which costs those of its events little that were handled.
    """
    for event in parse_events(notification):
        count(event.kind, await handle_storage_event(event, stores=stores, object_store=object_store))


async def handle_storage_event(event: StorageEvent, *, stores: Stores, object_store: ObjectStore) -> EventOutcome:
    """Do what an event asks for, unless a later one of its key has been handled. Safe to repeat and to interrupt.

    Raises TemporarilyUnavailable, or an outage of the database; the event is to be delivered again then.
    """
    upload = await _upload_of(event, stores, object_store)
    if upload is None:
        # The service's own renditions appear in the other bucket: no news to anybody.
        if event.bucket != object_store.media_bucket:
            log.warning("storage speaks of an object that no upload announced", bucket=event.bucket, key=event.key)
        return EventOutcome.UNKNOWN
    if not event.follows(upload.get("event_sequencer")):
        return EventOutcome.STALE
    if event.kind is EventKind.CREATED:
        await object_created(event.bucket, event.key, stores=stores, object_store=object_store)
        outcome = EventOutcome.HANDLED
    else:
        outcome = await _object_removed(event, upload, stores, object_store)
    if event.sequencer is not None:
        # Only now: whoever dies before this line sees the event again.
        await stores.uploads.note_event(upload["_id"], event.sequencer)
    return outcome


async def _upload_of(event: StorageEvent, stores: Stores, object_store: ObjectStore) -> UploadDocument | None:
    upload_id = parse_key(event.key) if event.bucket == object_store.upload_bucket else None
    upload = None if upload_id is None else await stores.uploads.get(upload_id)
    return upload if upload is not None and upload["key"] == event.key else None


async def _object_removed(
    event: StorageEvent, upload: UploadDocument, stores: Stores, object_store: ObjectStore
) -> EventOutcome:
    if not await _is_needed(event.key, upload, stores):
        return EventOutcome.HANDLED
    # Storage has the last word: the object may have been written again since.
    if await object_store.head(event.bucket, event.key) is not None:
        return EventOutcome.HANDLED
    log.warning("the original of a media is gone", media_id=str(upload["_id"]), key=event.key, at=event.at)
    return EventOutcome.LOST


async def _is_needed(key: str, upload: UploadDocument, stores: Stores) -> bool:
    """Whether a media refers to the object as its content, or has yet to be processed from it."""
    media = await stores.media.get(upload["_id"], fields=["status", "original.key"])
    if media is not None and media["status"] in _NEED_THEIR_ORIGINAL and media.get("original", {}).get("key") == key:
        return True
    return not await stores.contents.is_free(key)
