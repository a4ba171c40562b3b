"""Small value types, out and in."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property

import strawberry

from schema.scalars import URL
from service.display import Slot
from service.errors import InvalidInput
from service.lifecycle import MediaStatus
from service.models import MediaFormat, ModerationDecision, NetworkQuality

# Wider than any screen, so that a mistake is told from a wish.
MAX_SLOT_WIDTH = 16_384
MAX_DEVICE_PIXEL_RATIO = 16


@strawberry.type(description="One entry of a media's history.")
class StatusChange:
    status: MediaStatus
    sequence: int
    at: datetime


@strawberry.type(description="Why a media did not become READY.")
class MediaFailure:
    code: str
    message: str
    retryable: bool


@strawberry.type(description="What a moderator decided of a media, and why.")
class ModerationRecord:
    decision: ModerationDecision
    by: strawberry.ID
    at: datetime
    reason: str


@strawberry.type(description="What a media belongs to in the caller's own world, e.g. post/123.")
class Subject:
    type: str
    id: strawberry.ID


@strawberry.type
class GeoPoint:
    latitude: float
    longitude: float


@strawberry.type(description="What took the picture, as its file says; never a serial number.")
class Camera:
    make: str | None
    model: str | None


@strawberry.type(description="Fractions of width and height, origin at the top left of the oriented picture.")
class BoundingBox:
    x: float
    y: float
    width: float
    height: float


@strawberry.type
class SignedUrl:
    url: URL
    expires_at: datetime


@strawberry.type
class PageInfo:
    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


@strawberry.input
class SubjectInput:
    type: str
    id: strawberry.ID


@strawberry.input
class GeoPointInput:
    latitude: float
    longitude: float


@strawberry.input
class BoundingBoxInput:
    x: float
    y: float
    width: float
    height: float


@strawberry.input(description="The slot a picture is shown in, so that no more bytes are sent than it can show.")
class DisplayHint:
    width: int = strawberry.field(description="Width of the slot in CSS pixels, 1 to 16384.")
    device_pixel_ratio: float | None = strawberry.field(default=1.0, description="More than 0, at most 16.")
    accept: list[MediaFormat] | None = strawberry.field(
        default_factory=lambda: [MediaFormat.JPEG],
        description="What the client can decode, in any order; JPEG is always assumed.",
    )
    network: NetworkQuality | None = strawberry.field(
        default=NetworkQuality.UNKNOWN, description="On a slow network one size less is served."
    )

    def __post_init__(self) -> None:
        if not 1 <= self.width <= MAX_SLOT_WIDTH:
            message = f"The width of a slot must be 1 to {MAX_SLOT_WIDTH} CSS pixels, not {self.width}."
            raise InvalidInput(message, field=["hint", "width"])
        ratio = self.device_pixel_ratio
        # Neither NaN nor an infinity is between any two numbers.
        if ratio is not None and not 0 < ratio <= MAX_DEVICE_PIXEL_RATIO:
            message = f"A devicePixelRatio must be more than 0 and at most {MAX_DEVICE_PIXEL_RATIO}, not {ratio}."
            raise InvalidInput(message, field=["hint", "devicePixelRatio"])

    @cached_property
    def slot(self) -> Slot:
        """The same, as the service understands it."""
        return Slot(
            pixels=self.width * (1.0 if self.device_pixel_ratio is None else self.device_pixel_ratio),
            accept=frozenset({MediaFormat.JPEG, *(self.accept or ())}),
            network=self.network or NetworkQuality.UNKNOWN,
        )
