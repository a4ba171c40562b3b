"""What `mediaList` can be narrowed by."""

from __future__ import annotations

from datetime import datetime

import strawberry

from schema.values import SubjectInput
from service.lifecycle import MediaStatus
from service.models import MediaKind, MediaPurpose


@strawberry.input
class MediaFilter:
    owner_id: strawberry.ID | None = None
    purpose: MediaPurpose | None = None
    kind: MediaKind | None = None
    status: list[MediaStatus] | None = None
    tags: list[str] | None = strawberry.field(default=None, description="Media that carry all of these.")
    subject: SubjectInput | None = None
    capture_id: strawberry.ID | None = None
    album_id: strawberry.ID | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
