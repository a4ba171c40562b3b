"""What every comparison works with, and how it tells what is at rest from what is in motion."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from service.lifecycle import MediaStatus
from service.models import MediaPurpose
from service.object_store import ObjectStore
from service.policies import POLICIES
from service.reconciliation.findings import Outcome
from service.stores import Stores
from service.stores.scans import ScanStore

# What `is_over` needs of a media.
REST_FIELDS = ("status", "purpose", "updated_at")


@dataclass(frozen=True, slots=True)
class Context:
    """`now`: by the database's clock. `apply`: repair, too.

    `cutoff`: objects written and rows changed since then are in motion and left alone.
    """

    stores: Stores
    scans: ScanStore
    object_store: ObjectStore
    now: datetime
    cutoff: datetime
    apply: bool

    def is_at_rest(self, media: Mapping[str, Any]) -> bool:
        """Whether nobody has changed this media since the cutoff."""
        return bool(media["updated_at"] < self.cutoff)

    def is_over(self, media: Mapping[str, Any]) -> bool:
        """Whether this media has ended for good: EXPIRED, or DELETED with its deletion window behind it."""
        status = MediaStatus(media["status"])
        if status is MediaStatus.EXPIRED:
            return self.is_at_rest(media)
        window = timedelta(seconds=POLICIES[MediaPurpose(media["purpose"])].deletion_window_s)
        return status is MediaStatus.DELETED and bool(media["updated_at"] + window < self.cutoff)

    def is_older(self, media_id: UUID) -> bool:
        """Whether an id was given before the cutoff: an UUIDv7 begins with its milliseconds since 1970."""
        return media_id.int >> 80 < self.cutoff.timestamp() * 1000

    async def settle(self, repair: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """What becomes of a finding: only told in a dry run."""
        return await repair() if self.apply else Outcome.FOUND
