"""Objects that nobody can remove or overwrite until their time is over: S3 Object Lock, in compliance mode.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html
"""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime
from functools import partial

from service.errors import StorageRefused
from service.storage_calls import StorageCalls, error_code

_WITHOUT_LOCK = frozenset({"ObjectLockConfigurationNotFoundError", "NotImplemented", "InvalidRequest"})
_EXISTS = frozenset({"PreconditionFailed", "412"})


class LockedObjects:
    def __init__(self, calls: StorageCalls) -> None:
        self._client, self._call = calls.client, calls.call

    async def locks(self, bucket: str) -> bool:
        """Whether a bucket has Object Lock, which it has from its beginning. Raises TemporarilyUnavailable."""
        try:
            answer = await self._call(partial(self._client.get_object_lock_configuration, Bucket=bucket))
        except StorageRefused as error:
            if error_code(error) not in _WITHOUT_LOCK:
                raise
            return False
        return answer.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled"

    async def create(self, bucket: str, key: str, body: bytes, *, content_type: str, until: datetime) -> bool:
        """Write an object that stays until then, under a key that has none; False if it has one.

        Raises StorageRefused where the bucket does not lock, TemporarilyUnavailable.
        """
        create = partial(
            self._client.put_object,
            Bucket=bucket,
            Key=key,
            Body=body,
            ContentType=content_type,
            # What is locked has to come with a digest.
            ChecksumSHA256=base64.b64encode(hashlib.sha256(body).digest()).decode(),
            IfNoneMatch="*",
            ObjectLockMode="COMPLIANCE",
            ObjectLockRetainUntilDate=until,
        )
        try:
            await self._call(create)
        except StorageRefused as error:
            if error_code(error) not in _EXISTS:
                raise
            return False
        return True
