"""What crosses the jail's wall: limits and a request in, a bounded header and raw bytes out. Never a pickle."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from service.errors import FailureCode
from service.models import BoundingBox, MediaFormat, RenditionName
from service.policies import RenditionPolicy

# A reply is: the header's length (4 bytes, big-endian), the header (JSON), then the renditions' bytes in its order.
LENGTH_BYTES: Final = 4
MAX_HEADER_BYTES: Final = 64 * 1024
MAX_REQUEST_BYTES: Final = 64 * 1024
MAX_RENDITION_BYTES: Final = 32 * 1024 * 1024

# No JPEG can be larger (two bytes per side); other formats are held to the same.
MAX_SIDE: Final = 65_535

_Side = Annotated[int, Field(gt=0, le=MAX_SIDE)]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Limits(_Message):
    """How much one job may use: address space in bytes (the interpreter's own 200 MB included), CPU in seconds."""

    memory_bytes: int = Field(gt=0)
    cpu_s: int = Field(gt=0)


class ProcessingRequest(_Message):
    """What to make of a file: its declared type, the renditions, and where the eye should land (None: the centre)."""

    content_type: str = Field(max_length=100)
    renditions: tuple[RenditionPolicy, ...] = Field(min_length=1, max_length=16)
    focus: BoundingBox | None = None


class RenditionHeader(_Message):
    name: RenditionName
    format: MediaFormat
    width: _Side
    height: _Side
    bytes: int = Field(gt=0, le=MAX_RENDITION_BYTES)


class Processed(_Message):
    outcome: Literal["processed"] = "processed"
    width: _Side
    height: _Side
    thumbhash: str = Field(pattern=r"^[A-Za-z0-9+/]{6,48}={0,2}$")
    dominant_color: str = Field(pattern=r"^#[0-9a-f]{6}$")
    perceptual_hash: str = Field(pattern=r"^[0-9a-f]{16}$")
    renditions: tuple[RenditionHeader, ...] = Field(max_length=64)


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


Reply = Processed | Refused | Crashed
REPLY: Final[TypeAdapter[Reply]] = TypeAdapter(Annotated[Reply, Field(discriminator="outcome")])
