"""Comparing a bucket with its declaration, and changing what differs and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from service.buckets.access import compare_cors, compare_policy, compare_public_access
from service.buckets.comparison import Compare, is_unsupported
from service.buckets.health import MISSING_CODES
from service.buckets.retention import compare_encryption, compare_lifecycle, compare_versioning

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

    from service.buckets.declaration import BucketDeclaration

ASPECTS: Mapping[str, Compare] = MappingProxyType(
    {
        "public access block": compare_public_access,
        "bucket policy": compare_policy,
        "default encryption": compare_encryption,
        "versioning": compare_versioning,
        "lifecycle": compare_lifecycle,
        "CORS": compare_cors,
    }
)


@dataclass(slots=True)
class BucketReport:
    """Sentences about one bucket. `drift`: differs still; `changed`: differed and was put right.

    `foreign`: rules of others, kept. `unsupported`: declared, but this server has no such function.
    """

    bucket: str
    drift: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    unsupported: list[str] = field(default_factory=list)


def compare_bucket(client: S3Client, declaration: BucketDeclaration) -> BucketReport:
    """How the bucket differs from `declaration`; changes nothing. Raises ClientError if the server refuses to say."""
    report = BucketReport(declaration.name)
    if not _exists(client, declaration.name):
        report.drift.append("it does not exist")
        return report
    for name, compare in ASPECTS.items():
        _examine(name, compare, client, declaration, report, apply=False)
    return report


def apply_declaration(client: S3Client, declaration: BucketDeclaration) -> BucketReport:
    """Create the bucket if it is missing, and change whatever differs. Safe to repeat: then it changes nothing."""
    report = BucketReport(declaration.name)
    if not _exists(client, declaration.name):
        _create(client, declaration)
        report.changed.append("it did not exist")
    for name, compare in ASPECTS.items():
        _examine(name, compare, client, declaration, report, apply=True)
    return report


def _examine(
    name: str,
    compare: Compare,
    client: S3Client,
    declaration: BucketDeclaration,
    report: BucketReport,
    *,
    apply: bool,
) -> None:
    try:
        comparison = compare(client, declaration)
        report.foreign += comparison.foreign
        report.unsupported += comparison.unsupported
        if comparison.drift and apply and comparison.repair is not None:
            comparison.repair()
            report.changed += comparison.drift
        else:
            report.drift += comparison.drift
    except ClientError as error:
        if not is_unsupported(error):
            raise
        report.unsupported.append(name)


def _exists(client: S3Client, bucket: str) -> bool:
    try:
        client.head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] not in MISSING_CODES:
            raise
        return False
    return True


def _create(client: S3Client, declaration: BucketDeclaration) -> None:
    # us-east-1 is the one region that S3 does not accept as a location constraint.
    if declaration.region == "us-east-1":
        client.create_bucket(Bucket=declaration.name)
    else:
        constraint: Any = {"LocationConstraint": declaration.region}
        client.create_bucket(Bucket=declaration.name, CreateBucketConfiguration=constraint)
