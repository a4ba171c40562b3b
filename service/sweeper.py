"""The sweeper: finishes what events and clients missed, and ends what clients abandoned."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from service.errors import MediaServiceError
from service.finalisation import end_abandoned, finalise
from service.lifecycle import AWAITING_BYTES, MediaStatus
from service.object_store import ObjectStore
from service.stores import Stores

# Younger ones are most likely about to be finalised by their own client or event.
GRACE = timedelta(minutes=1)


async def sweep(*, stores: Stores, object_store: ObjectStore, grace: timedelta = GRACE) -> int:
    """Look once at every media that has stood still for `grace` without reason; the number looked at.

    Safe to run anywhere, at any time, and twice at once: all it does is what clients and events would have done.
    """
    seen = 0
    before = datetime.now(UTC) - grace
    async for media_id in stores.media.list_stalled({*AWAITING_BYTES, MediaStatus.UPLOADED}, before=before):
        upload = await stores.uploads.get(media_id)
        if upload is None:
            continue
        seen += 1
        step = end_abandoned if upload["expires_at"] < datetime.now(UTC) else finalise
        try:
            await step(upload, stores=stores, object_store=object_store)
        except MediaServiceError:
            # Still incomplete, or storage is away: the next sweep looks again.
            continue
    return seen
