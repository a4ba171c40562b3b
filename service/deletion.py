"""Deletion: hidden by the request itself, then removed from storage by a job that may be run any number of times."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from service.access import Action, Viewer, granted_filters
from service.errors import InvalidInput, NotFound, NotPermitted, StorageRefused
from service.lifecycle import MediaStatus
from service.models import Job, JobKind, Lane, MediaDocument, MediaPurpose
from service.object_store import ObjectStore
from service.policies import LATE_BYTES
from service.stored_renditions import stored_renditions
from service.stores import Stores
from service.stores.deletions import DeletionDocument

MAX_IDS = 100

_FIELDS = ("purpose", "original", "renditions.key")


async def request_deletions(
    viewer: Viewer, media_ids: Sequence[UUID | None], *, idempotency_key: str, stores: Stores, media_bucket: str
) -> dict[UUID, DeletionDocument]:
    """Hide media at once and see to the removal of their objects; the deletions, by the id of their media.

    Ids that are unknown or not the viewer's to delete are left out; a media that is deleted already gives the deletion
    it has. Raises NotPermitted, InvalidInput, IdempotencyKeyReused.
    """
    if viewer.id is None:
        raise NotPermitted("Sign in to delete.")
    if not 1 <= len(media_ids) <= MAX_IDS:
        raise InvalidInput(f"Give 1 to {MAX_IDS} ids.", field=["ids"])
    await stores.idempotency.remember(
        owner_id=viewer.id, operation="deleteMedia", key=idempotency_key, content=sorted(map(str, media_ids)), plan={}
    )
    wanted = [media_id for media_id in dict.fromkeys(media_ids) if media_id is not None]
    found = await stores.media.get_many(wanted, fields=_FIELDS, access=granted_filters(viewer, Action.DELETE))
    return {
        media_id: await _hide(found[media_id], viewer.id, stores, media_bucket)
        for media_id in wanted
        if media_id in found
    }


async def _hide(media: MediaDocument, requested_by: str, stores: Stores, media_bucket: str) -> DeletionDocument:
    # Intent and job come before the status: whatever dies in between, the job finishes what was asked for.
    deletion = await stores.deletions.request(
        media["_id"],
        owner_id=media["owner_id"],
        requested_by=requested_by,
        purpose=media["purpose"],
        objects=_objects(media, media_bucket),
    )
    await stores.jobs.enqueue(media["_id"], JobKind.DELETE, lane=Lane.STANDARD)
    await stores.media.transition(media["_id"], MediaStatus.DELETED)
    return deletion


def _objects(media: MediaDocument, media_bucket: str) -> list[dict[str, str]]:
    original = media.get("original")
    renditions = [{"bucket": media_bucket, "key": rendition["key"]} for rendition in media.get("renditions", [])]
    return renditions if original is None else [{"bucket": original["bucket"], "key": original["key"]}, *renditions]


async def remove_objects(job: Job, *, stores: Stores, object_store: ObjectStore) -> None:
    """Remove everything storage holds of a deleted media, confirm that it is gone, and strip the document.

    Also removes renditions that a worker wrote while the request came in. Raises TemporarilyUnavailable if storage
    keeps an object.
    """
    deletion = (await stores.deletions.get_many([job.media_id])).get(job.media_id)
    if deletion is None:
        raise NotFound(f"No deletion was requested for media {job.media_id}.")
    await stores.media.transition(job.media_id, MediaStatus.DELETED)
    keys = {(entry["bucket"], entry["key"]) for entry in deletion["objects"]}
    renditions = await stored_renditions(job.media_id, MediaPurpose(deletion["purpose"]), object_store)
    keys |= {(object_store.media_bucket, key) for key in renditions}
    for bucket in sorted({bucket for bucket, _ in keys}):
        await object_store.delete(bucket, sorted(key for holder, key in keys if holder == bucket))
    for bucket, key in sorted(keys):
        if await object_store.head(bucket, key) is not None:
            raise StorageRefused(f"Storage still holds {key} after its deletion; it will be removed again.")
    await _look_again_after_the_session(job, stores)
    await stores.media.strip_deleted(job.media_id)
    await stores.uploads.strip_deleted(job.media_id)
    await stores.deletions.mark_objects_removed(job.media_id, keys=sorted(keys))


async def _look_again_after_the_session(job: Job, stores: Stores) -> None:
    """A presigned request may still be used until its session is over: what it leaves then is removed as well."""
    upload = await stores.uploads.get(job.media_id)
    if upload is None:
        return
    remaining = (upload["expires_at"] + LATE_BYTES - datetime.now(UTC)).total_seconds()
    if remaining > 0:
        await stores.jobs.enqueue(job.media_id, JobKind.DELETE, lane=Lane.BACKFILL, generation=2, delay_s=remaining)


async def find_deletions(viewer: Viewer, media_ids: Sequence[UUID], *, stores: Stores) -> dict[UUID, DeletionDocument]:
    """Deletions by the id of their media, as far as the viewer may delete it."""
    media = await stores.media.get_many(media_ids, fields=(), access=granted_filters(viewer, Action.DELETE))
    return await stores.deletions.get_many(media) if media else {}
