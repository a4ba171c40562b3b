"""What clients are told to do on their device and network, so that it can be tuned without a release of theirs."""

from __future__ import annotations

import strawberry

from schema.scalars import ByteSize
from service import upload_policy
from service.models import MetadataField
from service.policies import MetadataPolicy


@strawberry.type(description="What becomes of one field of a file's own metadata.")
class MetadataHandling:
    field: MetadataField
    policy: MetadataPolicy


@strawberry.type(description="How to upload for one purpose on one network. Advice, but for types and sizes.")
class UploadPolicy:
    content_types: list[str] = strawberry.field(description="What the purpose takes; anything else is refused.")
    max_bytes: ByteSize = strawberry.field(description="Largest picture the purpose takes.")
    max_clip_bytes: ByteSize = strawberry.field(description="Largest clip the purpose takes; 0 where it takes none.")
    max_clip_duration_ms: int = strawberry.field(description="Longest clip the purpose takes; 0 where it takes none.")
    max_dimension: int = strawberry.field(
        description="Longest side, in pixels, of photos that the client shrinks before it sends them."
    )
    jpeg_quality: int = strawberry.field(description="JPEG quality, of 100, of photos that the client shrinks.")
    multipart_threshold: ByteSize = strawberry.field(description="Larger files are uploaded in parts.")
    part_size: ByteSize = strawberry.field(
        description="Size of parts that suits the network. A session's own partSize is the one to keep to."
    )
    metadata: list[MetadataHandling] = strawberry.field(
        description="What becomes of each field of a file's own metadata. Renditions hold none of it in any case."
    )
    max_concurrent_uploads: int = strawberry.field(description="Files to send at once.")
    max_concurrent_parts: int = strawberry.field(description="Parts of one file to send at once.")
    retry_delays_ms: list[int] = strawberry.field(
        description="Pauses before the first, second and each further repeat of a request that failed."
    )


def upload_policy_of(policy: upload_policy.UploadPolicy) -> UploadPolicy:
    return UploadPolicy(
        content_types=list(policy.content_types),
        max_bytes=ByteSize(policy.max_bytes),
        max_clip_bytes=ByteSize(policy.max_clip_bytes),
        max_clip_duration_ms=policy.max_clip_s * 1_000,
        max_dimension=policy.encoding.max_dimension,
        jpeg_quality=policy.encoding.jpeg_quality,
        multipart_threshold=ByteSize(policy.multipart_threshold),
        metadata=[MetadataHandling(field=field, policy=what) for field, what in policy.metadata.items()],
        part_size=ByteSize(policy.pace.part_size),
        max_concurrent_uploads=policy.pace.max_concurrent_uploads,
        max_concurrent_parts=policy.pace.max_concurrent_parts,
        retry_delays_ms=list(policy.pace.retry_delays_ms),
    )
