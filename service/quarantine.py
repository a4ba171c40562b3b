"""Known malware is served nowhere: what is found in one media of an owner locks away all that have the same bytes."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import structlog

from service.documents import MediaDocument
from service.errors import MalwareFound, NotFound, ProcessingFailed
from service.lifecycle import MediaStatus
from service.models import JobKind, Lane
from service.object_store import ObjectStore
from service.stores import Stores

# What `quarantine` needs of a media.
QUARANTINE_FIELDS = ("owner_id", "original", "content.sha256")
# Of the job that removes every rendition of a media which was READY.
QUARANTINE_TOPIC = "quarantine"
# No media has as many statuses.
_GENERATIONS_A_LOOK = 1_000

log = structlog.get_logger(__name__)


def failure_values(error: ProcessingFailed) -> dict[str, Any]:
    """What a media's document keeps of why it FAILED or is QUARANTINED."""
    values: dict[str, Any] = {
        "failure": {"code": error.failure.value, "message": error.message, "retryable": error.retryable}
    }
    if isinstance(error, MalwareFound):
        values["processing.malware"] = {"signature": error.signature, "engine": error.engine}
    return values


async def quarantine(
    media: MediaDocument, error: ProcessingFailed, *, stores: Stores, object_store: ObjectStore
) -> None:
    """Mark the original of `media` in storage; for malware, also lock away what its owner has READY with these bytes.

    The renditions of those are removed by a job each, from storage and from the CDN. What a moderator has locked away
    already is malware from then on, and keeps that verdict when `media` is gone. To be called before `media` itself
    becomes QUARANTINED: whoever dies here is followed by another attempt. Repeats are free. Raises
    TemporarilyUnavailable.
    """
    await mark_original(media, object_store)
    sha256 = media["content"].get("sha256")
    if not isinstance(error, MalwareFound) or sha256 is None:
        return
    # A page at a time: what was locked away is not found again.
    while found := await stores.media.find_by_content(
        media["owner_id"], [sha256], statuses={MediaStatus.READY}, fields=("original", "renditions.key")
    ):
        for each in found:
            await mark_original(each, object_store)
            moved = await stores.media.transition(
                each["_id"], MediaStatus.QUARANTINED, sources={MediaStatus.READY}, values=failure_values(error)
            )
            if moved is not None:
                log.warning("malware was served until now", media_id=str(each["_id"]), signature=error.signature)
                await enqueue_removal(each, moved.sequence, stores)
    # After what was READY: a moderator may have taken any of it in the meantime.
    await stores.moderation.condemn(media["owner_id"], sha256, failure_values(error))
    for each in await _quarantined(media["owner_id"], sha256, stores):
        # Also where an earlier attempt died before it came to this.
        await enqueue_removal(each, each["status_sequence"], stores)


async def enqueue_removal(media: MediaDocument, sequence: int, stores: Stores) -> None:
    """Have the addresses that were given out of `media` (with `renditions.key`) closed, and edges' copies.

    The original stays, for whoever examines it. `sequence`: of the status: each quarantine has a job of its own.
    """
    if media.get("renditions"):
        await stores.jobs.enqueue(
            media["_id"],
            JobKind.RETIRE,
            lane=Lane.STANDARD,
            topic=QUARANTINE_TOPIC,
            generation=sequence,
        )


async def enqueue_search(media: MediaDocument, look: int, stores: Stores) -> None:
    """Have what was written for a QUARANTINED `media` since its renditions were removed removed as well.

    `look`: from 1 on; each has a job of its own.
    """
    generation = media["status_sequence"] + _GENERATIONS_A_LOOK * look
    await stores.jobs.enqueue(
        media["_id"], JobKind.RETIRE, lane=Lane.BACKFILL, topic=QUARANTINE_TOPIC, generation=generation
    )


async def refuse_known_malware(media: MediaDocument, sha256: str, *, stores: Stores) -> None:
    """Raise MalwareFound for what a scanner called malware, and none has called clean since. For want of a scanner.

    In `media` (with its `processing`) itself, which a moderator may have released, or in another of its owner's.
    """
    own = media.get("processing", {}).get("malware")
    verdict = own or await stores.moderation.verdict_on(media["owner_id"], sha256)
    if verdict is not None:
        raise MalwareFound(**verdict)


async def keep_original(media: MediaDocument, *, stores: Stores, object_store: ObjectStore) -> None:
    """Take the original of `media` out of the rule that expires abandoned uploads; its quarantine is left as it is.

    Raises NotFound if there is none, TemporarilyUnavailable.
    """
    original, content = media["original"], media["content"]
    sha256 = content.get("sha256") or content.get("announced_sha256")
    locked_away = await _quarantined(media["owner_id"], sha256, stores) if sha256 else []
    if original["key"] not in {each.get("original", {}).get("key") for each in locked_away}:
        await object_store.mark_kept(original["bucket"], original["key"])


async def _quarantined(owner_id: str, sha256: str, stores: Stores) -> list[MediaDocument]:
    fields = ("original", "renditions.key", "status_sequence")
    return await stores.media.find_by_content(owner_id, [sha256], statuses={MediaStatus.QUARANTINED}, fields=fields)


async def mark_original(media: MediaDocument, object_store: ObjectStore) -> None:
    """Tag the original of `media` in storage, where it has one, as that of a QUARANTINED media."""
    if "original" in media:
        with suppress(NotFound):
            await object_store.mark_quarantined(media["original"]["bucket"], media["original"]["key"])
