"""Removing renditions that newer ones replaced, once no address that was given out opens them any longer."""

from __future__ import annotations

from service.invalidation import CloudFrontInvalidator
from service.models import Job
from service.object_store import ObjectStore
from service.stores import Stores


async def retire_renditions(
    job: Job, *, stores: Stores, object_store: ObjectStore, invalidator: CloudFrontInvalidator | None
) -> None:
    """Remove the replaced renditions of a media whose time has come, from storage and then from the CDN's caches.

    May be run any number of times. Raises TemporarilyUnavailable; what is left is tried again.
    """
    media = await stores.media.get(job.media_id, fields=("retired_renditions", "renditions.key"))
    if media is None:
        return
    now = await stores.media.server_time()
    listed = {rendition["key"] for rendition in media.get("renditions", [])}
    due = [each["key"] for each in media.get("retired_renditions", []) if each["due_at"] <= now]
    # One that is listed again stays.
    gone = [key for key in due if key not in listed]
    await object_store.delete(object_store.media_bucket, gone)
    if invalidator is not None and gone:
        await invalidator.invalidate(gone)
    await stores.renditions.forget_retired(job.media_id, due)
