"""What clients say of their uploads."""

from __future__ import annotations

from datetime import datetime

import strawberry

from schema.scalars import SHA256, ByteSize
from schema.values import BoundingBoxInput, GeoPointInput, SubjectInput
from service.models import MediaPurpose, MetadataField, NetworkQuality, Visibility
from service.storage_signing import StorageMethod


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
    sha256: SHA256 | None = strawberry.field(
        default=None,
        description="Required for SINGLE uploads, where storage enforces it; recommended for MULTIPART.",
    )
    file_name: str | None = None
    title: str | None = None
    alt_text: str | None = None
    tags: list[str] | None = None
    album_ids: list[strawberry.ID] | None = None
    focus: BoundingBoxInput | None = None
    location: GeoPointInput | None = None
    captured_at: datetime | None = None
    keep_metadata: list[MetadataField] | None = strawberry.field(
        default=None,
        description="What to keep of the file's own metadata where uploadPolicy says USER_CHOICE; what is STRIP is "
        "refused. It fills what is not given here.",
    )


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
class CompletedPartInput:
    number: int
    etag: str


@strawberry.input
class CompleteUploadInput:
    idempotency_key: str
    upload_id: strawberry.ID
    parts: list[CompletedPartInput] | None = strawberry.field(
        default=None, description="What was sent, in order; left out, what storage confirms decides."
    )


@strawberry.input
class AbortUploadInput:
    idempotency_key: str
    upload_id: strawberry.ID


@strawberry.input
class PartChecksumInput:
    number: int
    sha256: SHA256


@strawberry.input
class SignUploadPartsInput:
    upload_id: strawberry.ID
    part_numbers: list[int] = strawberry.field(description="At most 100.")
    part_checksums: list[PartChecksumInput] | None = strawberry.field(
        default=None,
        description="Storage then checks each part by itself. Given with the first part, they are required of all.",
    )


@strawberry.input(
    description=(
        "A request that an upload library wants to make of storage: PUT the object or one part, POST to begin or to "
        "complete a multipart upload, GET its parts, DELETE to abort it."
    )
)
class SignStorageRequestInput:
    upload_id: strawberry.ID
    method: StorageMethod
    key: str = strawberry.field(description="The upload's objectKey.")
    storage_upload_id: str | None = strawberry.field(
        default=None, description="The multipart upload, as storage named it."
    )
    part_number: int | None = None
    content_type: str | None = None
