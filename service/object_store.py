"""S3: the two buckets, what is in them, and the presigned requests that let clients write without holding a key."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple, Unpack

import boto3
from anyio import CapacityLimiter, to_thread
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from service.buckets import MISSING_CODES, bucket_problems, ensure_bucket, media_rule, upload_rule
from service.errors import ConfigurationError, NotFound, StorageRefused, TemporarilyUnavailable, TooLarge
from service.models import StoredObject

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.type_defs import DeleteObjectsOutputTypeDef, DeleteTypeDef

    from service.settings import StorageSettings

# Timed out, throttled.
_TRY_LATER = frozenset({408, 429})

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

CONNECTIONS = 16
CHUNK_BYTES = 256 * 1024
DELETE_BATCH = 1_000
LIST_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class PresignedRequest:
    """A request the client may make as it stands. `headers` must be sent verbatim; length and host are signed too."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str]
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class ObjectBody:
    """An object with its bytes and the headers it is served with."""

    body: bytes = field(repr=False)
    content_type: str
    etag: str
    cache_control: str | None
    last_modified: datetime
    metadata: Mapping[str, str]


class ObjectStore:
    """Both buckets, over boto3 in threads. Every method raises TemporarilyUnavailable when storage does not answer."""

    def __init__(self, settings: StorageSettings) -> None:
        self.upload_bucket = settings.upload_bucket
        self.media_bucket = settings.media_bucket
        self._origins = settings.allowed_origins
        self._region = settings.region
        endpoint = settings.endpoint or f"https://s3.{settings.region}.amazonaws.com"
        self._public_endpoint = (settings.public_endpoint or endpoint).rstrip("/")
        session = boto3.session.Session(
            aws_access_key_id=settings.access_key or None,
            aws_secret_access_key=settings.secret_key.get_secret_value() or None,
            region_name=settings.region,
        )
        credentials = session.get_credentials()
        if credentials is None:
            raise ConfigurationError("No S3 credentials: set MEDIA_STORAGE__ACCESS_KEY and __SECRET_KEY, or a role")
        self._credentials = credentials
        self._client: S3Client = session.client("s3", endpoint_url=endpoint, config=_client_config())
        self._limiter = CapacityLimiter(CONNECTIONS)

    def presign_put(
        self, *, key: str, content_type: str, byte_size: int, sha256: str, expires_s: int
    ) -> PresignedRequest:
        """Let a client create `key` in the upload bucket once, with exactly these bytes (`sha256` in hex).

        Signature Version 4 in the query string; storage refuses another length, type, checksum or an existing key.
        Signs locally, so it may be called on the event loop.
        """
        headers = {
            "Content-Type": content_type,
            "If-None-Match": "*",
            "x-amz-checksum-sha256": _base64_of(sha256),
        }
        # botocore moves a body's length into the signature only as a plain header; clients set it from the body itself.
        signed = {**headers, "Content-Length": str(byte_size)}
        request = AWSRequest("PUT", f"{self._public_endpoint}/{self.upload_bucket}/{key}", headers=signed)
        credentials = self._credentials.get_frozen_credentials()
        S3SigV4QueryAuth(credentials, "s3", self._region, expires=expires_s).add_auth(request)
        signed_at = datetime.strptime(request.context["timestamp"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return PresignedRequest("PUT", str(request.url), headers, signed_at + timedelta(seconds=expires_s))

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
            ChecksumSHA256=_base64_of(sha256),
        )
        await self._call(put)

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
        body = key.encode()
        digest = hashlib.sha256(body).hexdigest()
        await self.put(
            bucket, key, body, content_type="text/plain", cache_control="no-store", metadata={}, sha256=digest
        )
        try:
            found = await self.get(bucket, key)
        finally:
            await self.delete(bucket, [key])
        return found is not None and found.body == body

    async def delete(self, bucket: str, keys: Sequence[str]) -> None:
        """Remove objects; keys that do not exist are fine. Raises TemporarilyUnavailable if storage kept any."""
        for start in range(0, len(keys), DELETE_BATCH):
            batch = keys[start : start + DELETE_BATCH]
            answer = await self._call(self._delete, bucket, batch)
            if refused := answer.get("Errors"):
                raise StorageRefused(f"Storage kept {len(refused)} of {len(batch)} objects; delete again.")

    def _delete(self, bucket: str, batch: Sequence[str]) -> DeleteObjectsOutputTypeDef:
        objects: DeleteTypeDef = {"Objects": [{"Key": key} for key in batch], "Quiet": True}
        return self._client.delete_objects(Bucket=bucket, Delete=objects)

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

    async def ensure_buckets(self) -> None:
        """Create what is missing and set CORS to the exact origins of the settings. Safe to repeat."""
        rules = {self.upload_bucket: upload_rule(self._origins), self.media_bucket: media_rule(self._origins)}
        for bucket, rule in rules.items():
            await self._call(ensure_bucket, self._client, bucket, self._region, rule)

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

    async def close(self) -> None:
        """Give the connections back."""
        await to_thread.run_sync(self._client.close)

    async def _call_or_none(self, work: Callable[[Unpack[Ts]], T], *args: *Ts) -> T | None:
        try:
            return await self._call(work, *args)
        except TemporarilyUnavailable as error:
            if isinstance(error.__cause__, ClientError) and error.__cause__.response["Error"]["Code"] in MISSING_CODES:
                return None
            raise

    async def _call(self, work: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        try:
            return await to_thread.run_sync(work, *args, limiter=self._limiter)
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
            refused = status < 500 and status not in _TRY_LATER
            problem = StorageRefused if refused else TemporarilyUnavailable
            raise problem("Storage did not answer as expected; try again shortly.") from error
        except BotoCoreError as error:
            raise TemporarilyUnavailable("Storage did not answer as expected; try again shortly.") from error


def _client_config() -> Config:
    return Config(
        signature_version="s3v4",
        s3={"addressing_style": "path"},
        # Newer S3 defaults (CRC32 trailers) are not understood by other stores; SHA-256 is sent explicitly instead.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        connect_timeout=3,
        read_timeout=15,
        retries={"mode": "standard", "total_max_attempts": 3},
        max_pool_connections=CONNECTIONS,
    )


def _base64_of(hexadecimal: str) -> str:
    return base64.b64encode(bytes.fromhex(hexadecimal)).decode()


def _hex_of(checksum: str | None) -> str | None:
    # A multipart upload's checksum is a checksum of checksums, marked `-<parts>`: not the SHA-256 of the bytes.
    if checksum is None or "-" in checksum:
        return None
    return base64.b64decode(checksum).hex()
