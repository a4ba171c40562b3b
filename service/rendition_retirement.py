"""Removing renditions that nobody is to be shown any longer: replaced ones that are due, all of a quarantined media."""

from __future__ import annotations

from collections.abc import Collection

from service.documents import MediaDocument
from service.errors import OnHold
from service.kept_renditions import put_out_of_reach
from service.lifecycle import MediaStatus
from service.models import Job, MediaPurpose
from service.object_store import ObjectStore
from service.quarantine import QUARANTINE_TOPIC, mark_original
from service.removal import remove_for_good
from service.stored_renditions import stored_renditions
from service.stores import Stores

_FIELDS = ("status", "status_sequence", "purpose", "original", "retired_renditions", "renditions.key")


async def retire_renditions(job: Job, *, stores: Stores, object_store: ObjectStore) -> None:
    """Remove from storage what is due, and have the CDN forget it.

    For a job of the quarantine, that is every rendition; nothing if its media is QUARANTINED no longer. May be run any
    number of times. What a hold keeps of it is put where no address leads. Raises TemporarilyUnavailable, also if
    storage keeps an object, and OnHold; what is left is tried again.
    """
    media = await stores.media.get(job.media_id, fields=_FIELDS)
    if media is not None:
        async with stores.holds.removal(job.media_id, media["owner_id"]) as hold_id:
            if hold_id is None:
                await (_remove_all if job.topic == QUARANTINE_TOPIC else _remove_due)(job, media, stores, object_store)
        if hold_id is not None:
            await _keep(job, media, stores, object_store)
    if stores.invalidations is not None:
        # Also where nothing is left to do: a deletion would wait for ever for what an earlier attempt planned.
        await stores.invalidations.release(job.id)


async def _keep(job: Job, media: MediaDocument, stores: Stores, object_store: ObjectStore) -> None:
    if job.topic == QUARANTINE_TOPIC:
        keys = await _all_of_quarantined(job, media, stores, object_store)
        if not keys:
            return
    else:
        keys = await _due(media, stores) - _listed(media)
    await put_out_of_reach(job.media_id, keys, stores=stores, object_store=object_store)
    raise OnHold("A legal hold keeps what this media was shown with; it is removed once that is lifted.")


async def _remove_all(job: Job, media: MediaDocument, stores: Stores, object_store: ObjectStore) -> None:
    keys = await _all_of_quarantined(job, media, stores, object_store)
    if keys is None:
        return
    await mark_original(media, object_store)
    await _remove(job, keys, stores, object_store)
    await stores.renditions.forget_quarantined(job.media_id, media["status_sequence"])


async def _all_of_quarantined(
    job: Job, media: MediaDocument, stores: Stores, object_store: ObjectStore
) -> set[str] | None:
    """Everything that `media` was shown with; None if it is QUARANTINED no longer."""
    if media["status"] != MediaStatus.QUARANTINED:
        return None
    stored = await stored_renditions(job.media_id, MediaPurpose(media["purpose"]), object_store)
    now = await stores.media.get(job.media_id, fields=("status_sequence",))
    if now is None or now["status_sequence"] != media["status_sequence"]:
        # It was released meanwhile, and what was listed may be what it was given since.
        return None
    retired = {each["key"] for each in media.get("retired_renditions", [])}
    return {*_listed(media), *retired, *stored}


async def _remove_due(job: Job, media: MediaDocument, stores: Stores, object_store: ObjectStore) -> None:
    due = await _due(media, stores)
    # One that is listed again stays.
    await _remove(job, due - _listed(media), stores, object_store)
    await stores.renditions.forget_retired(job.media_id, sorted(due))


async def _due(media: MediaDocument, stores: Stores) -> set[str]:
    now = await stores.media.server_time()
    return {each["key"] for each in media.get("retired_renditions", []) if each["due_at"] <= now}


def _listed(media: MediaDocument) -> set[str]:
    return {rendition["key"] for rendition in media.get("renditions", [])}


async def _remove(job: Job, keys: Collection[str], stores: Stores, object_store: ObjectStore) -> None:
    if not keys:
        return
    request_id = None
    if stores.invalidations is not None:
        request_id = await stores.invalidations.plan(job.id, job.media_id, keys)
    await remove_for_good({(object_store.media_bucket, key) for key in keys}, object_store)
    if stores.invalidations is not None and request_id is not None:
        await stores.invalidations.release(request_id)
