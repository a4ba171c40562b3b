"""Calls to S3 over boto3: in threads, within bounds, and with one meaning for everything that goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple, Unpack

import boto3
from anyio import CapacityLimiter, to_thread
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from service.buckets import MISSING_CODES
from service.errors import ConfigurationError, StorageRefused, TemporarilyUnavailable
from service.storage_credentials import SigningCredentials

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

    from service.settings import StorageSettings

CONNECTIONS = 16

# Timed out, throttled.
_TRY_LATER = frozenset({408, 429})
_UNEXPECTED = "Storage did not answer as expected; try again shortly."

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class StorageCalls:
    """One client, up to CONNECTIONS calls at once."""

    def __init__(self, settings: StorageSettings) -> None:
        session = boto3.session.Session(
            aws_access_key_id=settings.access_key or None,
            aws_secret_access_key=settings.secret_key.get_secret_value() or None,
            region_name=settings.region,
        )
        credentials = session.get_credentials()
        if credentials is None:
            raise ConfigurationError("No S3 credentials: set MEDIA_STORAGE__ACCESS_KEY and __SECRET_KEY, or a role")
        self.credentials = SigningCredentials(credentials)
        self.endpoint = settings.endpoint or f"https://s3.{settings.region}.amazonaws.com"
        self.client: S3Client = session.client("s3", endpoint_url=self.endpoint, config=_client_config())
        self._limiter = CapacityLimiter(CONNECTIONS)

    async def call(self, work: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        """Run blocking `work` in a thread. Raises StorageRefused where storage said no, else TemporarilyUnavailable."""
        try:
            return await to_thread.run_sync(work, *args, limiter=self._limiter)
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
            refused = status < 500 and status not in _TRY_LATER
            raise (StorageRefused if refused else TemporarilyUnavailable)(_UNEXPECTED) from error
        except BotoCoreError as error:
            raise TemporarilyUnavailable(_UNEXPECTED) from error

    async def call_or_none(self, work: Callable[[Unpack[Ts]], T], *args: *Ts) -> T | None:
        """As `call`; None where storage says that there is no such thing."""
        try:
            return await self.call(work, *args)
        except TemporarilyUnavailable as error:
            if error_code(error) in MISSING_CODES:
                return None
            raise

    async def close(self) -> None:
        """Give the connections back."""
        await to_thread.run_sync(self.client.close)


def error_code(error: TemporarilyUnavailable) -> str | None:
    """The S3 error code that `error` stands for, e.g. `NoSuchUpload`; None if storage did not answer with one."""
    cause = error.__cause__
    return cause.response["Error"]["Code"] if isinstance(cause, ClientError) else None


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
