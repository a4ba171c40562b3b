"""Where the audit chains are anchored."""

from __future__ import annotations

from pydantic import Field

from service.settings.group import Group


class AuditSettings(Group):
    anchor_bucket: str = Field(
        default="",
        description="A bucket with Object Lock for the anchors of the audit chains; empty: the media bucket",
    )
    anchor_days: int = Field(
        default=3_650, ge=1, le=36_500, description="For how long nobody can remove an anchor from that bucket"
    )
