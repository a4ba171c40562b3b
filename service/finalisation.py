"""Finalisation: where the client's call, the storage event and the sweeper meet, and end in the same transition."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from service.access import Viewer
from service.assembly import ClaimedPart, assemble
from service.audit import SERVICE_ACTOR, AuditAction, Note
from service.documents import UploadDocument
from service.errors import (
    ChecksumMismatch,
    FailureCode,
    InvalidInput,
    MediaServiceError,
    NotFound,
    UploadExpired,
    UploadIncomplete,
)
from service.failpoints import Failpoint, reach
from service.kept_media import removal_of
from service.lifecycle import AWAITING_BYTES, MediaStatus
from service.models import StoredObject, UploadMethod
from service.object_keys import parse_key
from service.object_store import ObjectStore
from service.original_content import give_up_unless_kept
from service.part_plan import MAX_PARTS
from service.processing_jobs import PROCESSING_FIELDS, enqueue_processing
from service.quotas import count, settle
from service.remnants import remove_remnants
from service.stores import Stores

_OTHER_BYTES = "Storage holds other bytes than were announced. Start a new upload."
_FIELDS = (*PROCESSING_FIELDS, "failure", "original.key")


async def complete_upload(
    viewer: Viewer,
    upload_id: UUID | None,
    *,
    idempotency_key: str,
    parts: Sequence[ClaimedPart] | None = None,
    stores: Stores,
    object_store: ObjectStore,
) -> UUID:
    """The client says its bytes are up; returns the id of the media, from now on UPLOADED or beyond.

    `parts`: what the client believes to have sent; None leaves it to what storage confirms. Raises NotFound,
    InvalidInput, IdempotencyKeyReused, and whatever `finalise` raises.
    """
    upload = await stores.uploads.get_own(viewer.id, upload_id)
    if upload is None:
        raise NotFound("There is no such upload.", field=["uploadId"])
    if parts is not None and len(parts) > MAX_PARTS:
        raise InvalidInput(f"No upload has more than {MAX_PARTS} parts.", field=["parts"])
    content = [str(upload_id), *([] if parts is None else [[part.number, part.etag] for part in parts])]
    await stores.idempotency.remember(
        owner_id=upload["owner_id"], operation="completeUpload", key=idempotency_key, content=content, plan={}
    )
    try:
        await finalise(upload, parts, actor=upload["owner_id"], stores=stores, object_store=object_store)
    finally:
        # Also what was refused may have ended the media.
        await stores.audit.settle("media", [upload["_id"]])
    return upload["_id"]


async def finalise(
    upload: UploadDocument,
    parts: Sequence[ClaimedPart] | None = None,
    *,
    actor: str = SERVICE_ACTOR,
    stores: Stores,
    object_store: ObjectStore,
) -> None:
    """HEAD, compare, transition, enqueue. Repeats are free, in any order and from any number of callers.

    An upload in parts is put together first, if storage has them all (and as `parts` has them, where given). `actor`:
    on whose word this looks, as it goes on record. Raises UploadIncomplete (retryable), UploadExpired,
    ChecksumMismatch, or NotFound for a deleted media.
    """
    media = await stores.media.get(upload["_id"], fields=_FIELDS)
    if media is None:
        raise UploadIncomplete("The upload is still being set up; complete it again shortly.")
    status = MediaStatus(media["status"])
    if status in AWAITING_BYTES:
        await _confirm_bytes(upload, parts, stores=stores, object_store=object_store)
        reach(Failpoint.BYTES_CONFIRMED)
        await _drop_parts(upload, object_store)
        await stores.uploads.mark_completed(upload["_id"])
        reach(Failpoint.COMPLETION_NOTED)
        await stores.media.transition(
            upload["_id"],
            MediaStatus.UPLOADED,
            sources=AWAITING_BYTES,
            values=_known_content(upload),
            note=Note(AuditAction.UPLOAD_COMPLETED, actor=actor),
        )
        reach(Failpoint.UPLOADED_WRITTEN)
        await settle(upload["owner_id"], upload["_id"], stores=stores)
        # From here on none is begun any more; one that was begun a moment ago must not outlive the session.
        await _drop_parts(upload, object_store)
        # Not taken for granted: a deletion or an expiry may have come first.
        media = await stores.media.get(upload["_id"], fields=_FIELDS) or media
        status = MediaStatus(media["status"])
    if status is MediaStatus.UPLOADED:
        await enqueue_processing(media, stores.jobs)
        reach(Failpoint.PROCESSING_ENQUEUED)
    if status is MediaStatus.EXPIRED:
        raise UploadExpired("This upload ended before its bytes arrived. Start a new one.", field=["uploadId"])
    if status is MediaStatus.DELETED:
        raise NotFound("There is no such upload.", field=["uploadId"])
    if (media.get("failure") or {}).get("code") == FailureCode.CHECKSUM_MISMATCH:
        raise ChecksumMismatch(_OTHER_BYTES)


def _known_content(upload: UploadDocument) -> dict[str, Any]:
    """What changes in a media whose session was linked to content that storage had already."""
    if not upload.get("linked"):
        return {}
    return {"original": {"bucket": upload["bucket"], "key": upload["key"]}, "content.sha256": upload["sha256"]}


async def _confirm_bytes(
    upload: UploadDocument, parts: Sequence[ClaimedPart] | None, *, stores: Stores, object_store: ObjectStore
) -> None:
    stored = await _stored_object(upload, parts, stores=stores, object_store=object_store)
    if stored is None:
        raise UploadIncomplete(
            "Storage does not hold the file yet: send it to the upload's target, then complete again."
        )
    # Not every store keeps the checksum it verified, and of parts none has one of the whole; the worker computes it.
    announced = upload["sha256"] or None
    if stored.bytes == upload["bytes"] and (announced is None or stored.sha256 in {None, announced}):
        return
    failure = {"code": FailureCode.CHECKSUM_MISMATCH.value, "message": _OTHER_BYTES, "retryable": False}
    await stores.media.transition(
        upload["_id"], MediaStatus.FAILED, sources=AWAITING_BYTES, values={"failure": failure}
    )
    await count(upload["owner_id"], upload["_id"], stores=stores)
    # Of no use to anybody, and nothing that a new upload could go on from.
    await clear_storage(upload, stores=stores, object_store=object_store)
    raise ChecksumMismatch(_OTHER_BYTES)


async def _stored_object(
    upload: UploadDocument, parts: Sequence[ClaimedPart] | None, *, stores: Stores, object_store: ObjectStore
) -> StoredObject | None:
    stored = await object_store.head(upload["bucket"], upload["key"])
    if stored is not None or upload["method"] != UploadMethod.MULTIPART or upload.get("linked"):
        return stored
    return await assemble(upload, parts, stores=stores, object_store=object_store)


async def object_created(bucket: str, key: str, *, stores: Stores, object_store: ObjectStore) -> bool:
    """Storage says that an object has appeared; True if it belongs to an upload.

    An object that arrives for a media that has ended in the meantime, or that needs it no longer, is removed again.
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
        await _remove_late(upload, stores=stores, object_store=object_store)
    except (UploadIncomplete, ChecksumMismatch):
        # Written down where it matters; the sender of the event can do nothing about it.
        pass
    else:
        await _remove_unneeded_copy(upload, stores=stores, object_store=object_store)
    return True


