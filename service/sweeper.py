"""The sweeper: finishes what events and clients missed, and ends what clients abandoned."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from service.documents import MediaDocument, UploadDocument
from service.errors import MediaServiceError, NotFound
from service.finalisation import clear_storage, end_abandoned, end_unopened, finalise
from service.lifecycle import AWAITING_BYTES, MediaStatus
from service.models import MediaPurpose
from service.object_store import ObjectStore
from service.original_content import give_up_unless_kept
from service.policies import LATE_BYTES, POLICIES
from service.processing_jobs import RENDERING_FIELDS, enqueue_rendering, enqueue_retirement, lacks_rendering
from service.quarantine import enqueue_removal, enqueue_search, keep_original
from service.stores import Stores

log = structlog.get_logger(__name__)

# Younger ones are most likely about to be finalised by their own client or event.
GRACE = timedelta(minutes=1)
# A session is looked at again when it is twice as old, but at least this often.
LONGEST_PAUSE = timedelta(minutes=15)
AT_ONCE = 8

# READY ones wait while they lack renditions, and for replaced ones to be removed; QUARANTINED ones for all of them, and
# for as long as an address may open what comes back.
_STALLED = frozenset(
    {*AWAITING_BYTES, MediaStatus.UPLOADED, MediaStatus.READY, MediaStatus.QUARANTINED, MediaStatus.EXPIRED}
)

_FIELDS = (
    *RENDERING_FIELDS, "processing.rendered_revision", "retired_renditions", "purpose", "created_at", "original",
    "content", "renditions.key", "status_sequence", "status_history",
)  # fmt: skip


async def sweep(*, stores: Stores, object_store: ObjectStore, grace: timedelta = GRACE) -> int:
    """Look once at every media that has stood still for `grace` without reason; the number looked at.

    Safe to run anywhere, at any time, and twice at once: all it does is what clients and events would have done.
    """
    seen = 0
    # Server time: a worker whose clock is ahead must not end sessions that have just begun.
    now = await stores.media.server_time()
    slots = asyncio.Semaphore(AT_ONCE)

    async def look(media_id: UUID) -> None:
        try:
            await _attend(media_id, now, grace, stores, object_store)
        except MediaServiceError:
            # Storage is away, or a deletion was faster: the next sweep looks again.
            pass
        except Exception:
            log.exception("a stalled media could not be looked at", media_id=str(media_id))
        finally:
            slots.release()

    async with asyncio.TaskGroup() as group:
        async for media_id in stores.media.list_stalled(_STALLED, before=now - grace):
            seen += 1
            # Taken before the task exists, so that no more of them wait than work.
            await slots.acquire()
            group.create_task(look(media_id))
    return seen


async def _attend(media_id: UUID, now: datetime, grace: timedelta, stores: Stores, object_store: ObjectStore) -> None:
    upload = await stores.uploads.get(media_id)
    media = await stores.media.get(media_id, fields=_FIELDS)
    if media is not None and await stores.erasures.is_begun(media["owner_id"]):
        # Written by a request that had been let in before, and took longer than is waited for.
        await stores.erasures.reopen(media["owner_id"])
    if media is not None and media["status"] == MediaStatus.READY:
        await stores.media.look_again(media_id, MediaStatus.READY, at=now + LONGEST_PAUSE - grace)
        await _enqueue_lacking(media, now, stores)
        return
    if media is None:
        return
    if media["status"] == MediaStatus.QUARANTINED:
        await _attend_quarantined(media, now, grace, stores)
        return
    status = MediaStatus(media["status"])
    if upload is None:
        await _end_unopened(media, status, now, stores, object_store)
    elif status is MediaStatus.EXPIRED:
        await _clear_once_more(upload, now, stores, object_store)
    elif status in AWAITING_BYTES and _is_over(upload, now):
        await end_abandoned(upload, stores=stores, object_store=object_store)
    else:
        await _finish(upload, media, now, grace, stores, object_store)


async def _enqueue_lacking(media: MediaDocument, now: datetime, stores: Stores) -> None:
    if lacks_rendering(media):
        await enqueue_rendering(media, stores.jobs)
    if any(each["due_at"] <= now for each in media.get("retired_renditions", [])):
        await enqueue_retirement(media, stores.jobs)


async def _attend_quarantined(media: MediaDocument, now: datetime, grace: timedelta, stores: Stores) -> None:
    """See that what was shown of it goes; then whether any of it was written again, ever more rarely.

    A worker that slept through its removal may write it back and die, and the addresses that were given out open that:
    the last look is when these have run out. What had never been shown has no addresses.
    """
    if media.get("renditions"):
        await stores.media.look_again(media["_id"], MediaStatus.QUARANTINED, at=now + LONGEST_PAUSE - grace)
        await enqueue_removal(media, media["status_sequence"], stores)
        return
    history, life = media["status_history"], POLICIES[MediaPurpose(media["purpose"])].longest_url_life
    if MediaStatus.READY not in {each["status"] for each in history}:
        await stores.media.look_again(media["_id"], MediaStatus.QUARANTINED, at=None)
        return
    age = now - history[-1]["at"]
    # Next when it is twice as old, and at the end of its addresses.
    pause = max(min(age, life - age), grace)
    at = None if age > life else now + pause - grace
    await stores.media.look_again(media["_id"], MediaStatus.QUARANTINED, at=at)
    await enqueue_search(media, 1 + age // timedelta(minutes=1), stores)


def _is_over(upload: UploadDocument, now: datetime) -> bool:
    return upload["expires_at"] + LATE_BYTES < now


async def _end_unopened(
    media: MediaDocument, status: MediaStatus, now: datetime, stores: Stores, object_store: ObjectStore
) -> None:
    """Its request died before the session was written. A repeat may still write it, for as long as it would last."""
    ends_at = media["created_at"] + timedelta(seconds=POLICIES[MediaPurpose(media["purpose"])].upload_expires_s)
    if status is MediaStatus.EXPIRED:
        await give_up_unless_kept(media["_id"], stores=stores, object_store=object_store)
        await stores.media.look_again(media["_id"], status, at=None)
    elif ends_at + LATE_BYTES < now:
        await end_unopened(media["_id"], stores=stores, object_store=object_store)
    else:
        await stores.media.look_again(media["_id"], status, at=ends_at + LATE_BYTES)


async def _clear_once_more(upload: UploadDocument, now: datetime, stores: Stores, object_store: ObjectStore) -> None:
    """What was presigned before the session was ended early may have been used since."""
    await give_up_unless_kept(upload["_id"], stores=stores, object_store=object_store)
    await clear_storage(upload, stores=stores, object_store=object_store)
    at = None if _is_over(upload, now) else upload["expires_at"] + LATE_BYTES
    await stores.media.look_again(upload["_id"], MediaStatus.EXPIRED, at=at)


async def _finish(
    upload: UploadDocument,
    media: MediaDocument,
    now: datetime,
    grace: timedelta,
    stores: Stores,
    object_store: ObjectStore,
) -> None:
    # Before it is looked at: one that cannot be looked at must not be asked for in every sweep.
    status = MediaStatus(media["status"])
    pause = min(max(now - upload["created_at"], grace), LONGEST_PAUSE)
    await stores.media.look_again(upload["_id"], status, at=now + pause - grace)
    if status is MediaStatus.UPLOADED:
        # What has arrived must not expire as abandoned, however long no worker comes; that it is gone, a worker tells.
        with suppress(NotFound):
            await keep_original(media, stores=stores, object_store=object_store)
    await finalise(upload, stores=stores, object_store=object_store)
