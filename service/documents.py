"""The shapes of stored documents, as far as they are read by name. Nothing but types."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NotRequired, TypedDict
from uuid import UUID


class StatusChangeDocument(TypedDict):
    status: str
    sequence: int
    at: datetime


class RenditionDocument(TypedDict):
    name: str
    format: str
    width: int
    height: int
    bytes: int
    key: str
    sha256: str


class AnnotationDocument(TypedDict):
    """One of a media's annotations. `source`: `user:<id>` or `model:<name>@<version>`."""

    id: UUID
    label: str
    confidence: float
    bounding_box: dict[str, float] | None
    text: str | None
    source: str
    created_at: NotRequired[datetime]


class LabelDocument(TypedDict):
    """One distinct label of a media, with its greatest confidence and the tenth (0 to 9) that this lies in."""

    label: str
    step: int
    confidence: float


class SegmentDocument(TypedDict):
    """Annotations of one source that have moved out of their media's document into rows of `annotations`.

    Its rows are there before its media lists it, never change, and go after it is listed no more.
    """

    id: UUID
    source: str
    count: int


class AnnotationRowDocument(TypedDict):
    """A document of `annotations`: one that has moved. It counts where its media lists `segment`.

    `place`: where it stands among those of its media (service/annotation_places.py).
    """

    _id: UUID
    annotation_id: UUID
    media_id: UUID
    segment: UUID
    place: bytes
    label: str
    confidence: float
    bounding_box: dict[str, float] | None
    text: str | None
    source: str
    created_at: datetime


class AnnotationRoundDocument(TypedDict):
    """A document of `annotation_rounds`: a write of moved annotations that is under way, or that somebody died of.

    `segments`: those that it was to list, and those that were to go. The id is a UUIDv7: it tells when it began.
    `given_up`: its rows are being cleared up, so that it must not go on with them.
    """

    _id: UUID
    media_id: UUID
    segments: list[UUID]
    given_up: NotRequired[bool]


class EmbeddingDocument(TypedDict):
    """A row of `embeddings`. `vector`: 32-bit floats as BSON packs them, where it was asked for.

    `status` and `visibility` are those that the media had when it was last updated at `as_of`.
    """

    _id: UUID
    media_id: UUID
    owner_id: str
    status: str
    visibility: str
    as_of: datetime
    model: str
    dimensions: int
    created_at: datetime
    vector: NotRequired[bytes]


class ModerationDocument(TypedDict):
    """One decision of a moderator: `by` is their id, `id` that of the decision, as the request's plan names it.

    `record`, `sequence`: the request's record, and what else its plan holds; missing where no request has made it.
    """

    id: str
    decision: str
    by: str
    at: datetime
    reason: str
    record: NotRequired[str]
    sequence: NotRequired[int]


class EmbeddedDocument(TypedDict, total=False):
    """What was kept of a file's own metadata. `location`: a GeoJSON point; `camera`: `make` and `model`."""

    captured_at: datetime
    camera: dict[str, str | None]
    location: dict[str, Any] | None


class MediaDocument(TypedDict, total=False):
    """A document of `media`, or the part of it that a projection asked for.

    `location` and `captured_at` are what its owner said; they come before `embedded`, which is what the file said.
    `is_location_settled`: its owner has changed or cleared the location, and the file's is not shown any more.
    `kept_under`: the secret that keys are made with under which what it was shown with is kept out of reach.
    `metadata_choice`: what its owner chose to keep of the file's metadata.
    `audit_pending`: what was done to it and is not in the audit chains yet.
    `annotations` are all of them unless there are `annotation_segments`: then they are the rows of these.
    """

    _id: UUID
    schema_version: int
    owner_id: str
    kind: str
    purpose: str
    visibility: str
    status: str
    status_sequence: int
    status_history: list[StatusChangeDocument]
    capture_id: str | None
    position: int | None
    subject: dict[str, str] | None
    album_ids: list[str]
    title: str | None
    alt_text: str | None
    tags: list[str]
    focus: dict[str, float] | None
    location: dict[str, Any] | None
    captured_at: datetime | None
    metadata_choice: list[str]
    embedded: EmbeddedDocument
    is_location_settled: bool
    has_embeddings: bool
    embeddings_due_at: datetime
    content: dict[str, Any]
    original: dict[str, str]
    renditions: list[RenditionDocument]
    retired_renditions: list[dict[str, Any]]
    kept_under: str
    first_viewable_at: datetime
    placeholder: dict[str, str]
    hashes: dict[str, Any]
    annotations: list[AnnotationDocument]
    annotation_segments: list[SegmentDocument]
    annotation_count: int
    labels: list[LabelDocument]
    last_annotating: dict[str, str]
    failure: dict[str, Any] | None
    moderation: list[ModerationDocument]
    processing: dict[str, Any]
    last_change: dict[str, str]
    audit_pending: list[dict[str, Any]]
    created_at: datetime
    updated_at: datetime


class UploadDocument(TypedDict):
    """A document of `uploads`: the session, under the same id as its media.

    `linked`: storage had the content already, under another upload's `key`, and nothing is to be sent.
    `storage_upload_id`: the multipart upload in storage, from the moment the first part is signed. Where there are
    `part_checksums` storage demands the SHA-256 of each part; those that were signed, in base64 by part number.
    """

    _id: UUID
    owner_id: str
    purpose: str
    method: str
    bucket: str
    key: str
    content_type: str
    bytes: int
    sha256: str
    client: dict[str, Any]
    created_at: datetime
    expires_at: datetime
    completed_at: NotRequired[datetime]
    # The latest storage event of the key that was handled.
    event_sequencer: NotRequired[str]
    part_size: NotRequired[int]
    part_count: NotRequired[int]
    storage_upload_id: NotRequired[str]
    part_checksums: NotRequired[dict[str, str]]
    linked: NotRequired[bool]


class ContentDocument(TypedDict):
    """A document of `contents`: one content of one owner, where it is stored, and the media that need it."""

    _id: str
    owner_id: str
    sha256: str
    bucket: str
    key: str
    bytes: int
    refs: list[UUID]
