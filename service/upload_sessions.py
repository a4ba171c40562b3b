"""What a client does with an open session: have requests signed, see what storage confirms, end it early."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

from service.access import Viewer
from service.assembly import Confirmed, confirmed
from service.audit import AuditAction, Note
from service.documents import UploadDocument
from service.errors import InvalidInput, NotFound, StateConflict, UploadExpired
from service.failpoints import Failpoint, reach
from service.finalisation import expire, finalise
from service.lifecycle import AWAITING_BYTES, MediaStatus
from service.models import UploadMethod
from service.object_store import ObjectStore, base64_of
from service.part_plan import bytes_of_part
from service.presigning import Part, PresignedRequest
from service.stores import Stores

MAX_SIGNED_PARTS = 100
# Long enough for one part over a bad network; the next attempt has it signed anew.
PART_URL_EXPIRES_S = 3_600

_NO_UPLOAD = "There is no such upload."
_NOTHING_LEFT = "Storage has all bytes of this upload: nothing is left to send."


async def open_session(viewer: Viewer, upload_id: UUID | None, *, stores: Stores) -> UploadDocument:
    """A session of the viewer's own for which bytes are still awaited.

    Raises NotPermitted for a viewer who is erased, NotFound, UploadExpired, or StateConflict once its bytes are there.
    """
    if viewer.id is not None:
        await stores.erasures.refuse(viewer.id)
    upload = await stores.uploads.get_own(viewer.id, upload_id)
    media = None if upload is None else await stores.media.get(upload["_id"], fields=())
    if upload is None or media is None or media["status"] == MediaStatus.DELETED:
        raise NotFound(_NO_UPLOAD, field=["uploadId"])
    if media["status"] == MediaStatus.EXPIRED or (media["status"] in AWAITING_BYTES and remaining_s(upload) < 1):
        raise UploadExpired("This upload has ended. Start a new one.", field=["uploadId"])
    if media["status"] not in AWAITING_BYTES or upload.get("linked"):
        raise StateConflict("Storage has all bytes of this upload: nothing is left to send.", field=["uploadId"])
    return upload


def remaining_s(upload: UploadDocument) -> int:
    """Whole seconds until the session ends; negative afterwards."""
    return int((upload["expires_at"] - datetime.now(UTC)).total_seconds())


async def sign_parts(
    viewer: Viewer,
    upload_id: UUID | None,
    numbers: Sequence[int],
    *,
    sha256s: Mapping[int, str],
    stores: Stores,
    object_store: ObjectStore,
) -> list[tuple[Part, PresignedRequest]]:
    """A request for each of up to MAX_SIGNED_PARTS parts, in the order asked for; asking again costs nothing.

    `sha256s`: SHA-256 in hex by part number; once given for one part, storage demands it of all. Raises NotFound,
    InvalidInput, StateConflict, UploadExpired.
    """
    upload = await open_session(viewer, upload_id, stores=stores)
    _check_numbers(upload, numbers, sha256s)
    if "storage_upload_id" not in upload:
        upload = await _begin_multipart(upload, checksums=bool(sha256s), stores=stores, object_store=object_store)
    _check_checksums(upload, numbers, sha256s)
    await note_started(upload, stores=stores)
    reach(Failpoint.UPLOADING_WRITTEN)
    parts = [
        Part(
            number,
            bytes_of_part(number, upload["bytes"], upload["part_size"]),
            base64_of(sha256s[number]) if number in sha256s else None,
        )
        for number in numbers
    ]
    if sha256s:
        checksums = {part.number: part.checksum for part in parts if part.checksum is not None}
        await stores.uploads.remember_checksums(upload["_id"], checksums)
    signed = object_store.presigner.parts(
        key=upload["key"],
        storage_upload_id=upload["storage_upload_id"],
        parts=parts,
        expires_s=min(remaining_s(upload), PART_URL_EXPIRES_S),
    )
    return list(zip(parts, signed, strict=True))


async def note_started(upload: UploadDocument, *, stores: Stores) -> None:
    """The first request for a part of an upload is given out: INITIATED becomes UPLOADING, once."""
    started = Note(AuditAction.UPLOAD_STARTED, actor=upload["owner_id"])
    moved = await stores.media.transition(
        upload["_id"], MediaStatus.UPLOADING, sources={MediaStatus.INITIATED}, note=started
    )
    if moved is not None:
        await stores.audit.settle("media", [upload["_id"]])


def _check_numbers(upload: UploadDocument, numbers: Sequence[int], sha256s: Mapping[int, str]) -> None:
    if upload["method"] != UploadMethod.MULTIPART:
        raise InvalidInput("This upload is sent in one piece, to its target.", field=["uploadId"])
    if not 1 <= len(numbers) <= MAX_SIGNED_PARTS:
        raise InvalidInput(f"Ask for 1 to {MAX_SIGNED_PARTS} parts at once.", field=["partNumbers"])
    if len(set(numbers)) != len(numbers):
        raise InvalidInput("A part number is listed twice.", field=["partNumbers"])
    for index, number in enumerate(numbers):
        if not 1 <= number <= upload["part_count"]:
            raise InvalidInput(f"This upload has parts 1 to {upload['part_count']}.", field=["partNumbers", index])
    if not sha256s.keys() <= set(numbers):
        raise InvalidInput("A checksum is given for a part that was not asked for.", field=["partChecksums"])


def _check_checksums(upload: UploadDocument, numbers: Sequence[int], sha256s: Mapping[int, str]) -> None:
    if "part_checksums" in upload:
        if missing := [number for number in numbers if number not in sha256s]:
            raise InvalidInput(
                f"This upload was begun with checksums: give the SHA-256 of part {missing[0]} as well.",
                field=["partChecksums"],
            )
    elif sha256s:
        raise InvalidInput("This upload was begun without checksums: go on without them.", field=["partChecksums"])


async def _begin_multipart(
    upload: UploadDocument, *, checksums: bool, stores: Stores, object_store: ObjectStore
) -> UploadDocument:
    """Begun when the first part is signed, so that a session nobody uses leaves nothing in storage."""
    if await object_store.head(upload["bucket"], upload["key"]) is not None:
        # Put together from the parts of an earlier one, by a call that died before it could say so.
        await finalise(upload, actor=upload["owner_id"], stores=stores, object_store=object_store)
        await stores.audit.settle("media", [upload["_id"]])
        raise StateConflict(_NOTHING_LEFT, field=["uploadId"])
    storage_upload_id = await object_store.multipart.begin(upload["key"], upload["content_type"], checksums=checksums)
    reach(Failpoint.MULTIPART_CREATED)
    bound = await _bind(upload, storage_upload_id, checksums=checksums, stores=stores)
    reach(Failpoint.MULTIPART_REMEMBERED)
    if bound["storage_upload_id"] != storage_upload_id:
        # A twin was first.
        await object_store.multipart.abort(upload["key"], storage_upload_id)
    return bound


async def _bind(upload: UploadDocument, storage_upload_id: str, *, checksums: bool, stores: Stores) -> UploadDocument:
    bound = await stores.uploads.remember_multipart(upload["_id"], storage_upload_id, checksums=checksums)
    if bound is None or "storage_upload_id" not in bound:
        raise NotFound(_NO_UPLOAD, field=["uploadId"])
    return bound


async def find_confirmed(
    upload: UploadDocument, status: MediaStatus, *, stores: Stores, object_store: ObjectStore
) -> Confirmed:
    """What storage has of an upload that awaits its bytes; of any other there is nothing to ask."""
    if status not in AWAITING_BYTES or upload.get("linked"):
        return Confirmed()
    return await confirmed(upload, stores=stores, object_store=object_store)


async def abort_upload(
    viewer: Viewer, upload_id: UUID | None, *, idempotency_key: str, stores: Stores, object_store: ObjectStore
) -> UUID:
    """End a session whose bytes are no longer wanted; returns the id of its media, from now on EXPIRED.

    Raises NotFound, IdempotencyKeyReused, or StateConflict once its bytes are there: then it is a media to delete.
    """
    upload = await stores.uploads.get_own(viewer.id, upload_id)
    media = None if upload is None else await stores.media.get(upload["_id"], fields=())
    if upload is None or media is None or media["status"] == MediaStatus.DELETED:
        raise NotFound(_NO_UPLOAD, field=["uploadId"])
    await stores.idempotency.remember(
        owner_id=upload["owner_id"], operation="abortUpload", key=idempotency_key, content=str(upload_id), plan={}
    )
    aborted = Note(AuditAction.UPLOAD_ABORTED, actor=upload["owner_id"])
    is_over = await expire(upload, note=aborted, stores=stores, object_store=object_store)
    await stores.audit.settle("media", [upload["_id"]])
    if not is_over:
        raise StateConflict("The bytes of this upload have arrived. Delete its media instead.", field=["uploadId"])
    return upload["_id"]