async def _remove_late(upload: UploadDocument, *, stores: Stores, object_store: ObjectStore) -> None:
    bucket, key = upload["bucket"], upload["key"]
    if await object_store.head(bucket, key) is not None and await stores.contents.is_free(key):
        await remove_remnants(upload["_id"], [(bucket, key)], stores=stores, object_store=object_store)
    await clear_storage(upload, stores=stores, object_store=object_store)


async def _remove_unneeded_copy(upload: UploadDocument, *, stores: Stores, object_store: ObjectStore) -> None:
    # The same bytes, sent again after the media was pointed to another object that holds them.
    media = await stores.media.get(upload["_id"], fields=_FIELDS)
    if media is not None and media.get("original", {}).get("key") != upload["key"]:
        await clear_storage(upload, stores=stores, object_store=object_store)


async def _drop_parts(upload: UploadDocument, object_store: ObjectStore) -> None:
    """Those of every multipart upload: a process that died right after it began one has not written it down."""
    if upload["method"] == UploadMethod.MULTIPART and not upload.get("linked"):
        await object_store.multipart.abort_all(upload["key"])


async def clear_storage(upload: UploadDocument, *, stores: Stores, object_store: ObjectStore) -> None:
    """Remove what storage holds for a session whose media does not need it: parts, and the object unless shared.

    And unless the media is kept.
    """
    await _drop_parts(upload, object_store)
    async with removal_of(upload["_id"], stores=stores) as kept:
        if kept is None and await stores.contents.is_free(upload["key"]):
            await object_store.delete(upload["bucket"], [upload["key"]])


async def end_abandoned(upload: UploadDocument, *, stores: Stores, object_store: ObjectStore) -> None:
    """Finalise a session that ran out, or end it as EXPIRED if storage does not hold all of it."""
    try:
        await finalise(upload, stores=stores, object_store=object_store)
    except UploadIncomplete:
        await expire(upload, stores=stores, object_store=object_store)
    except MediaServiceError as error:
        if error.retryable:
            raise


async def end_unopened(media_id: UUID, *, stores: Stores, object_store: ObjectStore) -> None:
    """End a media as EXPIRED whose session was never written: its client cannot have been told where to send bytes.

    The sweeper clears it once more: a late repeat of the request may have gone on where the first one broke off.
    """
    ended = await stores.media.transition(
        media_id, MediaStatus.EXPIRED, sources=AWAITING_BYTES, look_again_at=datetime.now(UTC)
    )
    if ended is not None:
        await give_up_unless_kept(media_id, stores=stores, object_store=object_store)


async def expire(
    upload: UploadDocument, *, note: Note | None = None, stores: Stores, object_store: ObjectStore
) -> bool:
    """End a session and clear what it left; False if its bytes were there already. `note`: that nobody merely left it.

    First the status: bytes that arrive at this moment are either counted or cleared, never one and then the other.
    The sweeper clears again, soon and when the session would have ended: what was presigned may be used until then.
    """
    ended = await stores.media.transition(
        upload["_id"], MediaStatus.EXPIRED, sources=AWAITING_BYTES, look_again_at=datetime.now(UTC), note=note
    )
    if ended is None:
        media = await stores.media.get(upload["_id"], fields=())
        if media is None or media["status"] != MediaStatus.EXPIRED:
            return False
    await count(upload["owner_id"], upload["_id"], stores=stores)
    await give_up_unless_kept(upload["_id"], stores=stores, object_store=object_store)
    await clear_storage(upload, stores=stores, object_store=object_store)
    return True
