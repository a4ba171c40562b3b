"""What a subscription to a media's status sends."""

from __future__ import annotations

import strawberry

from schema.media import Media
from service.lifecycle import MediaStatus


@strawberry.type(description="Sent first as a snapshot, then on every change; resumes after a reconnect without a gap.")
class MediaStatusEvent:
    media: Media
    status: MediaStatus
    sequence: int
    cursor: str = strawberry.field(description="Pass back as `after` to resume.")
    progress: float | None = strawberry.field(description="0 to 1 while uploading and processing.")
