"""What is wrong with a bucket that answers: its server's clock, and origins that may not upload to it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

MAX_CLOCK_SKEW_S = 60
MISSING_CODES = frozenset({"404", "NoSuchKey", "NotFound"})


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
