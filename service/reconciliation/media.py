"""The database against storage: media whose objects are missing, and what was begun and never finished."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

from service.blocked_deletions import remove_unless_kept
from service.documents import MediaDocument, UploadDocument
from service.errors import FailureCode, MediaServiceError, TemporarilyUnavailable
from service.finalisation import end_abandoned, finalise
from service.lifecycle import AWAITING_BYTES, MediaStatus
from service.models import DeletionStage, Job, JobKind, Lane
from service.policies import LATE_BYTES
from service.processing_jobs import RENDERING_FIELDS, enqueue_rendering
from service.reconciliation.context import REST_FIELDS, Context
from service.reconciliation.findings import Finding, FindingKind, Outcome

MEDIA_FIELDS = (
    *REST_FIELDS, "original", "content.bytes", "renditions.key", "renditions.bytes", "failure.code", *RENDERING_FIELDS
)  # fmt: skip
STATUSES = frozenset(MediaStatus) - {MediaStatus.EXPIRED}


async def examine_media(page: Sequence[MediaDocument], context: Context) -> AsyncIterator[Finding]:
    """What is missing or unfinished of these media; those changed lately are left alone."""
    resting = [media for media in page if context.is_at_rest(media)]
    # Storage is asked about the whole page at once, and bounds by itself how many answers are awaited.
    for findings in await asyncio.gather(*(_examine(media, context) for media in resting)):
        for finding in findings:
            yield finding


async def _examine(media: MediaDocument, context: Context) -> list[Finding]:
    match MediaStatus(media["status"]):
        case MediaStatus.READY:
            return await _examine_ready(media, context)
        case MediaStatus.DELETED:
            return await _examine_deleted(media, context)
        case status if status in AWAITING_BYTES:
            return await _examine_waiting(media, context)
        case _:
            lost = await _lost_original(media, context)
            return [] if lost is None else [lost]


async def _examine_ready(media: MediaDocument, context: Context) -> list[Finding]:
    media_bucket, renditions = context.object_store.media_bucket, media.get("renditions", [])
    lost, lacking = await asyncio.gather(
        _lost_original(media, context),
        asyncio.gather(*(_difference(media_bucket, each["key"], each["bytes"], context) for each in renditions)),
    )
    findings = [] if lost is None else [lost]
    differing = [(each["key"], why) for each, why in zip(renditions, lacking, strict=True) if why is not None]
    if differing:
        outcome = Outcome.KEPT if lost else await context.settle(partial(_make_again, media, context))
        findings += [
            Finding(FindingKind.MISSING_RENDITION, f"{media_bucket}/{key}", why, outcome, str(media["_id"]))
            for key, why in differing
        ]
    return findings


async def _lost_original(media: MediaDocument, context: Context) -> Finding | None:
    """Lost for good: whether to tell its owner, or to fetch it from a backup, is for people to decide."""
    if (media.get("failure") or {}).get("code") == FailureCode.CHECKSUM_MISMATCH:
        # Other bytes than its owner meant, and refused: nobody keeps them.
        return None
    bucket, key = media["original"]["bucket"], media["original"]["key"]
    why = await _difference(bucket, key, media["content"]["bytes"], context)
    if why is None:
        return None
    # In the meantime it may have been deleted, or pointed to the same content elsewhere.
    later = await context.stores.media.get(media["_id"], fields=("updated_at", "original"))
    if later is None or any(later.get(name) != media.get(name) for name in ("updated_at", "original")):
        return None
    return Finding(FindingKind.MISSING_ORIGINAL, f"{bucket}/{key}", why, Outcome.KEPT, str(media["_id"]))


async def _difference(bucket: str, key: str, byte_size: int, context: Context) -> str | None:
    stored = await context.object_store.head(bucket, key)
    if stored is None:
        return "storage does not hold it"
    return None if stored.bytes == byte_size else f"storage holds {stored.bytes} bytes of it, not {byte_size}"


async def _make_again(media: MediaDocument, context: Context) -> Outcome:
    await enqueue_rendering(media, context.stores.jobs)
    return Outcome.ENQUEUED


async def _examine_waiting(media: MediaDocument, context: Context) -> list[Finding]:
    upload = await context.stores.uploads.get(media["_id"])
    if upload is None or upload["created_at"] >= context.cutoff:
        return []
    what, media_id = f"{upload['bucket']}/{upload['key']}", str(media["_id"])
    if upload["expires_at"] + LATE_BYTES < datetime.now(UTC):
        why, finish = "its session is over, and nobody ended it", end_abandoned
    elif await _difference(upload["bucket"], upload["key"], upload["bytes"], context) is None:
        why, finish = "storage holds all of it, and nobody said so", finalise
    else:
        return []

    async def repair() -> Outcome:
        try:
            await finish(upload, stores=context.stores, object_store=context.object_store)
        except TemporarilyUnavailable:
            raise
        except MediaServiceError:
            # It has ended otherwise in the meantime, and says so itself.
            return Outcome.GONE
        return Outcome.REPAIRED

    return [Finding(FindingKind.UNFINISHED_UPLOAD, what, why, await context.settle(repair), media_id)]


async def _examine_deleted(media: MediaDocument, context: Context) -> list[Finding]:
    if not context.is_over(media):
        return []
    deletion = (await context.stores.deletions.get_many([media["_id"]])).get(media["_id"])
    if deletion is None or deletion["stage"] != DeletionStage.HIDDEN:
        return []
    upload = await context.stores.uploads.get(media["_id"])
    if _may_still_be_written(upload):
        return []

    async def repair() -> Outcome:
        await remove_unless_kept(_deletion_job(media["_id"]), stores=context.stores, object_store=context.object_store)
        return Outcome.REPAIRED

    why = "its deletion has not been carried out"
    outcome = await context.settle(repair)
    return [Finding(FindingKind.UNFINISHED_DELETION, f"media/{media['_id']}", why, outcome, str(media["_id"]))]


def _may_still_be_written(upload: UploadDocument | None) -> bool:
    return upload is not None and upload["expires_at"] + LATE_BYTES > datetime.now(UTC)


def _deletion_job(media_id: UUID) -> Job:
    """The work of a deletion job that was lost; nobody holds a lease on it."""
    return Job(
        id=f"{media_id}:reconcile",
        kind=JobKind.DELETE,
        media_id=media_id,
        lane=Lane.BACKFILL,
        attempt=1,
        fence=0,
        enqueued_at=datetime.now(UTC),
    )
