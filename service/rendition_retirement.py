"""Removing renditions that nobody is to be shown any longer: replaced ones that are due, all of a quarantined media."""

from __future__ import annotations

from collections.abc import Sequence

from service.documents import MediaDocument
from service.lifecycle import MediaStatus
from service.models import Job, MediaPurpose
from service.object_store import ObjectStore
from service.quarantine import QUARANTINE_TOPIC
from service.stored_renditions import stored_renditions
from service.stores import Stores

_FIELDS = ("status", "purpose", "retired_renditions", "renditions.key")


async def retire_renditions(job: Job, *, stores: Stores, object_store: ObjectStore) -> None:
    """Remove from storage what is due, and have the CDN forget it.

    For a job of the quarantine, that is every rendition; nothing if its media was released in the meantime. May be run
    any number of times. Raises TemporarilyUnavailable; what is left is tried again.
    """
    media = await stores.media.get(job.media_id, fields=_FIELDS)
    if media is None:
        return
    if job.topic == QUARANTINE_TOPIC:
        if media["status"] == MediaStatus.QUARANTINED:
            every = await stored_renditions(job.media_id, MediaPurpose(media["purpose"]), object_store)
            await _remove(job, sorted({*_listed(media), *every}), stores, object_store)
            await stores.renditions.forget_quarantined(job.media_id)
        return
    now, listed = await stores.media.server_time(), _listed(media)
    due = [each["key"] for each in media.get("retired_renditions", []) if each["due_at"] <= now]
    # One that is listed again stays.
    gone = await _remove(job, [key for key in due if key not in listed], stores, object_store)
    await stores.renditions.forget_retired(job.media_id, [*gone, *listed & set(due)])


def _listed(media: MediaDocument) -> set[str]:
    return {rendition["key"] for rendition in media.get("renditions", [])}


async def _remove(job: Job, keys: Sequence[str], stores: Stores, object_store: ObjectStore) -> Sequence[str]:
    """Remove `keys`, or what an earlier attempt at the job had begun to; those that were removed."""
    if stores.invalidations is not None and keys:
        # Only what was written down will be forgotten by edges: what fell due since then is for another job.
        keys = (await stores.invalidations.plan(job.id, job.media_id, keys))["keys"]
    await object_store.delete(object_store.media_bucket, keys)
    if stores.invalidations is not None:
        await stores.invalidations.release(job.id)
    return keys
