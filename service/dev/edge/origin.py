"""Where the edge's objects come from: a bucket, asked for whole objects, and only for changes where it has one."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from service.buckets import MISSING_CODES
from service.distribution import CACHE_TAG_METADATA
from service.errors import TemporarilyUnavailable
from service.storage_calls import StorageCalls, error_code

if TYPE_CHECKING:
    from datetime import datetime

    from service.settings import StorageSettings

# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/invalidation-specifying-tags.html
MAX_TAGS = 50
MAX_TAG_LENGTH = 256


class Failure(enum.Enum):
    """What came back instead of an object."""

    MISSING = "missing"
    UNREACHABLE = "unreachable"


class Unchanged(enum.Enum):
    """The origin's 304: the bytes that the edge holds are still the right ones."""

    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class OriginObject:
    """An object and what came with it. `cache_control` and `expires` are headers as sent, `etag` is without quotes.

    `tags` are its cache tags in lower case, in which CloudFront compares them.
    """

    body: bytes = field(repr=False)
    content_type: str
    etag: str
    last_modified: datetime
    cache_control: str | None = None
    expires: str | None = None
    tags: frozenset[str] = frozenset()


Answer = OriginObject | Unchanged | Failure


class Origin(Protocol):
    """What the edge asks. It answers every question: trouble is an answer as well."""

    async def get(self, bucket: str, key: str, *, known_etag: str | None) -> Answer: ...


def tags_of(header: str) -> frozenset[str]:
    """The cache tags in a header's value; those beyond CloudFront's limits do not count."""
    tags = [tag for part in header.split(",") if (tag := part.strip().lower())]
    return frozenset(tag for tag in tags[:MAX_TAGS] if len(tag) <= MAX_TAG_LENGTH)


class StorageOrigin:
    """Both buckets over S3."""

    def __init__(self, settings: StorageSettings) -> None:
        self._calls = StorageCalls(settings)

    async def get(self, bucket: str, key: str, *, known_etag: str | None) -> Answer:
        """The object under `key`, or that it still has `known_etag`."""
        try:
            return await self._calls.call(self._get, bucket, key, known_etag)
        except TemporarilyUnavailable as error:
            code = error_code(error)
            if code == "304":
                return Unchanged.UNCHANGED
            return Failure.MISSING if code in MISSING_CODES else Failure.UNREACHABLE

    def _get(self, bucket: str, key: str, known_etag: str | None) -> OriginObject:
        client = self._calls.client
        answer = (
            client.get_object(Bucket=bucket, Key=key)
            if known_etag is None
            else client.get_object(Bucket=bucket, Key=key, IfNoneMatch=f'"{known_etag}"')
        )
        with answer["Body"] as body:
            return OriginObject(
                body=body.read(),
                content_type=answer["ContentType"],
                etag=answer["ETag"].strip('"'),
                last_modified=answer["LastModified"],
                cache_control=answer.get("CacheControl"),
                expires=answer["ResponseMetadata"]["HTTPHeaders"].get("expires"),
                tags=tags_of(answer["Metadata"].get(CACHE_TAG_METADATA, "")),
            )

    async def close(self) -> None:
        """Give the connections back."""
        await self._calls.close()
