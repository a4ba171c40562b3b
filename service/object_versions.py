"""Objects with their bytes: as they are, and as they were in every version that storage keeps. Blocking."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client


@dataclass(frozen=True, slots=True)
class ObjectBody:
    """An object with its bytes and the headers it is served with."""

    body: bytes = field(repr=False)
    content_type: str
    etag: str
    cache_control: str | None
    last_modified: datetime
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """One version of the object under `key`; `id` is `null` in a bucket without versions."""

    key: str
    id: str
    body: bytes


def versioned_keys(client: S3Client, bucket: str, prefix: str) -> set[str]:
    """Keys under `prefix` of which the bucket has any version, or a delete marker that hides none any more."""
    pages = client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix)
    return {entry["Key"] for page in pages for entry in (*page.get("Versions", []), *page.get("DeleteMarkers", []))}


def read_versions(client: S3Client, bucket: str, prefix: str) -> Iterator[ObjectVersion]:
    """All versions of all objects under `prefix`, also of those that were overwritten or hidden by a deletion."""
    for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Versions", []):
            answer = client.get_object(Bucket=bucket, Key=entry["Key"], VersionId=entry["VersionId"])
            with answer["Body"] as body:
                yield ObjectVersion(entry["Key"], entry["VersionId"], body.read())
