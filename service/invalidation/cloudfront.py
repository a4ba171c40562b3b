"""CloudFront's invalidations as its API has them: created under a reference, and asked about until completed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import boto3
import structlog
from anyio import to_thread
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from service.distribution import CACHE_TAG_HEADER
from service.errors import TemporarilyUnavailable
from service.settings import CdnSettings, StorageSettings

# How long what the distribution is configured to do is taken for granted.
_TRUSTED_S: Final = 300.0
# Too many on their way, or too many calls; everything else that is refused needs a person.
_BUSY: Final = frozenset({"TooManyInvalidationsInProgress", "Throttling", "ThrottlingException", "TooManyRequests"})
_TOO_LARGE: Final = "BatchTooLarge"
_UNSENDABLE: Final = frozenset({"InvalidationBatchAlreadyExists", _TOO_LARGE})

log = structlog.get_logger(__name__)


class UnsendableBatch(Exception):
    """Too much for one call, or under a reference that was used for other items: this batch will never be taken."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.is_too_large = code == _TOO_LARGE


class InvalidationRefused(TemporarilyUnavailable):
    """CloudFront answered, and refused for `reason`: it is for a person to mend the distribution or the rights."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"CloudFront refused an invalidation: {reason}.")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Progress:
    """An invalidation by CloudFront's id, and whether every edge has forgotten."""

    invalidation_id: str
    is_completed: bool


class CloudFront:
    """One distribution. Safe to use from many tasks."""

    def __init__(self, cdn: CdnSettings, storage: StorageSettings) -> None:
        self.distribution_id = cdn.distribution_id
        self._may_use_tags = cdn.cache_tags
        self._reads_tags: tuple[float, bool] | None = None
        self._client: Any = boto3.session.Session(
            aws_access_key_id=storage.access_key or None,
            aws_secret_access_key=storage.secret_key.get_secret_value() or None,
            # CloudFront is managed from one region for all.
            region_name="us-east-1",
        ).client(
            "cloudfront",
            endpoint_url=cdn.endpoint,
            config=Config(connect_timeout=3, read_timeout=15, retries={"mode": "standard", "total_max_attempts": 2}),
        )

    async def create(self, reference: str, items: Sequence[str]) -> Progress:
        """Have `items` (paths that begin with `/`, tags that begin with `#`) forgotten.

        The same reference and items again are the same invalidation. Raises UnsendableBatch, InvalidationRefused, and
        TemporarilyUnavailable where it does not answer or takes no more for now.
        """
        batch = {"Paths": {"Quantity": len(items), "Items": list(items)}, "CallerReference": reference}
        try:
            answer = await self._call(self._client.create_invalidation, InvalidationBatch=batch)
        except ClientError as error:
            if _code(error) in _UNSENDABLE:
                raise UnsendableBatch(_code(error)) from error
            raise _refusal(error) from error
        return _progress(answer)

    async def look(self, invalidation_id: str) -> Progress | None:
        """How far an invalidation has come; None for one that CloudFront does not know. Raises as `create` does."""
        try:
            answer = await self._call(self._client.get_invalidation, Id=invalidation_id)
        except ClientError as error:
            if _code(error) == "NoSuchInvalidation":
                return None
            raise _refusal(error) from error
        return _progress(answer)

    async def reads_tags(self) -> bool:
        """Whether objects can be forgotten by their cache tag: if settings allow it, and the distribution reads them.

        One that does not would take a tag, and forget nothing. So what cannot be found out is a no. Raises
        TemporarilyUnavailable where CloudFront does not answer.
        """
        if not self._may_use_tags:
            return False
        now = time.monotonic()
        if self._reads_tags is None or self._reads_tags[0] < now:
            self._reads_tags = (now + _TRUSTED_S, await self._is_configured_for_tags())
        return self._reads_tags[1]

    async def tag_header(self) -> str:
        """In which header of its origins the distribution looks for cache tags, in lower case; empty if in none.

        Raises InvalidationRefused, TemporarilyUnavailable.
        """
        try:
            answer = await to_thread.run_sync(lambda: self._client.get_distribution_config(Id=self.distribution_id))
        except BotoCoreError as error:
            raise _no_answer() from error
        except ClientError as error:
            raise _refusal(error) from error
        header: str = answer["DistributionConfig"].get("CacheTagConfig", {}).get("HeaderName", "")
        return header.lower()

    async def _is_configured_for_tags(self) -> bool:
        try:
            return await self.tag_header() == CACHE_TAG_HEADER
        except InvalidationRefused as error:
            log.warning("the distribution does not say whether it reads cache tags; paths are used", code=error.reason)
            return False

    async def _call(self, method: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
        try:
            answer = await to_thread.run_sync(lambda: method(DistributionId=self.distribution_id, **arguments))
        except BotoCoreError as error:
            raise _no_answer() from error
        said: dict[str, Any] = answer["Invalidation"]
        return said


def _progress(invalidation: dict[str, Any]) -> Progress:
    return Progress(invalidation["Id"], invalidation["Status"] == "Completed")


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _is_outage(error: ClientError) -> bool:
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
    return status >= 500 or status == 429 or _code(error) in _BUSY


def _refusal(error: ClientError) -> TemporarilyUnavailable:
    if _is_outage(error):
        return _no_answer()
    return InvalidationRefused(_code(error))


def _no_answer() -> TemporarilyUnavailable:
    return TemporarilyUnavailable("The CDN takes no invalidation now; it will be asked again.")


def open_cloudfront(cdn: CdnSettings, storage: StorageSettings) -> CloudFront | None:
    """The distribution of the settings, not contacted yet; None where they name none."""
    return CloudFront(cdn, storage) if cdn.distribution_id else None
