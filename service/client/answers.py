"""What is sent to the API and what comes back, as values."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from service.lifecycle import AWAITING_BYTES


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)

    def as_json(self) -> dict[str, Any]:
        """Under the API's names, without what is not known."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class FileDetails(_Value):
    """What the uploader says about a photo."""

    title: str | None = None
    alt_text: str | None = None
    tags: tuple[str, ...] = ()


class DisplayHint(_Value):
    """The slot a picture is shown in: its width in CSS pixels, and how many device pixels each of those has."""

    width: int
    device_pixel_ratio: float = 1


class Header(_Value):
    name: str
    value: str


class UploadTarget(_Value):
    """A presigned request: to be made with exactly these headers. The URL is a credential until it expires."""

    method: str
    url: str = Field(repr=False)
    headers: tuple[Header, ...]


class _MediaReference(_Value):
    id: str
    status: str | None = None


class UploadPart(_Value):
    """A part that storage has confirmed. `etag`: storage's name for its bytes, to be given back as it came."""

    number: int
    byte_size: int
    etag: str


class UploadSession(_Value):
    """The session of one file, sent whole (SINGLE, to `target`) or in parts of `part_size` bytes (MULTIPART).

    SINGLE without `target`: its bytes are already up. `parts` and `bytes_confirmed` are known to `MediaClient.session`.
    """

    id: str
    media: _MediaReference
    method: Literal["SINGLE", "MULTIPART"] = "SINGLE"
    byte_size: int = 0
    target: UploadTarget | None = None
    part_size: int | None = None
    parts: tuple[UploadPart, ...] = ()
    bytes_confirmed: int = 0

    @property
    def media_id(self) -> str:
        return self.media.id

    @property
    def status(self) -> str | None:
        return self.media.status

    @property
    def takes_bytes(self) -> bool:
        """Something is left to be sent, as far as storage and service say."""
        return self.status in AWAITING_BYTES and self.bytes_confirmed < self.byte_size


class OwnedMedia(_Value):
    """A media with the same bytes, which the caller already has."""

    id: str
    status: str
    title: str | None = None


class UploadPolicy(_Value):
    """What to do for a purpose on a network: limits in bytes, milliseconds and pixels, and how much to send at once.

    `max_bytes` is for pictures, `max_clip_bytes` for clips: 0 where the purpose takes none.
    """

    content_types: tuple[str, ...]
    max_bytes: int
    max_clip_bytes: int = 0
    max_clip_duration_ms: int = 0
    max_dimension: int
    jpeg_quality: int
    multipart_threshold: int
    part_size: int
    max_concurrent_uploads: int
    max_concurrent_parts: int
    retry_delays_ms: tuple[int, ...]

    @property
    def retry_delays_s(self) -> tuple[float, ...]:
        return tuple(delay / 1000 for delay in self.retry_delays_ms)


class Rendition(_Value):
    """One size and format; `url` opens without credentials until `url_expires_at`."""

    name: str
    format: str
    width: int
    height: int
    byte_size: int
    url: str = Field(repr=False)
    url_expires_at: datetime


class Failure(_Value):
    code: str
    message: str
    retryable: bool


class FollowedMedia(_Value):
    """A media as it is now. READY comes with what is shown first; `renditions_complete` once there is all the rest."""

    id: str
    failure: Failure | None = None
    renditions: tuple[Rendition, ...] = ()
    renditions_complete: bool = False


class StatusUpdate(_Value):
    """One entry of a media's history. `cursor` resumes after it."""

    status: str
    sequence: int
    cursor: str
    progress: float | None = None
    media: FollowedMedia

    @property
    def media_id(self) -> str:
        return self.media.id

    @property
    def failure(self) -> Failure | None:
        return self.media.failure

    @property
    def renditions(self) -> tuple[Rendition, ...]:
        return self.media.renditions

    @property
    def renditions_complete(self) -> bool:
        return self.media.renditions_complete


class FeedMedia(_Value):
    """`kind` is IMAGE or VIDEO; `duration_ms` that of a clip or an animated picture."""

    id: str
    kind: str
    created_at: datetime
    owner_id: str
    title: str | None
    width: int | None
    height: int | None
    duration_ms: int | None = None
    display: Rendition | None


class FeedPage(_Value):
    """A page, newest first; `next_cursor` is None on the last one."""

    media: tuple[FeedMedia, ...]
    next_cursor: str | None

    @classmethod
    def of(cls, connection: Mapping[str, Any]) -> FeedPage:
        """From a MediaConnection."""
        page = connection["pageInfo"]
        cursor = page["endCursor"] if page["hasNextPage"] else None
        return cls.model_validate({"media": connection["nodes"], "next_cursor": cursor})
