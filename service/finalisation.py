"""Finalisation: where the client's call, the storage event and the sweeper meet, and end in the same transition."""

from __future__ import annotations

from uuid import UUID

from service.access import Viewer
from service.errors import (
    ChecksumMismatch,
    FailureCode,
    MediaServiceError,
    NotFound,
    UploadExpired,
    UploadIncomplete,
)
from service.lifecycle import AWAITING_BYTES, MediaStatus
from service.models import JobKind, MediaPurpose, UploadDocument
from service.object_keys import parse_key
from service.object_store import ObjectStore
from service.policies import POLICIES
from service.stores import Stores

_OTHER_BYTES = "Storage holds other bytes than were announced. Start a new upload."


async def complete_upload(
    viewer: Viewer, upload_id: UUID, *, idempotency_key: str, stores: Stores, object_store: ObjectStore
) -> UUID:
    """The client says its bytes are up; returns the id of the media, from now on UPLOADED or beyond.

    Raises NotFound, IdempotencyKeyReused, and whatever `finalise` raises.
    """
    upload = None if viewer.id is None else await stores.uploads.get(upload_id, owner_id=viewer.id)
    if upload is None:
        raise NotFound("There is no such upload.", field=["uploadId"])
    await stores.idempotency.remember(
        owner_id=upload["owner_id"], operation="completeUpload", key=idempotency_key, content=str(upload_id), plan={}
    )
    await finalise(upload, stores=stores, object_store=object_store)
    return upload["_id"]


async def finalise(upload: UploadDocument, *, stores: Stores, object_store: ObjectStore) -> None:
    """HEAD, compare, transition, enqueue. Repeats are free, in any order and from any number of callers.

    Raises UploadIncomplete (retryable), UploadExpired, ChecksumMismatch, or NotFound for a deleted media.
    """
    media = await stores.media.get(upload["_id"], fields=["status", "failure"])
    if media is None:
        raise UploadIncomplete("The upload is still being set up; complete it again shortly.")
    status = MediaStatus(media["status"])
    if status in AWAITING_BYTES:
        await _confirm_bytes(upload, stores=stores, object_store=object_store)
        await stores.uploads.mark_completed(upload["_id"])
        await stores.media.transition(upload["_id"], MediaStatus.UPLOADED, sources=AWAITING_BYTES)
        # Not taken for granted: a deletion or an expiry may have come first.
        media = await stores.media.get(upload["_id"], fields=["status", "failure"]) or media
        status = MediaStatus(media["status"])
    if status is MediaStatus.UPLOADED:
        lane = POLICIES[MediaPurpose(upload["purpose"])].lane
        await stores.jobs.enqueue(upload["_id"], JobKind.PROCESS, lane=lane)
    if status is MediaStatus.EXPIRED:
        raise UploadExpired("This upload ran out before its bytes arrived. Start a new one.", field=["uploadId"])
    if status is MediaStatus.DELETED:
        raise NotFound("There is no such upload.", field=["uploadId"])
    if (media.get("failure") or {}).get("code") == FailureCode.CHECKSUM_MISMATCH:
        raise ChecksumMismatch(_OTHER_BYTES)


async def _confirm_bytes(upload: UploadDocument, *, stores: Stores, object_store: ObjectStore) -> None:
    stored = await object_store.head(upload["bucket"], upload["key"])
    if stored is None:
        raise UploadIncomplete(
            "Storage does not hold the file yet: send it to the upload's target, then complete again."
        )
    # Not every store keeps the checksum it verified; the worker computes it again in any case.
    if stored.bytes == upload["bytes"] and stored.sha256 in {None, upload["sha256"]}:
        return
    failure = {"code": FailureCode.CHECKSUM_MISMATCH.value, "message": _OTHER_BYTES, "retryable": False}
    await stores.media.transition(
        upload["_id"], MediaStatus.FAILED, sources=AWAITING_BYTES, values={"failure": failure}
    )
    raise ChecksumMismatch(_OTHER_BYTES)


async def object_created(bucket: str, key: str, *, stores: Stores, object_store: ObjectStore) -> bool:
    """Storage says that an object has appeared; True if it belongs to an upload.

    An object that arrives for a media that has ended in the meantime is removed again.
    """
    upload_id = parse_key(key)
    if bucket != object_store.upload_bucket or upload_id is None:
        return False
    upload = await stores.uploads.get(upload_id)
    if upload is None or upload["key"] != key:
        return False
    try:
        await finalise(upload, stores=stores, object_store=object_store)
    except (NotFound, UploadExpired):
        await object_store.delete(bucket, [key])
    except (UploadIncomplete, ChecksumMismatch):
        # Written down where it matters; the sender of the event can do nothing about it.
        pass
    return True


async def end_abandoned(upload: UploadDocument, *, stores: Stores, object_store: ObjectStore) -> None:
    """Finalise a session that ran out, or end it as EXPIRED if storage holds nothing."""
    try:
        await finalise(upload, stores=stores, object_store=object_store)
    except UploadIncomplete:
        await stores.media.transition(upload["_id"], MediaStatus.EXPIRED, sources=AWAITING_BYTES)
    except MediaServiceError as error:
        if error.retryable:
            raise
