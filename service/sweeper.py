"""The sweeper: finishes what events and clients missed, and ends what clients abandoned."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import structlog

from service.errors import MediaServiceError
from service.finalisation import end_abandoned, finalise
from service.lifecycle import AWAITING_BYTES, MediaStatus
from service.object_store import ObjectStore
from service.policies import LATE_BYTES
from service.stores import Stores

log = structlog.get_logger(__name__)

# Younger ones are most likely about to be finalised by their own client or event.
GRACE = timedelta(minutes=1)


async def sweep(*, stores: Stores, object_store: ObjectStore, grace: timedelta = GRACE) -> int:
    """Look once at every media that has stood still for `grace` without reason; the number looked at.

    Safe to run anywhere, at any time, and twice at once: all it does is what clients and events would have done.
    """
    seen = 0
    # Server time: a worker whose clock is ahead must not end sessions that have just begun.
    now = await stores.media.server_time()
    async for media_id in stores.media.list_stalled({*AWAITING_BYTES, MediaStatus.UPLOADED}, before=now - grace):
        seen += 1
        try:
            await _attend(media_id, now, stores, object_store)
        except MediaServiceError:
            # Still incomplete, or storage is away: the next sweep looks again.
            continue
        except Exception:
            log.exception("a stalled media could not be looked at", media_id=str(media_id))
    return seen


async def _attend(media_id: UUID, now: datetime, stores: Stores, object_store: ObjectStore) -> None:
    upload = await stores.uploads.get(media_id)
    if upload is not None:
        step = end_abandoned if upload["expires_at"] + LATE_BYTES < now else finalise
        await step(upload, stores=stores, object_store=object_store)
