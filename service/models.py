"""The nouns: enums and value objects. No behaviour beyond construction."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from service.lifecycle import MediaStatus


class Role(enum.StrEnum):
    """What a process is for."""

    API = "api"
    WORKER = "worker"


class MediaKind(enum.StrEnum):
    IMAGE = "IMAGE"
    VIDEO = "VIDEO"


class MediaPurpose(enum.StrEnum):
    COMMUNITY = "COMMUNITY"
    PROFILE = "PROFILE"
    COVER = "COVER"
    ONBOARDING = "ONBOARDING"
    PET_TAG = "PET_TAG"
    FOOD_LABEL = "FOOD_LABEL"
    MEDICAL = "MEDICAL"

    @property
    def slug(self) -> str:
        """The purpose as it stands in object keys, e.g. `food-label`."""
        return self.value.lower().replace("_", "-")


class Visibility(enum.StrEnum):
    PUBLIC = "PUBLIC"
    PRIVATE = "PRIVATE"


class RenditionName(enum.StrEnum):
    THUMBNAIL = "THUMBNAIL"
    FEED = "FEED"
    FULL = "FULL"
    POSTER = "POSTER"
    PREVIEW = "PREVIEW"


class MediaFormat(enum.StrEnum):
    JPEG = "JPEG"
    WEBP = "WEBP"
    AVIF = "AVIF"
    MP4 = "MP4"

    @property
    def extension(self) -> str:
        return {"JPEG": "jpg"}.get(self.value, self.value.lower())

    @property
    def content_type(self) -> str:
        return "video/mp4" if self is MediaFormat.MP4 else f"image/{self.value.lower()}"


class NetworkQuality(enum.StrEnum):
    SLOW_2G = "SLOW_2G"
    TWO_G = "TWO_G"
    THREE_G = "THREE_G"
    FOUR_G = "FOUR_G"
    FIVE_G = "FIVE_G"
    WIFI = "WIFI"
    UNKNOWN = "UNKNOWN"


class UploadMethod(enum.StrEnum):
    SINGLE = "SINGLE"
    MULTIPART = "MULTIPART"


class DeletionStage(enum.StrEnum):
    HIDDEN = "HIDDEN"
    OBJECTS_REMOVED = "OBJECTS_REMOVED"
    CDN_INVALIDATED = "CDN_INVALIDATED"
    VERIFIED = "VERIFIED"
    BLOCKED_BY_RETENTION = "BLOCKED_BY_RETENTION"


class ModerationDecision(enum.StrEnum):
    """QUARANTINE takes a READY media out of sight, RELEASE has a QUARANTINED one processed again."""

    RELEASE = "RELEASE"
    QUARANTINE = "QUARANTINE"


class Lane(enum.StrEnum):
    """Which jobs go first: somebody waits for the first, some soon will for the second, nobody for the last."""

    FIRST_VISIBLE = "first_visible"
    STANDARD = "standard"
    BACKFILL = "backfill"


class JobKind(enum.StrEnum):
    """PROCESS makes a media READY, RENDER gives a READY one all the renditions it should have, RETIRE removes those
    that were replaced, ANNOTATE runs one annotator, DELETE empties storage, VERIFY sees that nothing is left of
    what was deleted.
    """

    PROCESS = "process"
    RENDER = "render"
    RETIRE = "retire"
    ANNOTATE = "annotate"
    DELETE = "delete"
    VERIFY = "verify"


class Workload(enum.StrEnum):
    """What a job takes of a worker. PICTURES: a decoder, for seconds. CLIPS: one for minutes. STORAGE: none."""

    PICTURES = "pictures"
    CLIPS = "clips"
    STORAGE = "storage"


class Holding(enum.StrEnum):
    """As what the bytes of an upload count for its owner."""

    NOTHING = "nothing"
    RESERVED = "reserved"
    STORED = "stored"


class JobState(enum.StrEnum):
    """OPEN: a worker may begin it now. DELAYED: not before a certain time. RUNNING: leased to a worker."""

    OPEN = "open"
    DELAYED = "delayed"
    RUNNING = "running"
    DEAD = "dead"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class BoundingBox:
    """Fractions of width and height of the oriented picture, origin at the top left."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Rendition:
    """One encoded picture or clip as it leaves the jail. `width`, `height` in pixels."""

    name: RenditionName
    format: MediaFormat
    width: int
    height: int
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """What stands for a picture. `thumbhash`: base64; `dominant_color`: #rrggbb.

    Perceptual hashes are 16 hex digits each; `transformed_hashes`: those of the picture mirrored and rotated, in the
    order of `perceptual_hash.TRANSFORMS`.
    """

    thumbhash: str
    dominant_color: str
    perceptual_hash: str
    transformed_hashes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one step of the processing did: how long it took, with which tool, told what. Times in milliseconds."""

    step: str
    wall_ms: float
    cpu_ms: float
    tool: str
    parameters: Mapping[str, str | int | float | bool] = field(default_factory=dict)


class MetadataField(enum.StrEnum):
    """What may be read from a file's metadata and kept; everything else is dropped unread."""

    CAPTURED_AT = "CAPTURED_AT"
    CAMERA = "CAMERA"
    LOCATION = "LOCATION"


