"""What crosses the jail's wall: limits and a request in, a bounded header and raw bytes out. Never a pickle."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from service.errors import FailureCode
from service.models import BoundingBox, MediaFormat, MediaKind, MetadataField, RenditionName
from service.policies import RenditionPolicy, kind_of

# A reply is: the header's length (4 bytes, big-endian), the header (JSON), then the renditions' bytes in its order, and
# the base's pixels, if the header announces one.
LENGTH_BYTES: Final = 4
MAX_HEADER_BYTES: Final = 64 * 1024
MAX_REQUEST_BYTES: Final = 64 * 1024
MAX_RENDITION_BYTES: Final = 48 * 1024 * 1024

# No JPEG can be larger (two bytes per side); other formats are held to the same.
MAX_SIDE: Final = 65_535

_Side = Annotated[int, Field(gt=0, le=MAX_SIDE)]
_PerceptualHash = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Limits(_Message):
    """How much one job may use: address space in bytes (385 MB are taken before it begins), CPU in seconds."""

    memory_bytes: int = Field(gt=0)
    cpu_s: int = Field(gt=0)


class Launch(_Message):
    """How a child is to run: within which limits, and how readily it yields the processor (0 to 19, as in nice(2))."""

    limits: Limits
    niceness: int = Field(default=0, ge=0, le=19)


class BaseHeader(_Message):
    """An upright sRGB picture as raw pixels: rows from the top, a byte a channel, nothing between them."""

    mode: Literal["RGB", "RGBA"]
    width: _Side
    height: _Side

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, in pixels."""
        return self.width, self.height

    @property
    def byte_length(self) -> int:
        """How many bytes the pixels take."""
        return self.width * self.height * len(self.mode)


class ProcessingRequest(_Message):
    """What to make of a file.

    `renditions` lists just the formats that are wanted now; `urgent`: somebody waits, so encoders should hurry;
    `fingerprints`: whether placeholder, colour and hash are wanted; `focus`: where the eye should land (None: the
    centre); `keep_base`: whether the base that renditions are cut from is wanted too; `base`: the file holds just the
    pixels of one, which an earlier job on the same original has handed out.
    """

    task: Literal["process"] = "process"
    content_type: str = Field(max_length=100)
    renditions: tuple[RenditionPolicy, ...] = Field(max_length=16)
    focus: BoundingBox | None = None
    urgent: bool = False
    fingerprints: bool = True
    metadata: frozenset[MetadataField] = frozenset()
    keep_base: bool = False
    base: BaseHeader | None = None

    @property
    def moves(self) -> bool:
        """Whether a clip is read or written."""
        makes_clips = any(MediaFormat.MP4 in policy.formats for policy in self.renditions)
        return makes_clips or kind_of(self.content_type) is MediaKind.VIDEO


class ViewRequest(_Message):
    """A picture for a program to look at: upright, sRGB, `max_side` pixels at most, of the whole or of `focus` only."""

    task: Literal["view"] = "view"
    content_type: str = Field(max_length=100)
    max_side: int = Field(gt=0, le=4096)
    focus: BoundingBox | None = None


Request = ProcessingRequest | ViewRequest
REQUEST: Final[TypeAdapter[Request]] = TypeAdapter(Annotated[Request, Field(discriminator="task")])


class RenditionHeader(_Message):
    name: RenditionName
    format: MediaFormat
    width: _Side
    height: _Side
    bytes: int = Field(gt=0, le=MAX_RENDITION_BYTES)


class FingerprintsHeader(_Message):
    thumbhash: str = Field(pattern=r"^[A-Za-z0-9+/]{6,48}={0,2}$")
    dominant_color: str = Field(pattern=r"^#[0-9a-f]{6}$")
    perceptual_hash: _PerceptualHash
    transformed_hashes: tuple[_PerceptualHash, ...] = Field(default=(), max_length=7)


class ReceiptHeader(_Message):
    step: str = Field(max_length=40)
    wall_ms: float = Field(ge=0)
    cpu_ms: float = Field(ge=0)
    tool: str = Field(max_length=200)
    parameters: dict[str, str | int | float | bool] = Field(max_length=32)


class MetadataHeader(_Message):
    captured_at: datetime | None = None
    camera_make: str | None = Field(default=None, max_length=100)
    camera_model: str | None = Field(default=None, max_length=100)
    latitude: float | None = Field(default=None, ge=-90, le=90)
    longitude: float | None = Field(default=None, ge=-180, le=180)


class Processed(_Message):
    """`content_type`: what the file turned out to be, if not just what was declared."""

    outcome: Literal["processed"] = "processed"
    content_type: str | None = Field(default=None, max_length=100)
    width: _Side
    height: _Side
    frame_count: int = Field(default=1, gt=0)
    duration_ms: int | None = Field(default=None, ge=0)
    fingerprints: FingerprintsHeader | None = None
    metadata: MetadataHeader = MetadataHeader()
    receipts: tuple[ReceiptHeader, ...] = Field(default=(), max_length=32)
    renditions: tuple[RenditionHeader, ...] = Field(max_length=64)
    base: BaseHeader | None = None


class Viewed(_Message):
    """Followed by the pixels, a byte a channel and no more. `box`: what part of the upright original they show."""

    outcome: Literal["viewed"] = "viewed"
    mode: Literal["L", "RGB"]
    width: _Side
    height: _Side
    box: BoundingBox

    @property
    def byte_length(self) -> int:
        """How many bytes the pixels take."""
        return self.width * self.height * len(self.mode)


class Refused(_Message):
    """The file is at fault. `message` is for the person who uploaded it."""

    outcome: Literal["refused"] = "refused"
    failure: FailureCode
    message: str = Field(max_length=500)
    quarantine: bool


class Crashed(_Message):
    """We are at fault. `detail` is for the log."""

    outcome: Literal["crashed"] = "crashed"
    detail: str = Field(max_length=4_000)


Reply = Processed | Viewed | Refused | Crashed
REPLY: Final[TypeAdapter[Reply]] = TypeAdapter(Annotated[Reply, Field(discriminator="outcome")])
