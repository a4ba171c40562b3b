"""What a subscription to a media's status sends."""

from __future__ import annotations

import strawberry

from schema.media import Media, media_of
from service.lifecycle import MediaStatus
from service.status_events import PROGRESS, StatusEvent


@strawberry.type(description="Sent first as a snapshot, then on every change; resumes after a reconnect without a gap.")
class MediaStatusEvent:
    media: Media
    status: MediaStatus
    sequence: int
    cursor: str = strawberry.field(description="Pass back as `after` to resume.")
    progress: float | None = strawberry.field(description="0 to 1 while uploading and processing.")


def status_event_of(event: StatusEvent) -> MediaStatusEvent:
    return MediaStatusEvent(
        media=media_of(event.media),
        status=event.status,
        sequence=event.sequence,
        cursor=event.cursor,
        progress=PROGRESS.get(event.status),
    )
