"""Upload sessions: what to send where, and what storage has confirmed."""

from __future__ import annotations

from datetime import UTC, datetime

import strawberry

from schema.context import Info
from schema.global_id import encode_id
from schema.media import Media
from schema.node import Node
from schema.scalars import SHA256, URL, ByteSize
from schema.stored import stored
from schema.values import BoundingBoxInput, GeoPointInput, SubjectInput
from service.lifecycle import AWAITING_BYTES, MediaStatus
from service.models import MediaPurpose, NetworkQuality, UploadDocument, UploadMethod, Visibility


@strawberry.type
class HttpHeader:
    name: str
    value: str


@strawberry.type(description="A request to make as it stands: with exactly these headers, and the announced bytes.")
class UploadTarget:
    method: str
    url: URL
    headers: list[HttpHeader]
    expires_at: datetime


@strawberry.type(description="The session in which one file is uploaded.")
class Upload(Node):
    document: strawberry.Private[UploadDocument]
    media: Media

    method: UploadMethod = stored("method", UploadMethod)
    byte_size: ByteSize = stored("bytes")
    expires_at: datetime = stored("expires_at")

    @strawberry.field(description="Only until the upload is finished.")
    def target(self, info: Info) -> UploadTarget | None:
        upload = self.document
        remaining = int((upload["expires_at"] - datetime.now(UTC)).total_seconds())
        if MediaStatus(self.media.document["status"]) not in AWAITING_BYTES or remaining < 1:
            return None
        request = info.context.runtime.object_store.presign_put(
            key=upload["key"],
            content_type=upload["content_type"],
            byte_size=upload["bytes"],
            sha256=upload["sha256"],
            expires_s=remaining,
        )
        headers = [HttpHeader(name=name, value=value) for name, value in request.headers.items()]
        return UploadTarget(method=request.method, url=URL(request.url), headers=headers, expires_at=request.expires_at)

    @strawberry.field(description="Bytes of the whole object that storage has confirmed.")
    def bytes_confirmed(self) -> ByteSize:
        return ByteSize(self.document["bytes"] if "completed_at" in self.document else 0)


def upload_of(document: UploadDocument, media: Media) -> Upload:
    return Upload(id=encode_id("Upload", document["_id"]), document=document, media=media)


@strawberry.input(description="Where uploads succeed and fail, by device, system, network and capture mode.")
class ClientContextInput:
    device_class: str | None = None
    os: str | None = None
    app_version: str | None = None
    network: NetworkQuality | None = None
    capture_mode: str | None = None


@strawberry.input
class UploadFileInput:
    content_type: str
    byte_size: ByteSize
    sha256: SHA256 | None = strawberry.field(default=None, description="Storage enforces it.")
    file_name: str | None = None
    title: str | None = None
    alt_text: str | None = None
    tags: list[str] | None = None
    album_ids: list[strawberry.ID] | None = None
    focus: BoundingBoxInput | None = None
    location: GeoPointInput | None = None
    captured_at: datetime | None = None


@strawberry.input
class CreateUploadsInput:
    idempotency_key: str
    purpose: MediaPurpose
    files: list[UploadFileInput] = strawberry.field(description="1 to 20, in display order.")
    capture_id: strawberry.ID | None = None
    subject: SubjectInput | None = None
    visibility: Visibility | None = None
    client: ClientContextInput | None = None


@strawberry.input
class CompleteUploadInput:
    idempotency_key: str
    upload_id: strawberry.ID
