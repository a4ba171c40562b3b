"""What each purpose allows: types, sizes, renditions, lifetimes. Data, validated when this module is imported."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict, Field, model_validator

from service.models import MediaFormat, MediaKind, MediaPurpose, MetadataField, RenditionName, Visibility

MEGABYTE = 1_000_000
# The largest object that S3 takes in one piece, and ours in any.
MAX_BYTES = 5 * 1024**3
MINUTE, HOUR, DAY = 60, 3_600, 86_400

IMAGE_TYPES = ("image/jpeg", "image/png", "image/webp", "image/avif", "image/heic", "image/heif", "image/gif")
CLIP_TYPES = ("video/mp4", "video/quicktime", "video/webm")
IMAGE_FORMATS = (MediaFormat.JPEG, MediaFormat.WEBP, MediaFormat.AVIF)

# Decoded memory grows with pixels, and by format: caps come from measured peaks.
MAX_PIXELS: Mapping[str, int] = MappingProxyType(
    {
        "image/jpeg": 100_000_000,
        "image/png": 50_000_000,
        "image/webp": 25_000_000,
        "image/avif": 50_000_000,
        "image/heic": 50_000_000,
        "image/heif": 50_000_000,
        "image/gif": 25_000_000,
        **dict.fromkeys(CLIP_TYPES, 3840 * 2160),
    }
)
MAX_CLIP_S = 120
# Of an animated picture; what comes after is not shown in its PREVIEW.
MAX_ANIMATION_FRAMES = 1_000
MAX_ANIMATION_S = 60
# Canvas times frames: compositing costs 5 to 15 ms of CPU for each million, however few bytes ask for it.
MAX_ANIMATION_PIXELS = 1_500_000_000


def kind_of(content_type: str) -> MediaKind:
    """Whether files of `content_type` are pictures or clips."""
    return MediaKind.VIDEO if content_type.startswith("video/") else MediaKind.IMAGE


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MetadataPolicy(enum.StrEnum):
    """What becomes of a field of a file's own metadata: never read; kept, for its owner and moderators; or kept so, if
    whoever uploads the file asks for it. Renditions hold none of it in any case.
    """

    STRIP = "STRIP"
    KEEP_PRIVATE = "KEEP_PRIVATE"
    USER_CHOICE = "USER_CHOICE"


class UrlLifetime(_Data):
    """A URL signed in a window of `window_s` seconds stays the same, and lives at least `minimum_s` seconds more."""

    window_s: int = Field(gt=0)
    minimum_s: int = Field(gt=0)


class RenditionPolicy(_Data):
    """One rendition: its longest side in pixels, whether it is cropped to a square, how long its URL and bytes keep.

    `kinds` have it, and `animated` pictures. An `urgent` one makes a media viewable: as JPEG, before all others.
    """

    name: RenditionName
    max_side: int = Field(gt=0, le=4096)
    crop: bool = False
    formats: tuple[MediaFormat, ...] = IMAGE_FORMATS
    kinds: frozenset[MediaKind] = frozenset(MediaKind)
    animated: bool = False
    urgent: bool = False
    url_lifetime: UrlLifetime
    cache_max_age_s: int = Field(ge=0)


class PurposePolicy(_Data):
    purpose: MediaPurpose
    content_types: tuple[str, ...] = IMAGE_TYPES
    max_bytes: int = Field(gt=0, le=MAX_BYTES, description="Of a picture")
    max_clip_bytes: int = Field(default=0, ge=0, le=MAX_BYTES, description="Of a clip")
    multipart_threshold: int = Field(
        default=16 * MEGABYTE, gt=0, description="Files of more bytes are sent in parts, each retried by itself"
    )
    default_visibility: Visibility
    allowed_visibilities: frozenset[Visibility] = frozenset(Visibility)
    metadata: Mapping[MetadataField, MetadataPolicy] = Field(
        default={}, description="What is not listed is stripped", validate_default=True
    )
    renditions: tuple[RenditionPolicy, ...]
    display: RenditionName
    upload_expires_s: int = Field(default=HOUR, gt=0, le=DAY)
    multipart_expires_s: int = Field(default=DAY, gt=0, le=7 * DAY)
    deletion_window_s: int = Field(
        default=HOUR,
        ge=0,
        le=7 * DAY,
        description="How long a deleted original is kept, seen by nobody, in case its owner sends it again",
    )
    retention_s: int | None = Field(
        default=None, gt=0, description="After which a media is deleted by itself; None: it is kept for ever"
    )
    kept_for_s: int | None = Field(
        default=None, gt=0, description="How long its bytes are kept at least, hidden if it is deleted before"
    )

    @model_validator(mode="after")
    def _consistent(self) -> PurposePolicy:
        names = [rendition.name for rendition in self.renditions]
        if len(set(names)) != len(names):
            raise ValueError(f"{self.purpose}: a rendition is listed twice")
        if self.display not in names:
            raise ValueError(f"{self.purpose}: display {self.display} is not among its renditions")
        if not any(rendition.urgent for rendition in self.renditions):
            raise ValueError(f"{self.purpose}: nothing makes it viewable")
        if self.default_visibility not in self.allowed_visibilities:
            raise ValueError(f"{self.purpose}: the default visibility is not allowed")
        if self.retention_s is not None and self.kept_for_s is not None and self.kept_for_s > self.retention_s:
            raise ValueError(f"{self.purpose}: it would be deleted before it may be")
        return self

    @property
    def longest_url_life(self) -> timedelta:
        """How long a rendition's address may still open it after the last one was given out."""
        lifetimes = [rendition.url_lifetime for rendition in self.renditions]
        return timedelta(seconds=max(life.window_s + life.minimum_s for life in lifetimes))

    def max_bytes_of(self, content_type: str) -> int:
        """The largest file of `content_type` that the purpose takes."""
        return self.max_clip_bytes if kind_of(content_type) is MediaKind.VIDEO else self.max_bytes

    def metadata_policy(self, field: MetadataField) -> MetadataPolicy:
        """What becomes of one field of a file's own metadata."""
        return self.metadata.get(field, MetadataPolicy.STRIP)

    def metadata_under(self, policy: MetadataPolicy) -> frozenset[MetadataField]:
        """The fields that are treated so."""
        return frozenset(field for field in MetadataField if self.metadata_policy(field) is policy)

    def rendition(self, name: RenditionName) -> RenditionPolicy:
        """The policy of one rendition; KeyError if the purpose does not make it."""
        for rendition in self.renditions:
            if rendition.name is name:
                return rendition
        raise KeyError(name)