@dataclass(frozen=True, slots=True)
class EmbeddedMetadata:
    """What a file says of how it was taken, as far as it was asked for. `location`: latitude, longitude in degrees."""

    captured_at: datetime | None = None
    camera_make: str | None = None
    camera_model: str | None = None
    # Not in what is logged of an exception.
    location: tuple[float, float] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class BasePicture:
    """The upright sRGB picture that all renditions of an original are cut from, and how large the original is upright.

    `pixels`: rows from the top, a byte for each channel of `mode` (RGB or RGBA), nothing between them.
    """

    mode: str
    width: int
    height: int
    pixels: bytes = field(repr=False)
    original_size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class ProcessedFile:
    """What the pipeline made of an original, and learnt from it. `fingerprints` only where they were asked for.

    `base` where it was asked for and is no larger than usual.
    """

    content_type: str
    width: int
    height: int
    renditions: tuple[Rendition, ...]
    frame_count: int = 1
    duration_ms: int | None = None
    fingerprints: Fingerprints | None = None
    metadata: EmbeddedMetadata = field(default_factory=EmbeddedMetadata)
    receipts: tuple[Receipt, ...] = ()
    base: BasePicture | None = None


@dataclass(frozen=True, slots=True)
class ViewImage:
    """An upright sRGB picture of an original, and which part of the whole upright picture it shows.

    `body`: its pixels, 8 bits a channel, row by row from the top. `mode`: `L`, one channel of grey, or `RGB`, three.
    """

    body: bytes = field(repr=False)
    mode: Literal["L", "RGB"]
    width: int
    height: int
    box: BoundingBox


@dataclass(frozen=True, slots=True)
class AnnotationDraft:
    """What an annotator found. `confidence` from 0 to 1; `bounding_box` in fractions of the whole upright picture."""

    label: str
    confidence: float
    bounding_box: BoundingBox | None = None
    text: str | None = None


# Says something of another media too: told to those only who may see the owner's details.
NEAR_DUPLICATE = "near-duplicate"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What storage says of an object. `sha256` in lower-case hex, where storage keeps it."""

    bucket: str
    key: str
    bytes: int
    content_type: str
    etag: str
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed job: `fence` grows with every claim and must accompany every write made for it.

    `topic` tells jobs of one media and kind apart: which annotator is to run.
    """

    id: str
    kind: JobKind
    media_id: UUID
    lane: Lane
    attempt: int
    fence: int
    enqueued_at: datetime
    generation: int = 1
    topic: str = ""
    workload: Workload = Workload.PICTURES


@dataclass(frozen=True, slots=True)
class StatusChange:
    """A status that was written. `age`: how old the media was by then, in server time."""

    media_id: UUID
    status: MediaStatus
    sequence: int
    age: timedelta
