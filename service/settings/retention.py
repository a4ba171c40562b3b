"""How long media are kept, where a deployment differs from its policies."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from service.models import MediaPurpose
from service.settings.group import Group

Days = Annotated[float, Field(gt=0, le=36_500)]


class RetentionSettings(Group):
    """JSON objects of days by purpose, such as {"ONBOARDING": 30}; purposes that are not named go by their policy."""

    delete_after_days: dict[MediaPurpose, Days] = Field(
        default={}, description="Media of these purposes are deleted by themselves when they are so old"
    )
    keep_at_least_days: dict[MediaPurpose, Days] = Field(
        default={}, description="Deleted earlier, media are hidden at once but their bytes stay for so long"
    )
    batch: int = Field(default=500, ge=0, le=10_000, description="Media that one sweep deletes for their age; 0: none")
