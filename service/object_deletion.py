"""Deleting objects so that nothing of them is left: every version and every delete marker. Blocking."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.type_defs import ObjectIdentifierTypeDef

BATCH = 1_000


def delete_for_good(client: S3Client, bucket: str, keys: Sequence[str], written_before: datetime | None = None) -> int:
    """Remove everything that `bucket` holds under exactly these keys; the number of versions storage kept.

    On a bucket with versions a plain deletion would only hide the bytes behind a delete marker. A bucket without
    versions lists each object as the version `null`, so one way serves both. With `written_before`, versions since
    then stay.
    """
    refused = 0
    batch: list[ObjectIdentifierTypeDef] = []
    for key in keys:
        for version_id in _versions(client, bucket, key, written_before):
            batch.append({"Key": key, "VersionId": version_id})
            if len(batch) == BATCH:
                refused += _delete(client, bucket, batch)
                batch = []
    return refused + (_delete(client, bucket, batch) if batch else 0)


def _versions(client: S3Client, bucket: str, key: str, written_before: datetime | None) -> Iterator[str]:
    pages = client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=key)
    for page in pages:
        entries = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        for entry in entries:
            if entry["Key"] == key and (written_before is None or entry["LastModified"] < written_before):
                yield entry["VersionId"]
        if any(entry["Key"] > key for entry in entries):
            # Listings are in key order, and no longer key comes before the key itself.
            return


def _delete(client: S3Client, bucket: str, batch: list[ObjectIdentifierTypeDef]) -> int:
    answer = client.delete_objects(Bucket=bucket, Delete={"Objects": batch, "Quiet": True})
    return len(answer.get("Errors", []))
