"""S3 multipart uploads: begin one, see which parts storage holds, make an object of them, or drop them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from service.errors import TemporarilyUnavailable
from service.presigning import UNCONFIRMED_TAG
from service.storage_calls import StorageCalls, error_code

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import CompletedPartTypeDef

_NO_SUCH_UPLOAD = frozenset({"NoSuchUpload", "404", "NotFound"})
# Parts were sent again in between, or an object is there already.
_NOT_ASSEMBLED = frozenset({"InvalidPart", "InvalidPartOrder", "EntityTooSmall", "PreconditionFailed", "412"})


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A part as storage confirms it. `checksum`: its SHA-256 in base64, where the upload was begun with checksums."""

    number: int
    byte_size: int
    etag: str
    checksum: str | None = None


@dataclass(frozen=True, slots=True)
class PendingMultipart:
    """A multipart upload that was begun and neither completed nor aborted."""

    key: str
    storage_upload_id: str
    begun_at: datetime


class MultipartUploads:
    """Multipart uploads of one bucket. Raises TemporarilyUnavailable when storage does not answer."""

    def __init__(self, calls: StorageCalls, bucket: str) -> None:
        self._calls = calls
        self._client = calls.client
        self._bucket = bucket

    async def begin(self, key: str, content_type: str, *, checksums: bool) -> str:
        """Begin a multipart upload of `key`; the id by which storage knows it.

        With `checksums` storage demands, checks and keeps the SHA-256 of each part.
        """
        options: dict[str, Any] = {"ChecksumAlgorithm": "SHA256"} if checksums else {}
        begin = partial(
            self._client.create_multipart_upload,
            Bucket=self._bucket,
            Key=key,
            ContentType=content_type,
            Tagging=UNCONFIRMED_TAG,
            **options,
        )
        return (await self._calls.call(begin))["UploadId"]

    async def list_parts(self, key: str, storage_upload_id: str) -> list[StoredPart] | None:
        """Every part that storage holds, by number; None if it knows no such upload (any more)."""
        try:
            return await self._calls.call(self._list_parts, key, storage_upload_id)
        except TemporarilyUnavailable as error:
            if error_code(error) in _NO_SUCH_UPLOAD:
                return None
            raise

    def _list_parts(self, key: str, storage_upload_id: str) -> list[StoredPart]:
        pages = self._client.get_paginator("list_parts").paginate(
            Bucket=self._bucket, Key=key, UploadId=storage_upload_id
        )
        found = [
            StoredPart(part["PartNumber"], part["Size"], part["ETag"].strip('"'), part.get("ChecksumSHA256"))
            for page in pages
            for part in page.get("Parts", [])
        ]
        return sorted(found, key=lambda part: part.number)

    async def complete(self, key: str, storage_upload_id: str, parts: Sequence[StoredPart]) -> bool:
        """Make one object of `parts`, never over another; False if storage did not: somebody else was first, or
        parts have changed."""
        chosen: list[CompletedPartTypeDef] = []
        for part in parts:
            completed: CompletedPartTypeDef = {"PartNumber": part.number, "ETag": part.etag}
            if part.checksum is not None:
                completed["ChecksumSHA256"] = part.checksum
            chosen.append(completed)
        complete = partial(
            self._client.complete_multipart_upload,
            Bucket=self._bucket,
            Key=key,
            UploadId=storage_upload_id,
            MultipartUpload={"Parts": chosen},
            IfNoneMatch="*",
        )
        try:
            await self._calls.call(complete)
        except TemporarilyUnavailable as error:
            if error_code(error) in _NO_SUCH_UPLOAD | _NOT_ASSEMBLED:
                return False
            raise
        return True

    async def abort(self, key: str, storage_upload_id: str) -> None:
        """Drop a multipart upload and its parts; one that is gone already is fine."""
        abort = partial(self._client.abort_multipart_upload, Bucket=self._bucket, Key=key, UploadId=storage_upload_id)
        try:
            await self._calls.call(abort)
        except TemporarilyUnavailable as error:
            if error_code(error) not in _NO_SUCH_UPLOAD:
                raise

    async def abort_all(self, key: str) -> int:
        """Drop every multipart upload of `key`, also those whose id nobody wrote down; how many there were."""
        pending = [each async for each in self.list_pending(key) if each.key == key]
        for each in pending:
            await self.abort(key, each.storage_upload_id)
        return len(pending)

    async def list_pending(self, prefix: str = "") -> AsyncIterator[PendingMultipart]:
        """Every multipart upload under `prefix` that is neither completed nor aborted."""
        pages = iter(self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self._bucket, Prefix=prefix))
        while (page := await self._calls.call(lambda: next(pages, None))) is not None:
            for upload in page.get("Uploads", []):
                yield PendingMultipart(upload["Key"], upload["UploadId"], upload["Initiated"])
