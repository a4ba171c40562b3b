"""Planning uploads: check a batch, decide once what becomes of each file, and write the sessions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from uuid6 import uuid7

from service.access import Viewer
from service.errors import ErrorCode, MediaServiceError, NotPermitted, Problem
from service.models import MediaDocument, MediaKind, UploadDocument, UploadMethod
from service.object_keys import original_key
from service.policies import POLICIES
from service.stores import Stores
from service.upload_request import BatchRequest, FileRequest, LocationRequest, parse_batch, parse_file


@dataclass(frozen=True, slots=True)
class PlannedUpload:
    """What became of one file of a batch: a session to upload to, or the problem that refused it."""

    upload_id: UUID | None
    problem: Problem | None


async def create_uploads(viewer: Viewer, raw: dict[str, Any], *, stores: Stores, bucket: str) -> list[PlannedUpload]:
    """Write the media of a batch as INITIATED, with the keys they are to use in `bucket`; one outcome a file, in order.

    Raises NotPermitted without a signed-in viewer, InvalidInput for the batch as a whole, IdempotencyKeyReused.
    """
    if viewer.id is None:
        raise NotPermitted("Sign in to upload.")
    batch = parse_batch(raw)
    files = [parse_file(file, batch.purpose, position) for position, file in enumerate(batch.files)]
    plan = await stores.idempotency.remember(
        owner_id=viewer.id,
        operation="createUploads",
        key=batch.idempotency_key,
        content=batch.model_dump(mode="json", exclude={"idempotency_key"}),
        plan={"capture_id": batch.capture_id or str(uuid7()), "files": [_decide(file) for file in files]},
    )
    media, uploads = _documents(viewer.id, batch, files, plan, bucket)
    await stores.uploads.insert(uploads)
    await stores.media.insert_initiated(media)
    return [_outcome(decision) for decision in plan["files"]]


def _decide(file: FileRequest | MediaServiceError) -> dict[str, Any]:
    if isinstance(file, MediaServiceError):
        return {"problem": asdict(file.problem())}
    return {"id": str(uuid7())}


def _outcome(decision: dict[str, Any]) -> PlannedUpload:
    if "id" in decision:
        return PlannedUpload(UUID(decision["id"]), None)
    problem = decision["problem"]
    field = None if problem["field"] is None else tuple(problem["field"])
    return PlannedUpload(None, Problem(**{**problem, "code": ErrorCode(problem["code"]), "field": field}))


def _documents(
    owner_id: str,
    batch: BatchRequest,
    files: Sequence[FileRequest | MediaServiceError],
    plan: dict[str, Any],
    bucket: str,
) -> tuple[list[MediaDocument], list[UploadDocument]]:
    media, uploads = [], []
    for position, (file, decision) in enumerate(zip(files, plan["files"], strict=True)):
        # A repeat follows the remembered plan, even where a policy has changed since.
        if isinstance(file, FileRequest) and "id" in decision:
            upload = _session(owner_id, batch, file, UUID(decision["id"]), bucket)
            uploads.append(upload)
            media.append(_initiated(upload, batch, file, capture_id=plan["capture_id"], position=position))
    return media, uploads


def _session(owner_id: str, batch: BatchRequest, file: FileRequest, upload_id: UUID, bucket: str) -> UploadDocument:
    now = datetime.now(UTC)
    client = {} if batch.client is None else batch.client.model_dump(mode="json", exclude_none=True)
    return UploadDocument(
        _id=upload_id,
        owner_id=owner_id,
        purpose=batch.purpose.value,
        method=UploadMethod.SINGLE.value,
        bucket=bucket,
        key=original_key(batch.purpose, upload_id, file.content_type),
        content_type=file.content_type,
        bytes=file.byte_size,
        sha256=file.sha256 or "",
        client=client if file.file_name is None else {**client, "file_name": file.file_name},
        created_at=now,
        expires_at=now + timedelta(seconds=POLICIES[batch.purpose].upload_expires_s),
    )


def _initiated(
    upload: UploadDocument, batch: BatchRequest, file: FileRequest, *, capture_id: str, position: int
) -> MediaDocument:
    visibility = batch.visibility or POLICIES[batch.purpose].default_visibility
    return MediaDocument(
        _id=upload["_id"],
        owner_id=upload["owner_id"],
        kind=MediaKind.IMAGE.value,
        purpose=batch.purpose.value,
        visibility=visibility.value,
        capture_id=capture_id,
        position=position,
        subject=None if batch.subject is None else batch.subject.model_dump(),
        album_ids=file.album_ids,
        title=file.title,
        alt_text=file.alt_text,
        tags=file.tags,
        focus=None if file.focus is None else file.focus.model_dump(),
        location=None if file.location is None else _point(file.location),
        captured_at=file.captured_at,
        content={"type": file.content_type, "bytes": file.byte_size, "sha256": file.sha256},
        original={"bucket": upload["bucket"], "key": upload["key"]},
        renditions=[],
    )


def _point(location: LocationRequest) -> dict[str, Any]:
    """GeoJSON (RFC 7946): longitude first."""
    return {"type": "Point", "coordinates": [location.longitude, location.latitude]}
