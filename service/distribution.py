"""The distribution in front of both buckets, by name: one place for what code and infrastructure templates agree on.

How CloudFront uses each: https://docs.aws.amazon.com/cloudfront/latest/APIReference/API_DistributionConfig.html
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from service.models import Visibility
from service.object_keys import ORIGINALS_PATTERN, RENDITIONS_PATTERNS

if TYPE_CHECKING:
    from uuid import UUID

# `CacheTagConfig.HeaderName`. S3 answers with an object's metadata `cache-tag` under this name:
# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/invalidation-by-tags.html
CACHE_TAG_METADATA: Final = "cache-tag"
CACHE_TAG_HEADER: Final = f"x-amz-meta-{CACHE_TAG_METADATA}"


class Origin(enum.StrEnum):
    """Which bucket a behaviour reads from."""

    UPLOADS = "uploads"
    RENDITIONS = "renditions"


class KeyGroup(enum.StrEnum):
    """Whose signatures open a behaviour: a key group each, so that each can be revoked alone."""

    PUBLIC = "public-renditions"
    PRIVATE = "private-renditions"
    ORIGINALS = "originals"


# The response headers policies. What a browser opens by its address is shown, and runs nothing, whatever its bytes are;
# an original, whose bytes are as they were sent, is only saved.
RENDITION_HEADERS: Final[Mapping[str, str]] = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
}
ORIGINAL_HEADERS: Final[Mapping[str, str]] = {**RENDITION_HEADERS, "Content-Disposition": "attachment"}


@dataclass(frozen=True, slots=True)
class CacheBehavior:
    """Requests for `path_pattern` go to `origin`, if a key of one of `key_groups` has signed them. Answers get
    `response_headers`.
    """

    path_pattern: str
    origin: Origin
    key_groups: tuple[KeyGroup, ...]
    response_headers: Mapping[str, str]


# In the order in which they are tried; what matches none is refused. What turned private is signed with the private key
# at once and moved a little later: hence two groups for public renditions.
BEHAVIORS: Final = (
    CacheBehavior(ORIGINALS_PATTERN, Origin.UPLOADS, (KeyGroup.ORIGINALS,), ORIGINAL_HEADERS),
    CacheBehavior(RENDITIONS_PATTERNS[Visibility.PRIVATE], Origin.RENDITIONS, (KeyGroup.PRIVATE,), RENDITION_HEADERS),
    CacheBehavior(
        RENDITIONS_PATTERNS[Visibility.PUBLIC],
        Origin.RENDITIONS,
        (KeyGroup.PUBLIC, KeyGroup.PRIVATE),
        RENDITION_HEADERS,
    ),
)


class TemplateParameter(enum.StrEnum):
    """What a deployment says of its distribution, as infrastructure templates name it.

    The first two are `Restrictions.GeoRestriction`: `none`, `whitelist` or `blacklist`, and ISO 3166-1 country codes.
    The third is a list of hosts that a function at the edge compares with `Referer`: CloudFront has no setting for it.
    """

    GEO_RESTRICTION_TYPE = "GeoRestrictionType"
    GEO_RESTRICTION_LOCATIONS = "GeoRestrictionLocations"
    ALLOWED_REFERRERS = "AllowedReferrers"


def cache_tag(media_id: UUID | str) -> str:
    """The tag of every rendition of a media. One only: edges send it on to whoever is shown the picture, so it may say
    nothing that its path does not say, such as whose it is.
    """
    return str(media_id)
