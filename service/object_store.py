"""S3: the two buckets, what is in them, and the presigned requests that let clients write without holding a key."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from service.buckets import BucketReport, apply_declaration, bucket_problems, compare_bucket, declare_buckets
from service.errors import NotFound, StorageRefused, TemporarilyUnavailable, TooLarge
from service.locked_objects import LockedObjects
from service.models import StoredObject
from service.multipart import MultipartUploads
from service.object_deletion import delete_for_good
from service.object_versions import ObjectBody, ObjectVersion, read_versions, versioned_keys
from service.presigning import PresignedRequest, Presigner
from service.storage_calls import StorageCalls, error_code

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import TagTypeDef

    from service.settings import StorageSettings

CHUNK_BYTES = 256 * 1024
LIST_PAGE = 1_000
_KEPT: TagTypeDef = {"Key": "state", "Value": "kept"}
_QUARANTINED: TagTypeDef = {"Key": "state", "Value": "quarantined"}


@dataclass(frozen=True, slots=True)
class ListedObject:
    """An object as a listing shows it: `bytes` long, last written at `written_at`."""

    key: str
    bytes: int
    written_at: datetime


class ObjectStore:
    """Both buckets, over boto3 in threads. Every method raises TemporarilyUnavailable when storage does not answer."""

    def __init__(self, settings: StorageSettings) -> None:
        self.upload_bucket = settings.upload_bucket
        self.media_bucket = settings.media_bucket
        self._origins = settings.allowed_origins
        self._declarations = declare_buckets(settings)
        self._calls = StorageCalls(settings)
        self._client = self._calls.client
        self._call, self._call_or_none = self._calls.call, self._calls.call_or_none
        self.multipart = MultipartUploads(self._calls, settings.upload_bucket)
        self.locked = LockedObjects(self._calls)
        self.presigner = Presigner(
            endpoint=settings.public_endpoint or self._calls.endpoint,
            region=settings.region,
            bucket=settings.upload_bucket,
            credentials=self._calls.credentials.frozen,
        )

    def presign_put(
        self, *, key: str, content_type: str, byte_size: int, sha256: str, expires_s: int
    ) -> PresignedRequest:
        """Let a client create `key` in the upload bucket once, with exactly these bytes (`sha256` in hex)."""
        return self.presigner.put(
            key=key,
            content_type=content_type,
            byte_size=byte_size,
            checksum=base64_of(sha256),
            expires_s=expires_s,
        )

    async def head(self, bucket: str, key: str) -> StoredObject | None:
        """What storage holds under `key`, or None."""
        return await self._call_or_none(self._head, bucket, key)

    def _head(self, bucket: str, key: str) -> StoredObject:
        answer = self._client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        return StoredObject(
            bucket=bucket,
            key=key,
            bytes=answer["ContentLength"],
            content_type=answer["ContentType"],
            etag=answer["ETag"].strip('"'),
            sha256=_hex_of(answer.get("ChecksumSHA256")),
        )

    async def download(self, bucket: str, key: str, path: Path, *, max_bytes: int) -> str:
        """Stream an object into the file `path`; its SHA-256 in hex.

        Raises NotFound if there is none, TooLarge (after at most `max_bytes` written) if it is larger.
        """
        digest = await self._call_or_none(self._download, bucket, key, path, max_bytes)
        if digest is None:
            raise NotFound(f"Storage holds no object {key}.")
        return digest

    def _download(self, bucket: str, key: str, path: Path, max_bytes: int) -> str:
        digest, total = hashlib.sha256(), 0
        body = self._client.get_object(Bucket=bucket, Key=key)["Body"]
        with body, path.open("wb") as file:
            for chunk in body.iter_chunks(CHUNK_BYTES):
                total += len(chunk)
                if total > max_bytes:
                    raise TooLarge(f"The stored object is larger than {max_bytes} bytes.")
                digest.update(chunk)
                file.write(chunk)
        return digest.hexdigest()

    async def put(
        self,
        bucket: str,
        key: str,
        body: bytes,
        *,
        content_type: str,
        cache_control: str,
        metadata: Mapping[str, str],
        sha256: str,
    ) -> None:
        """Write an object; storage refuses it if `sha256` (hex) does not match what arrived."""
        put = partial(
            self._client.put_object,
            Bucket=bucket,
            Key=key,
            Body=body,
            ContentType=content_type,
            CacheControl=cache_control,
            Metadata=dict(metadata),
            ChecksumSHA256=base64_of(sha256),
        )
        await self._call(put)

    async def create(self, bucket: str, key: str, body: bytes, *, content_type: str) -> bool:
        """Write an object under a key that has none; False if it has one, which stays as it is."""
        create = partial(
            self._client.put_object, Bucket=bucket, Key=key, Body=body, ContentType=content_type, IfNoneMatch="*"
        )
        try:
            await self._call(create)
        except StorageRefused as error:
            if error_code(error) not in {"PreconditionFailed", "412"}:
                raise
            return False
        return True

    async def versions(self, bucket: str, prefix: str) -> list[ObjectVersion]:
        """Every version of every object under `prefix`, in memory: for few and small ones."""
        return await self._call(lambda: list(read_versions(self._client, bucket, prefix)))

    async def versioned_keys(self, bucket: str, prefix: str) -> set[str]:
        """Keys under `prefix` with anything at all: an object, an earlier version of one, a delete marker."""
        return await self._call(versioned_keys, self._client, bucket, prefix)

    async def copy(
        self, bucket: str, source: str, key: str, *, content_type: str, cache_control: str, metadata: Mapping[str, str]
    ) -> bool:
        """Write the bytes of `source` under `key` as well, with headers of its own; False if there are none."""
        copy = partial(
            self._client.copy_object,
            Bucket=bucket,
            Key=key,
            CopySource={"Bucket": bucket, "Key": source},
            MetadataDirective="REPLACE",
            ContentType=content_type,
            CacheControl=cache_control,
            Metadata=dict(metadata),
            ChecksumAlgorithm="SHA256",
        )
        return await self._call_or_none(copy) is not None

    async def get(self, bucket: str, key: str) -> ObjectBody | None:
        """An object with its bytes in memory, or None: for renditions, not for large originals."""
        return await self._call_or_none(self._get, bucket, key)

    def _get(self, bucket: str, key: str) -> ObjectBody:
        answer = self._client.get_object(Bucket=bucket, Key=key)
        with answer["Body"] as body:
            return ObjectBody(
                body=body.read(),
                content_type=answer["ContentType"],
                etag=answer["ETag"].strip('"'),
                cache_control=answer.get("CacheControl"),
                last_modified=answer["LastModified"],
                metadata=answer["Metadata"],
            )

    async def keeps(self, bucket: str, key: str) -> bool:
        """Whether an object written under `key` can be read again; it is deleted either way.

        A server may answer for its buckets and yet have lost what keeps their objects.
        """
        body, digest = key.encode(), hashlib.sha256(key.encode()).hexdigest()
        await self.put(
            bucket, key, body, content_type="text/plain", cache_control="no-store", metadata={}, sha256=digest
        )
        try:
            found = await self.get(bucket, key)
        finally:
            await self.delete(bucket, [key])
        return found is not None and found.body == body

    async def delete(self, bucket: str, keys: Sequence[str], *, written_before: datetime | None = None) -> None:
        """Remove objects with all their versions, or those `written_before`; keys that do not exist are fine.

        Raises StorageRefused if storage kept any.
        """
        if refused := await self._call(delete_for_good, self._client, bucket, keys, written_before):
            raise StorageRefused(f"Storage kept {refused} versions of {len(keys)} objects; delete again.")

    async def list_objects(self, bucket: str, prefix: str) -> AsyncIterator[StoredObject]:
        """Every object under `prefix` in key order. Listings carry no content type or checksum: they stay empty."""
        pages = iter(
            self._client.get_paginator("list_objects_v2").paginate(
                Bucket=bucket, Prefix=prefix, PaginationConfig={"PageSize": LIST_PAGE}
            )
        )
        while (page := await self._call(lambda: next(pages, None))) is not None:
            for entry in page.get("Contents", []):
                yield StoredObject(bucket, entry["Key"], entry["Size"], "", entry["ETag"].strip('"'))

    async def list_pages(self, bucket: str, *, after: str = "") -> AsyncIterator[list[ListedObject]]:
        """The whole bucket in key order, a page of up to LIST_PAGE at a time, from the first key beyond `after`."""
        pages = iter(
            self._client.get_paginator("list_objects_v2").paginate(
                Bucket=bucket, StartAfter=after, PaginationConfig={"PageSize": LIST_PAGE}
            )
        )
        while (page := await self._call(lambda: next(pages, None))) is not None:
            yield [ListedObject(each["Key"], each["Size"], each["LastModified"]) for each in page.get("Contents", [])]

    async def ensure_buckets(self) -> list[BucketReport]:
        """Create both buckets and change what differs from their declarations, for each of them. Safe to repeat."""
        return [await self._call(apply_declaration, self._client, each) for each in self._declarations]

    async def compare_buckets(self) -> list[BucketReport]:
        """How each bucket differs from its declaration; changes nothing."""
        return [await self._call(compare_bucket, self._client, each) for each in self._declarations]

    async def ping(self) -> None:
        """Readiness: both buckets answer. Raises TemporarilyUnavailable otherwise."""
        for bucket in (self.upload_bucket, self.media_bucket):
            await self._call(partial(self._client.head_bucket, Bucket=bucket))

    async def check(self) -> list[str]:
        """What is wrong with storage, a sentence each with its remedy; empty when all is well."""
        problems: list[str] = []
        for bucket, writers in ((self.upload_bucket, self._origins), (self.media_bucket, ())):
            try:
                problems += await self._call(bucket_problems, self._client, bucket, writers)
            except TemporarilyUnavailable as error:
                remedy = "Run `python -m service buckets --apply`, or correct MEDIA_STORAGE__* and its rights."
                problems.append(f"Bucket {bucket}: {error.__cause__}. {remedy}")
        return problems

    async def mark_kept(self, bucket: str, key: str) -> None:
        """Take an original out of the rule that expires abandoned uploads. Raises NotFound if there is none."""
        await self._tag(bucket, key, _KEPT)

    async def mark_quarantined(self, bucket: str, key: str) -> None:
        """Tag an original for people to find: no lifecycle rule touches it from then on. Raises NotFound."""
        await self._tag(bucket, key, _QUARANTINED)

    async def _tag(self, bucket: str, key: str, tag: TagTypeDef) -> None:
        mark = partial(self._client.put_object_tagging, Bucket=bucket, Key=key, Tagging={"TagSet": [tag]})
        try:
            answer = await self._call_or_none(mark)
        except StorageRefused as error:
            # Without tags there is no rule that goes by them.
            if error_code(error) != "NotImplemented":
                raise
            return
        if answer is None:
            raise NotFound(f"Storage holds no object {key}.")

    async def keep_credentials_fresh(self) -> None:
        """Keep signing from ever waiting for the role that its credentials come from; runs until cancelled."""
        await self._calls.credentials.keep_fresh()

    async def close(self) -> None:
        """Give the connections back."""
        await self._calls.close()


def base64_of(hexadecimal: str) -> str:
    """A hex digest as S3's headers carry it."""
    return base64.b64encode(bytes.fromhex(hexadecimal)).decode()


def hex_of(checksum: str) -> str:
    """A digest of S3's headers in lower-case hex. Raises ValueError if it is not base64."""
    return base64.b64decode(checksum, validate=True).hex()


def _hex_of(checksum: str | None) -> str | None:
    # A multipart upload's checksum is a checksum of checksums, marked `-<parts>`: not the SHA-256 of the bytes.
    return None if checksum is None or "-" in checksum else hex_of(checksum)
