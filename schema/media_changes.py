"""Changing and retrying media: inputs, where what is left out differs from null, and payloads."""

from __future__ import annotations

from datetime import datetime

import strawberry

from schema.media import Media
from schema.payloads import UserError
from schema.values import BoundingBoxInput, GeoPointInput, SubjectInput
from service.models import Visibility


@strawberry.input(description="What to change. A field that is left out stays as it is, null clears it.")
class UpdateMediaInput:
    idempotency_key: str
    id: strawberry.ID
    if_unchanged_since: datetime | None = strawberry.field(
        default=None,
        description="Refuse it (VERSION_CONFLICT) if the media, its status included, changed since this updatedAt.",
    )
    title: str | None = strawberry.UNSET
    alt_text: str | None = strawberry.UNSET
    tags: list[str] | None = strawberry.UNSET
    album_ids: list[strawberry.ID] | None = strawberry.UNSET
    focus: BoundingBoxInput | None = strawberry.field(
        default=strawberry.UNSET,
        description="Thumbnails are cropped anew in the background; until then the old ones stay.",
    )
    location: GeoPointInput | None = strawberry.UNSET
    visibility: Visibility | None = strawberry.field(
        default=strawberry.UNSET,
        description="As the purpose allows; it cannot be null. Holds at once; renditions move to new keys soon after.",
    )
    subject: SubjectInput | None = strawberry.UNSET
    position: int | None = strawberry.UNSET


@strawberry.type
class UpdateMediaPayload:
    media: Media | None = None
    user_errors: list[UserError] = strawberry.field(default_factory=list)


@strawberry.input
class RetryProcessingInput:
    idempotency_key: str
    id: strawberry.ID


@strawberry.type
class RetryProcessingPayload:
    media: Media | None = None
    user_errors: list[UserError] = strawberry.field(default_factory=list)
