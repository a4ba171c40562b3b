"""The buckets themselves: creating them, who may reach them from a browser, and what is wrong with one. Blocking."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.type_defs import CORSRuleTypeDef

MAX_CLOCK_SKEW_S = 60
MISSING_CODES = frozenset({"404", "NoSuchKey", "NotFound"})


def upload_rule(origins: Sequence[str]) -> CORSRuleTypeDef:
    """Pages of `origins` may make presigned requests, with the headers that those sign."""
    return {
        "AllowedOrigins": list(origins),
        "AllowedMethods": ["PUT", "GET", "HEAD"],
        "AllowedHeaders": ["content-type", "if-none-match", "x-amz-checksum-sha256"],
        "ExposeHeaders": ["ETag", "Location"],
        "MaxAgeSeconds": 3600,
    }


def media_rule(origins: Sequence[str]) -> CORSRuleTypeDef:
    """Pages of `origins` may read."""
    return {"AllowedOrigins": list(origins), "AllowedMethods": ["GET", "HEAD"], "MaxAgeSeconds": 3600}


def ensure_bucket(client: S3Client, bucket: str, region: str, rule: CORSRuleTypeDef) -> None:
    """Create `bucket` if it is missing and make `rule` its only CORS rule (none, if it lets no origin)."""
    try:
        client.head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] not in MISSING_CODES:
            raise
        _create(client, bucket, region)
    if rule["AllowedOrigins"]:
        client.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    else:
        client.delete_bucket_cors(Bucket=bucket)


def _create(client: S3Client, bucket: str, region: str) -> None:
    # us-east-1 is the one region that S3 does not accept as a location constraint.
    if region == "us-east-1":
        client.create_bucket(Bucket=bucket)
    else:
        constraint: Any = {"LocationConstraint": region}
        client.create_bucket(Bucket=bucket, CreateBucketConfiguration=constraint)


def bucket_problems(client: S3Client, bucket: str, writers: Sequence[str]) -> list[str]:
    """What is wrong with `bucket`, a sentence each: its server's clock, and origins of `writers` that may not PUT."""
    answer = client.head_bucket(Bucket=bucket)
    problems = _clock_problems(answer["ResponseMetadata"]["HTTPHeaders"].get("date"))
    if writers and (refused := set(writers) - _origins_that_may_put(client, bucket)):
        problems.append(f"Bucket {bucket}: CORS does not let {', '.join(sorted(refused))} PUT; set its CORS rules.")
    return problems


def _origins_that_may_put(client: S3Client, bucket: str) -> set[str]:
    try:
        rules = client.get_bucket_cors(Bucket=bucket)["CORSRules"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchCORSConfiguration":
            return set()
        raise
    return {origin for rule in rules if "PUT" in rule["AllowedMethods"] for origin in rule["AllowedOrigins"]}


def _clock_problems(date: str | None) -> list[str]:
    if date is None:
        return []
    skew = (datetime.now(UTC) - parsedate_to_datetime(date)).total_seconds()
    if abs(skew) <= MAX_CLOCK_SKEW_S:
        return []
    return [f"This clock differs from storage's by {skew:.0f} s, so its signatures will be refused; synchronise it."]