def _renditions(
    *, thumbnail: UrlLifetime, feed: UrlLifetime, full: UrlLifetime, cache: tuple[int, int, int]
) -> tuple[RenditionPolicy, ...]:
    pictures, clips = frozenset({MediaKind.IMAGE}), frozenset({MediaKind.VIDEO})
    return (
        RenditionPolicy(
            name=RenditionName.THUMBNAIL,
            max_side=200,
            crop=True,
            urgent=True,
            url_lifetime=thumbnail,
            cache_max_age_s=cache[0],
        ),
        RenditionPolicy(
            name=RenditionName.FEED, max_side=720, urgent=True, url_lifetime=feed, cache_max_age_s=cache[1]
        ),
        RenditionPolicy(
            name=RenditionName.FULL, max_side=1080, kinds=pictures, url_lifetime=full, cache_max_age_s=cache[2]
        ),
        RenditionPolicy(
            name=RenditionName.POSTER, max_side=1280, kinds=clips, url_lifetime=full, cache_max_age_s=cache[2]
        ),
        RenditionPolicy(
            name=RenditionName.PREVIEW,
            max_side=1280,
            formats=(MediaFormat.MP4,),
            kinds=clips,
            animated=True,
            url_lifetime=full,
            cache_max_age_s=cache[2],
        ),
    )


_DAY_LONG = UrlLifetime(window_s=DAY, minimum_s=6 * HOUR)
_SIX_HOURS = UrlLifetime(window_s=6 * HOUR, minimum_s=HOUR)
_MINUTES = UrlLifetime(window_s=5 * MINUTE, minimum_s=5 * MINUTE)

