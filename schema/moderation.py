"""Moderating media: input and payload."""

from __future__ import annotations

import strawberry

from schema.media import Media
from schema.payloads import UserError
from service.models import ModerationDecision


@strawberry.input
class ModerateMediaInput:
    idempotency_key: str
    id: strawberry.ID
    decision: ModerationDecision
    reason: str = strawberry.field(description="1 to 1000 characters, for other moderators.")


@strawberry.type
class ModerateMediaPayload:
    media: Media | None = None
    user_errors: list[UserError] = strawberry.field(default_factory=list)
