"""What `mediaList` can be narrowed by."""

from __future__ import annotations

from datetime import datetime

import strawberry

from schema.values import SubjectInput
from service.lifecycle import MediaStatus
from service.models import MediaKind, MediaPurpose


@strawberry.input(
    description="A media must meet all that is given. Of everybody's media, one of `label`, `kind` and `tags` (one "
    "tag) can be asked for, besides `purpose`, `status` and time; within an `ownerId`, `captureId`, `subject` or "
    "`albumId` everything may be combined. What no index serves is refused as INVALID_INPUT."
)
class MediaFilter:
    owner_id: strawberry.ID | None = None
    purpose: MediaPurpose | None = None
    kind: MediaKind | None = None
    status: list[MediaStatus] | None = None
    tags: list[str] | None = strawberry.field(default=None, description="Media that carry all of these.")
    label: str | None = strawberry.field(default=None, description="Media in which this was found.")
    min_confidence: float | None = strawberry.field(
        default=None, description="With `label`: found so surely, from 0 to 1, by one annotation at least."
    )
    subject: SubjectInput | None = None
    capture_id: strawberry.ID | None = None
    album_id: strawberry.ID | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
