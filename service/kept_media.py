"""What keeps the bytes of a media that is to be deleted: a hold, or that it is not as old as its purpose demands."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from service.documents import MediaDocument
from service.lifecycle import MediaStatus
from service.models import DeletionStage, MediaPurpose
from service.stores import Stores
from service.stores.deletions import DeletionDocument
from service.stores.holds import subject_of

# What this module reads of a media.
KEPT_FIELDS: Final = ("owner_id", "purpose", "created_at")

# A hold may last for years: whoever waits for one is told when it is lifted, and looks by itself only now and then.
LOOK_AGAIN: Final = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Kept:
    """Why bytes stay: `until` a moment, or for as long as there is the hold `hold_id`."""

    until: datetime | None
    hold_id: UUID | None


async def what_keeps(media: MediaDocument, *, hold_id: UUID | None, stores: Stores) -> Kept | None:
    """Why the bytes of `media` (with `KEPT_FIELDS`) stay, or None. `hold_id`: a hold on it, if there is one."""
    if hold_id is not None:
        return Kept(None, hold_id)
    period = stores.blocked_deletions.keep_for.get(MediaPurpose(media["purpose"]))
    if period is None:
        return None
    until = media["created_at"] + period
    return Kept(until, None) if until > await stores.media.server_time() else None


@asynccontextmanager
async def removal_of(media_id: UUID, *, stores: Stores) -> AsyncIterator[Kept | None]:
    """For as long as something is removed that storage holds of a media. Gives why it must not be, or None.

    A minimum retention is for what was a media's until it was DELETED, a hold for whatever there is.
    """
    media = await stores.media.get(media_id, fields=KEPT_FIELDS)
    if media is None:
        yield None
        return
    async with stores.holds.removal(media_id, media["owner_id"]) as hold_id:
        if media["status"] == MediaStatus.DELETED:
            yield await what_keeps(media, hold_id=hold_id, stores=stores)
        else:
            yield None if hold_id is None else Kept(None, hold_id)


async def hold_back(deletion: DeletionDocument, media: MediaDocument, *, stores: Stores) -> DeletionDocument:
    """Have the `deletion` of `media` (with `KEPT_FIELDS`), which was just asked for, say so if it has to wait.

    What decides is the same question, asked again by whoever is about to remove something. While somebody removes who
    began before there was a hold, the deletion does not wait: it may be that nothing is left to keep.
    """
    if deletion["stage"] != DeletionStage.HIDDEN:
        return deletion
    hold_id = await stores.holds.on(media["_id"], media["owner_id"])
    kept = await what_keeps(media, hold_id=hold_id, stores=stores)
    # In this order: what begins after the hold was seen finds it, and says itself that the deletion waits.
    if kept is None or (hold_id is not None and await stores.holds.removals_of(subject_of(media_id=media["_id"]))):
        return deletion
    await block(media["_id"], kept, stores=stores)
    return (await stores.deletions.get_many([media["_id"]])).get(media["_id"], deletion)


async def block(media_id: UUID, kept: Kept, *, stores: Stores) -> None:
    """Note that a deletion waits, and for what."""
    await stores.blocked_deletions.block(media_id, until=kept.until, hold_id=kept.hold_id, pause=LOOK_AGAIN)
