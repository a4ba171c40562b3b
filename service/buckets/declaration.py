"""What both buckets are to be like: data, in the shapes of S3's own requests.

Rules carry an id, so that ours are told from those of others, which are reported and kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import CORSRuleTypeDef, LifecycleRuleOutputTypeDef

    from service.settings import StorageSettings

CORS_ID = "media-service"
LIFECYCLE_PREFIX = "media-service-"
INSECURE_TRANSPORT_SID = "MediaServiceDenyInsecureTransport"

MULTIPART_DAYS = 2
ABANDONED_DAYS = 7
NONCURRENT_DAYS = 7
INFREQUENT_DAYS = 30
ARCHIVE_DAYS = 180

# What presigned requests sign, and what pages set on those that complete a multipart upload.
_UPLOAD_HEADERS = ["content-type", "if-none-match", "x-amz-checksum-sha256", "x-amz-tagging"]

_EARLIER_UPLOAD_CORS: Mapping[str, Any] = {
    "AllowedMethods": ["PUT", "GET", "HEAD"],
    "AllowedHeaders": ["content-type", "if-none-match", "x-amz-checksum-sha256"],
    "ExposeHeaders": ["ETag", "Location"],
    "MaxAgeSeconds": 3600,
}


@dataclass(frozen=True, slots=True)
class BucketDeclaration:
    """One bucket. `cors`: None where no web origin may reach it. `kms_key_id`: empty for S3's own keys (SSE-S3).

    `earlier_cors`: the rule without an id that release 0.1.0 wrote; where it names no origins, those of any.
    `deny_insecure_transport`: only where the endpoint is https; a server on http would lock itself out.
    """

    name: str
    region: str
    cors: CORSRuleTypeDef | None
    lifecycle: tuple[LifecycleRuleOutputTypeDef, ...]
    earlier_cors: Mapping[str, Any] = field(default_factory=dict)
    kms_key_id: str = ""
    deny_insecure_transport: bool = False


def declare_buckets(settings: StorageSettings) -> tuple[BucketDeclaration, BucketDeclaration]:
    """The upload bucket and the media bucket."""
    is_secure = settings.endpoint is None or settings.endpoint.startswith("https:")
    origins = list(settings.allowed_origins)
    uploads = BucketDeclaration(
        name=settings.upload_bucket,
        region=settings.region,
        cors=_upload_cors(origins) if origins else None,
        lifecycle=(_abort_multipart(), _forget_old_versions(), _expire_abandoned(), _tier_originals()),
        earlier_cors=_EARLIER_UPLOAD_CORS,
        kms_key_id=settings.kms_key_id,
        deny_insecure_transport=is_secure,
    )
    media = BucketDeclaration(
        name=settings.media_bucket,
        region=settings.region,
        cors=_media_cors(origins) if origins else None,
        # Renditions stay where they are: tiers charge at least 128 KB for an object, and most are smaller.
        lifecycle=(_abort_multipart(), _forget_old_versions()),
        # Anybody could have written the same for other origins, so it is only taken for ours with the very same ones.
        earlier_cors={"AllowedOrigins": origins, "AllowedMethods": ["GET", "HEAD"], "MaxAgeSeconds": 3600},
        kms_key_id=settings.kms_key_id,
        deny_insecure_transport=is_secure,
    )
    return uploads, media


def _upload_cors(origins: list[str]) -> CORSRuleTypeDef:
    """POST, GET and DELETE are the multipart calls that upload clients make at storage themselves."""
    return {
        "ID": CORS_ID,
        "AllowedOrigins": origins,
        "AllowedMethods": ["PUT", "POST", "GET", "HEAD", "DELETE"],
        "AllowedHeaders": _UPLOAD_HEADERS,
        "ExposeHeaders": ["ETag", "Location"],
        "MaxAgeSeconds": 3600,
    }


def _media_cors(origins: list[str]) -> CORSRuleTypeDef:
    return {"ID": CORS_ID, "AllowedOrigins": origins, "AllowedMethods": ["GET", "HEAD"], "MaxAgeSeconds": 3600}


def _abort_multipart() -> LifecycleRuleOutputTypeDef:
    return {
        "ID": f"{LIFECYCLE_PREFIX}abort-multipart",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": MULTIPART_DAYS},
    }


def _forget_old_versions() -> LifecycleRuleOutputTypeDef:
    return {
        "ID": f"{LIFECYCLE_PREFIX}old-versions",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "NoncurrentVersionExpiration": {"NoncurrentDays": NONCURRENT_DAYS},
        "Expiration": {"ExpiredObjectDeleteMarker": True},
    }


def _expire_abandoned() -> LifecycleRuleOutputTypeDef:
    """Uploads are tagged so when they are presigned, and otherwise once the service needs them."""
    return {
        "ID": f"{LIFECYCLE_PREFIX}expire-abandoned",
        "Status": "Enabled",
        "Filter": {"Tag": {"Key": "state", "Value": "unconfirmed"}},
        "Expiration": {"Days": ABANDONED_DAYS},
    }


def _tier_originals() -> LifecycleRuleOutputTypeDef:
    return {
        "ID": f"{LIFECYCLE_PREFIX}tier-originals",
        "Status": "Enabled",
        "Filter": {"Tag": {"Key": "state", "Value": "kept"}},
        "Transitions": [
            {"Days": INFREQUENT_DAYS, "StorageClass": "STANDARD_IA"},
            {"Days": ARCHIVE_DAYS, "StorageClass": "GLACIER_IR"},
        ],
    }
