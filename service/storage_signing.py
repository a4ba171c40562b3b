"""Signing single storage requests for upload libraries that speak S3 themselves, one request at a time.

What is signed is bound to one session: its key, its one multipart upload, its part lengths, its type and checksum.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from uuid import UUID

from service.access import Viewer
from service.assembly import confirmed
from service.documents import UploadDocument
from service.errors import InvalidInput, NotFound, NotPermitted, StateConflict
from service.models import UploadMethod
from service.object_store import ObjectStore
from service.part_plan import bytes_of_part
from service.presigning import Part, PresignedRequest
from service.stores import Stores
from service.upload_sessions import PART_URL_EXPIRES_S, note_started, open_session, remaining_s


class StorageMethod(enum.StrEnum):
    GET = "GET"
    PUT = "PUT"
    POST = "POST"
    DELETE = "DELETE"


@dataclass(frozen=True, slots=True)
class StorageRequest:
    """A request that a client wants to make of storage. `storage_upload_id`: storage's name of the multipart upload."""

    method: StorageMethod
    key: str
    storage_upload_id: str | None = None
    part_number: int | None = None
    content_type: str | None = None


async def sign_storage_request(
    viewer: Viewer, upload_id: UUID | None, request: StorageRequest, *, stores: Stores, object_store: ObjectStore
) -> PresignedRequest:
    """Presign one request of an open session; asking again costs nothing.

    PUT creates the object, or with a part number sends a part; POST begins a multipart upload, or completes the one
    named; GET lists its parts; DELETE aborts it. Raises NotFound (also for another session's key or multipart upload),
    NotPermitted for the deletion of an object, InvalidInput, StateConflict, UploadExpired.
    """
    if request.method is StorageMethod.DELETE and request.storage_upload_id is None:
        raise NotPermitted("Objects are not deleted this way: delete the media instead.", field=["method"])
    upload = await open_session(viewer, upload_id, stores=stores)
    if request.key != upload["key"]:
        raise NotFound("This upload has another key.", field=["key"])
    if request.content_type is not None and request.content_type != upload["content_type"]:
        raise InvalidInput(f"This upload was announced as {upload['content_type']}.", field=["contentType"])
    expires_s = min(remaining_s(upload), PART_URL_EXPIRES_S)
    if request.storage_upload_id is None:
        return await _first_request(upload, request, expires_s, stores, object_store)
    bound = await _bound(upload, request.storage_upload_id, stores=stores, object_store=object_store)
    return _request_on_multipart(bound, request, expires_s, object_store)


async def _first_request(
    upload: UploadDocument, request: StorageRequest, expires_s: int, stores: Stores, object_store: ObjectStore
) -> PresignedRequest:
    is_multipart = upload["method"] == UploadMethod.MULTIPART
    if request.part_number is not None or request.method is StorageMethod.GET:
        raise InvalidInput("Name the multipart upload that this is about.", field=["storageUploadId"])
    if is_multipart != (request.method is StorageMethod.POST):
        shape = "in parts: begin with POST" if is_multipart else "in one piece: send it with PUT"
        raise InvalidInput(f"This upload is sent {shape}.", field=["method"])
    if not is_multipart:
        return object_store.presign_put(
            key=upload["key"],
            content_type=upload["content_type"],
            byte_size=upload["bytes"],
            sha256=upload["sha256"],
            expires_s=expires_s,
        )
    if "storage_upload_id" in upload and not await _is_dropped(upload, stores, object_store):
        raise StateConflict("This upload has begun: go on with it, or abort it and start a new one.", field=["method"])
    return object_store.presigner.create_multipart(
        key=upload["key"], content_type=upload["content_type"], expires_s=expires_s
    )


async def _is_dropped(upload: UploadDocument, stores: Stores, object_store: ObjectStore) -> bool:
    """Whether storage has nothing left of what was begun: the library aborted it there, to begin again."""
    held = await confirmed(upload, stores=stores, object_store=object_store)
    current = await stores.uploads.get(upload["_id"])
    return held.whole is None and current is not None and "storage_upload_id" not in current


async def _bound(
    upload: UploadDocument, storage_upload_id: str, *, stores: Stores, object_store: ObjectStore
) -> UploadDocument:
    """The session, bound to the first multipart upload that storage confirms for its key."""
    unknown = NotFound("This upload has no such multipart upload.", field=["storageUploadId"])
    bound: UploadDocument | None = upload
    if "storage_upload_id" not in upload:
        if await object_store.multipart.list_parts(upload["key"], storage_upload_id) is None:
            raise unknown
        bound = await stores.uploads.remember_multipart(upload["_id"], storage_upload_id, checksums=False)
    if bound is None or bound.get("storage_upload_id") != storage_upload_id:
        raise unknown
    # Also where it was bound before: whoever bound it may have died before it could say so.
    await note_started(upload, stores=stores)
    return bound


def _request_on_multipart(
    upload: UploadDocument, request: StorageRequest, expires_s: int, object_store: ObjectStore
) -> PresignedRequest:
    storage_upload_id = upload["storage_upload_id"]
    if (request.method is StorageMethod.PUT) != (request.part_number is not None):
        raise InvalidInput("PUT sends a part, and only it: name its number.", field=["partNumber"])
    if request.part_number is None:
        return object_store.presigner.on_multipart(
            request.method.value, key=upload["key"], storage_upload_id=storage_upload_id, expires_s=expires_s
        )
    if not 1 <= request.part_number <= upload["part_count"]:
        raise InvalidInput(f"This upload has parts 1 to {upload['part_count']}.", field=["partNumber"])
    part = Part(request.part_number, bytes_of_part(request.part_number, upload["bytes"], upload["part_size"]))
    [signed] = object_store.presigner.parts(
        key=upload["key"], storage_upload_id=storage_upload_id, parts=[part], expires_s=expires_s
    )
    return signed
