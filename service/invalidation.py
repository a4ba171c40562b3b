"""Telling the CDN to forget objects, in requests that may be repeated and are carried out once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import boto3
from anyio import to_thread
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from service.errors import TemporarilyUnavailable
from service.settings import CdnSettings, StorageSettings

# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/cloudfront-limits.html: paths on their way at once.
_MAX_PATHS = 3_000


class CloudFrontInvalidator:
    """Creates invalidations for one distribution. Safe to call from many tasks."""

    def __init__(self, distribution_id: str, *, endpoint: str | None, storage: StorageSettings) -> None:
        self._distribution_id = distribution_id
        self._client: Any = boto3.session.Session(
            aws_access_key_id=storage.access_key or None,
            aws_secret_access_key=storage.secret_key.get_secret_value() or None,
            # CloudFront is managed from one region for all.
            region_name="us-east-1",
        ).client(
            "cloudfront",
            endpoint_url=endpoint,
            config=Config(connect_timeout=3, read_timeout=15, retries={"mode": "standard", "total_max_attempts": 3}),
        )

    async def invalidate(self, keys: Sequence[str]) -> None:
        """Have the objects under `keys` forgotten; the same keys again are the same request.

        Raises TemporarilyUnavailable if CloudFront does not take it now, as with too many on their way.
        """
        paths = sorted({f"/{key}" for key in keys})
        for start in range(0, len(paths), _MAX_PATHS):
            await to_thread.run_sync(self._create, paths[start : start + _MAX_PATHS])

    def _create(self, paths: list[str]) -> None:
        batch = {
            "Paths": {"Quantity": len(paths), "Items": paths},
            "CallerReference": hashlib.sha256("\n".join(paths).encode()).hexdigest(),
        }
        try:
            self._client.create_invalidation(DistributionId=self._distribution_id, InvalidationBatch=batch)
        except (ClientError, BotoCoreError) as error:
            raise TemporarilyUnavailable("The CDN did not take an invalidation; it will be asked again.") from error


def open_invalidator(cdn: CdnSettings, storage: StorageSettings) -> CloudFrontInvalidator | None:
    """The invalidator of the settings, not contacted yet; None where they name no distribution."""
    if not cdn.distribution_id:
        return None
    return CloudFrontInvalidator(cdn.distribution_id, endpoint=cdn.endpoint, storage=storage)