_SHARED = _renditions(thumbnail=_DAY_LONG, feed=_SIX_HOURS, full=_SIX_HOURS, cache=(30 * DAY, 7 * DAY, 7 * DAY))
_PORTRAIT = _renditions(thumbnail=_DAY_LONG, feed=_SIX_HOURS, full=_SIX_HOURS, cache=(DAY, DAY, DAY))
_SENSITIVE = _renditions(thumbnail=_MINUTES, feed=_MINUTES, full=_MINUTES, cache=(5 * MINUTE,) * 3)

# A PUT that began within its session may take this long to arrive.
LATE_BYTES = timedelta(minutes=15)

# An original is for its owner and moderators, for as long as one download takes.
ORIGINAL_URL_LIFETIME_S = 5 * MINUTE


def _policy(
    purpose: MediaPurpose,
    *,
    visibility: Visibility,
    renditions: tuple[RenditionPolicy, ...],
    display: RenditionName = RenditionName.FEED,
    max_bytes: int = 20 * MEGABYTE,
    max_clip_bytes: int = 0,
    only_private: bool = False,
    metadata: Mapping[MetadataField, MetadataPolicy] = MappingProxyType({}),
    deletion_window_s: int = HOUR,
) -> PurposePolicy:
    return PurposePolicy(
        purpose=purpose,
        content_types=(*IMAGE_TYPES, *CLIP_TYPES) if max_clip_bytes else IMAGE_TYPES,
        max_bytes=max_bytes,
        max_clip_bytes=max_clip_bytes,
        default_visibility=visibility,
        allowed_visibilities=frozenset({Visibility.PRIVATE}) if only_private else frozenset(Visibility),
        metadata=metadata,
        renditions=renditions,
        display=display,
        deletion_window_s=deletion_window_s,
    )


_ALL = (
    # Cameras with 48 megapixels write PNG and JPEG files of this size.
    _policy(
        MediaPurpose.COMMUNITY,
        visibility=Visibility.PUBLIC,
        renditions=_SHARED,
        max_bytes=100 * MEGABYTE,
        max_clip_bytes=500 * MEGABYTE,
        metadata={
            MetadataField.CAPTURED_AT: MetadataPolicy.KEEP_PRIVATE,
            MetadataField.CAMERA: MetadataPolicy.USER_CHOICE,
            MetadataField.LOCATION: MetadataPolicy.USER_CHOICE,
        },
    ),
    _policy(
        MediaPurpose.PROFILE,
        visibility=Visibility.PUBLIC,
        renditions=_PORTRAIT,
        display=RenditionName.THUMBNAIL,
        max_bytes=10 * MEGABYTE,
    ),
    _policy(
        MediaPurpose.COVER,
        visibility=Visibility.PUBLIC,
        renditions=_PORTRAIT,
        display=RenditionName.FULL,
        max_bytes=15 * MEGABYTE,
    ),
    _policy(
        MediaPurpose.ONBOARDING,
        visibility=Visibility.PRIVATE,
        renditions=_SHARED,
        display=RenditionName.THUMBNAIL,
        max_bytes=10 * MEGABYTE,
    ),
    _policy(
        MediaPurpose.PET_TAG,
        visibility=Visibility.PRIVATE,
        renditions=_SHARED,
        display=RenditionName.THUMBNAIL,
        max_bytes=10 * MEGABYTE,
    ),
    _policy(
        MediaPurpose.FOOD_LABEL,
        visibility=Visibility.PRIVATE,
        renditions=_SHARED,
        metadata={MetadataField.CAPTURED_AT: MetadataPolicy.KEEP_PRIVATE},
    ),
    _policy(
        MediaPurpose.MEDICAL,
        visibility=Visibility.PRIVATE,
        renditions=_SENSITIVE,
        max_clip_bytes=500 * MEGABYTE,
        only_private=True,
        # When, and with what device, belongs to a finding; where does not.
        metadata={
            MetadataField.CAPTURED_AT: MetadataPolicy.KEEP_PRIVATE,
            MetadataField.CAMERA: MetadataPolicy.KEEP_PRIVATE,
        },
        # Deleted means gone: nobody expects a copy to be kept for convenience.
        deletion_window_s=0,
    ),
)

POLICIES: Mapping[MediaPurpose, PurposePolicy] = MappingProxyType({policy.purpose: policy for policy in _ALL})

if missing := set(MediaPurpose) - set(POLICIES):
    raise ValueError(f"purposes without a policy: {sorted(missing)}")
