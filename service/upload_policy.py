"""What a client should do on its device and network before and while it uploads. Data, validated when imported.

What a purpose takes stands in `service.policies` alone; this adds how a client best brings it.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict, Field, field_validator

from service.models import MediaPurpose, MetadataField, NetworkQuality
from service.part_plan import DEFAULT_PART_BYTES, MAX_PART_BYTES, MEBIBYTE, MIN_PART_BYTES
from service.policies import MAX_CLIP_S, POLICIES, MetadataPolicy

# Seconds double: an outage of half a minute is outlasted, a dead network not hammered.
RETRY_DELAYS_MS = (1_000, 2_000, 4_000, 8_000, 16_000)


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Encoding(_Data):
    """How a client that shrinks its photos should: longest side in pixels, JPEG quality of 100."""

    max_dimension: int = Field(ge=1080, le=1440)
    jpeg_quality: int = Field(ge=70, le=80)


class Pace(_Data):
    """How much to send at once. `part_size` in bytes: a connection that breaks costs as much."""

    part_size: int = Field(ge=MIN_PART_BYTES, le=MAX_PART_BYTES)
    max_concurrent_uploads: int = Field(ge=1, le=3)
    max_concurrent_parts: int = Field(ge=1, le=3)
    retry_delays_ms: tuple[int, ...] = Field(default=RETRY_DELAYS_MS, min_length=1)

    @field_validator("retry_delays_ms")
    @classmethod
    def _growing(cls, delays: tuple[int, ...]) -> tuple[int, ...]:
        if delays[0] <= 0 or any(later <= earlier for earlier, later in pairwise(delays)):
            raise ValueError("retry delays must be positive and grow")
        return delays


class UploadPolicy(_Data):
    """Everything a client is told for one purpose on one network. Sizes in bytes."""

    content_types: tuple[str, ...]
    max_bytes: int
    max_clip_bytes: int
    max_clip_s: int
    multipart_threshold: int
    metadata: Mapping[MetadataField, MetadataPolicy]
    encoding: Encoding
    pace: Pace

    def within(self, largest_file: int | None) -> UploadPolicy:
        """The same where no file may have more bytes than `largest_file`; None: what the purpose takes."""
        if largest_file is None:
            return self
        sizes = {"max_bytes": self.max_bytes, "max_clip_bytes": self.max_clip_bytes}
        return self.model_copy(update={name: min(size, largest_file) for name, size in sizes.items()})


_SMALL = Encoding(max_dimension=1080, jpeg_quality=70)
_MEDIUM = Encoding(max_dimension=1080, jpeg_quality=75)
_LARGE = Encoding(max_dimension=1440, jpeg_quality=80)

_CRAWL = Pace(part_size=MIN_PART_BYTES, max_concurrent_uploads=1, max_concurrent_parts=1)
_WALK = Pace(part_size=DEFAULT_PART_BYTES, max_concurrent_uploads=2, max_concurrent_parts=2)
_RUN = Pace(part_size=15 * MEBIBYTE, max_concurrent_uploads=3, max_concurrent_parts=3)

_BY_NETWORK: Mapping[NetworkQuality, tuple[Encoding, Pace]] = MappingProxyType(
    {
        NetworkQuality.SLOW_2G: (_SMALL, _CRAWL),
        NetworkQuality.TWO_G: (_SMALL, _CRAWL),
        NetworkQuality.THREE_G: (_MEDIUM, _WALK),
        # Nothing is known: neither a metered line nor a fast one may be taken for granted.
        NetworkQuality.UNKNOWN: (_MEDIUM, _WALK),
        NetworkQuality.FOUR_G: (_LARGE, _RUN),
        NetworkQuality.FIVE_G: (_LARGE, _RUN),
        NetworkQuality.WIFI: (_LARGE, _RUN),
    }
)

# Small print and findings are read by people and machines later: waiting longer beats losing them.
_KEEPS_DETAIL = frozenset({MediaPurpose.FOOD_LABEL, MediaPurpose.MEDICAL})


def _policy(purpose: MediaPurpose, network: NetworkQuality) -> UploadPolicy:
    taken = POLICIES[purpose]
    encoding, pace = _BY_NETWORK[network]
    return UploadPolicy(
        content_types=taken.content_types,
        max_bytes=taken.max_bytes,
        max_clip_bytes=taken.max_clip_bytes,
        max_clip_s=MAX_CLIP_S if taken.max_clip_bytes else 0,
        multipart_threshold=taken.multipart_threshold,
        metadata={field: taken.metadata_policy(field) for field in MetadataField},
        encoding=_LARGE if purpose in _KEEPS_DETAIL else encoding,
        pace=pace,
    )


# Built whole: a purpose or a network without a policy stops the process at its start, not a request in the night.
UPLOAD_POLICIES: Mapping[tuple[MediaPurpose, NetworkQuality], UploadPolicy] = MappingProxyType(
    {(purpose, network): _policy(purpose, network) for purpose in MediaPurpose for network in NetworkQuality}
)
