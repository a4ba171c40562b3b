"""Media that are older than their purpose keeps them are deleted by themselves, through the same deletion as any."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from service.audit import SERVICE_ACTOR
from service.deletion import DELETION_FIELDS, hide
from service.documents import MediaDocument
from service.models import MediaPurpose
from service.retention_periods import RetentionPeriods
from service.stores import Stores
from service.stores.holds import HoldDocument

log = structlog.get_logger(__name__)

# What clocks of machines that are looked after do not differ by.
MAX_CLOCK_DIFFERENCE: Final = timedelta(hours=1)
PREVIEW_LIMIT: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Forecast:
    """What becomes of the media of one purpose. `due`, and `within` so many days: up to PREVIEW_LIMIT, held ones too.

    `first_at`: when the oldest of them goes, or has been due; None if there is none.
    """

    purpose: MediaPurpose
    period: timedelta
    due: int
    within: Mapping[int, int]
    first_at: datetime | None


async def expire_due(periods: RetentionPeriods, *, batch: int, stores: Stores, media_bucket: str) -> int:
    """Delete the oldest media that are due, at most `batch` of them; how many. What is held stays as it is.

    By the database's clock; while that differs from this machine's by more than an hour one of the two has jumped, and
    nothing is deleted. May be killed anywhere: what was not deleted is due in the next round.
    """
    if not periods.delete_after or batch == 0:
        return 0
    now = await stores.media.server_time()
    if abs(now - datetime.now(UTC)) > MAX_CLOCK_DIFFERENCE:
        log.error("nothing is deleted for its age: the clocks of this machine and the database differ", database=now)
        return 0
    holds = await stores.holds.find()
    expired = 0
    for purpose, period in periods.delete_after.items():
        due = await _due(purpose, now - period, holds, batch - expired, stores)
        for media in due:
            expired += await _expire(media, period, stores, media_bucket)
        if expired >= batch:
            break
    return expired


async def _due(
    purpose: MediaPurpose, before: datetime, holds: list[HoldDocument], limit: int, stores: Stores
) -> list[MediaDocument]:
    on_owners = {hold["owner_id"] for hold in holds if hold["subject"].startswith("owner:")}
    on_media = {UUID(hold["subject"].partition(":")[2]) for hold in holds if hold["subject"].startswith("media:")}
    return await stores.retention.due(
        purpose,
        created_before=before,
        held_media=on_media,
        held_owners=on_owners,
        limit=limit,
        fields=DELETION_FIELDS,
    )


async def _expire(media: MediaDocument, period: timedelta, stores: Stores, media_bucket: str) -> bool:
    # Hiding cannot be taken back: a hold that has just been placed is to find it undone, or to be told of it.
    async with stores.holds.removal(media["_id"], media["owner_id"]) as hold_id:
        if hold_id is not None or not await stores.retention.note_end(media["_id"], age_s=period.total_seconds()):
            return False
        await hide(media, SERVICE_ACTOR, stores, media_bucket)
    await stores.audit.settle("media", [media["_id"]])
    await stores.audit.settle("deletions", [media["_id"]])
    return True


async def forecast(periods: RetentionPeriods, *, days: tuple[int, ...] = (7, 30), stores: Stores) -> list[Forecast]:
    """How many media go, and when, if nothing changes; of each purpose that has an end."""
    now = await stores.media.server_time()
    found = []
    for purpose, period in periods.delete_after.items():
        oldest = await stores.retention.oldest(purpose)

        async def older(ahead: timedelta, purpose: MediaPurpose = purpose, period: timedelta = period) -> int:
            return await stores.retention.count(purpose, created_before=now + ahead - period, limit=PREVIEW_LIMIT)

        within = {each: await older(timedelta(days=each)) for each in days}
        first_at = None if oldest is None else oldest + period
        found.append(Forecast(purpose, period, await older(timedelta()), within, first_at))
    return found
