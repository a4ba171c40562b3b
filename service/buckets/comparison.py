"""How one aspect of a bucket differs from its declaration, and what would put that right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

    from service.buckets.declaration import BucketDeclaration


@dataclass(frozen=True, slots=True)
class Comparison:
    """Sentences for people, without the bucket's name. `repair` removes the drift; `foreign` and `unsupported` stay."""

    drift: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    unsupported: tuple[str, ...] = ()
    repair: Callable[[], object] | None = None


Compare = Callable[["S3Client", "BucketDeclaration"], Comparison]


def read_or(nothing: Any, codes: frozenset[str], read: Callable[[], Any]) -> Any:
    """What `read` returns, or `nothing` where the server answers with one of `codes`: it has none of that yet."""
    try:
        return read()
    except ClientError as error:
        if error.response["Error"]["Code"] in codes:
            return nothing
        raise


def is_unsupported(error: ClientError) -> bool:
    """Whether the server says that it has no such function, rather than that something is wrong."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status == 501 or error.response["Error"]["Code"] in {"NotImplemented", "MethodNotAllowed"}
