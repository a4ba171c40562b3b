"""The processing job: from an uploaded original to a READY media, under the fence of one claim."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from service.delivery import cache_control
from service.errors import MediaServiceError, ProcessingFailed, StorageRefused
from service.failpoints import Failpoint, reach
from service.lifecycle import MediaStatus
from service.models import (
    BoundingBox,
    DeletionStage,
    Job,
    MediaDocument,
    MediaPurpose,
    ProcessedImage,
    Rendition,
    RenditionDocument,
    Visibility,
)
from service.object_keys import rendition_key
from service.object_store import ObjectStore
from service.original_content import fetch_original, give_up_content, nameless_file, store_once
from service.perceptual_hash import to_stored
from service.policies import POLICIES
from service.processing.jail import Jail
from service.processing.wire import ProcessingRequest
from service.processing_jobs import revision_of
from service.stored_renditions import stored_renditions
from service.stores import Stores
from service.stores.expressions import now_if_revised_since

PIPELINE_VERSION = "1"

PIPELINE_FIELDS = ("purpose", "content", "original", "focus", "created_at", "processing.revision")


@dataclass(frozen=True, slots=True)
class Viewable:
    """A media that has become READY, `seconds` after its creation."""

    purpose: MediaPurpose
    seconds: float


async def process_media(job: Job, *, stores: Stores, object_store: ObjectStore, jail: Jail) -> Viewable | None:
    """Make a media READY; None if there was nothing (left) to do.

    Raises ProcessingFailed (its `retryable` says whether another attempt may help) or TemporarilyUnavailable.
    """
    held = await stores.media.hold(job.media_id, job.fence, attempt=job.attempt, lane=job.lane.value)
    # Read under the hold: an attempt before this one may have pointed the media to another object.
    media = await stores.media.get(job.media_id, fields=PIPELINE_FIELDS)
    if media is None:
        return None
    if not held:
        # An earlier attempt may have died after it wrote and before it saw the deletion.
        await withdraw_if_deleted(job.media_id, media, stores, object_store)
        return None
    reach(Failpoint.MEDIA_HELD)
    with nameless_file() as path:
        sha256 = await fetch_original(media, path, object_store)
        if not await store_once(job, media, sha256, stores=stores, object_store=object_store):
            await withdraw_if_deleted(job.media_id, media, stores, object_store)
            return None
        image = await jail.process(path, processing_request(media))
    try:
        stored = await store_renditions(media, image, sha256, object_store)
    except MediaServiceError:
        await withdraw_if_deleted(job.media_id, media, stores, object_store)
        raise
    done = await stores.media.transition(
        job.media_id,
        MediaStatus.READY,
        fence=job.fence,
        values=_learned(image, stored, sha256),
        unset=["failure"],
        look_again_at=now_if_revised_since(revision_of(media)),
    )
    reach(Failpoint.READY_WRITTEN)
    if done is None:
        await withdraw_if_deleted(job.media_id, media, stores, object_store)
        return None
    return Viewable(MediaPurpose(media["purpose"]), (datetime.now(UTC) - media["created_at"]).total_seconds())


async def withdraw_if_deleted(media_id: UUID, media: MediaDocument, stores: Stores, object_store: ObjectStore) -> None:
    """Remove what was written for a media that was deleted meanwhile."""
    # The deletion may have listed storage before these were written. A mere loss of the lease leaves them alone:
    # the worker that took over writes the same keys.
    now = await stores.media.get(media_id, fields=())
    if now is None or now["status"] == MediaStatus.DELETED:
        keys = await stored_renditions(media_id, MediaPurpose(media["purpose"]), object_store)
        await object_store.delete(object_store.media_bucket, keys)
        deletion = (await stores.deletions.get_many([media_id])).get(media_id)
        # One that is still under way gives up the content itself, when its window ends.
        if deletion is None or deletion["stage"] != DeletionStage.HIDDEN:
            await give_up_content(media_id, stores=stores, object_store=object_store)


async def fail_media(job: Job, error: ProcessingFailed, *, stores: Stores) -> None:
    """End a media as FAILED, or QUARANTINED where its file looks hostile, with what its owner should know."""
    # The attempt that failed may have died before it took hold.
    await stores.media.hold(job.media_id, job.fence, attempt=job.attempt, lane=job.lane.value)
    failure = {"code": error.failure.value, "message": error.message, "retryable": error.retryable}
    target = MediaStatus.QUARANTINED if error.quarantine else MediaStatus.FAILED
    await stores.media.transition(job.media_id, target, fence=job.fence, values={"failure": failure})


def processing_request(media: MediaDocument) -> ProcessingRequest:
    """What the jail is to make of the original of `media` (with PIPELINE_FIELDS)."""
    focus = media.get("focus")
    return ProcessingRequest(
        content_type=media["content"]["type"],
        renditions=POLICIES[MediaPurpose(media["purpose"])].renditions,
        focus=None if focus is None else BoundingBox(**focus),
    )


async def store_renditions(
    media: MediaDocument, image: ProcessedImage, sha256: str, object_store: ObjectStore
) -> list[RenditionDocument]:
    """Write and confirm the renditions of `media`; as its document lists them. Raises TemporarilyUnavailable."""
    purpose, visibility = MediaPurpose(media["purpose"]), Visibility(media["visibility"])
    generation = _generation(sha256, revision_of(media))

    async def store(rendition: Rendition) -> RenditionDocument:
        key = rendition_key(purpose, rendition.name, media["_id"], generation, rendition.format)
        digest = hashlib.sha256(rendition.body).hexdigest()
        await object_store.put(
            object_store.media_bucket,
            key,
            rendition.body,
            content_type=rendition.format.content_type,
            cache_control=cache_control(purpose, rendition.name, visibility),
            metadata={"cache-tag": str(media["_id"])},
            sha256=digest,
        )
        reach(Failpoint.RENDITION_STORED)
        await _confirm(object_store, key, len(rendition.body), digest)
        return RenditionDocument(
            name=rendition.name.value,
            format=rendition.format.value,
            width=rendition.width,
            height=rendition.height,
            bytes=len(rendition.body),
            key=key,
            sha256=digest,
        )

    # All have ended before the first failure is told: none goes on writing behind the back of a deletion.
    results = await asyncio.gather(*map(store, image.renditions), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    reach(Failpoint.RENDITIONS_CONFIRMED)
    return [result for result in results if not isinstance(result, BaseException)]


async def _confirm(object_store: ObjectStore, key: str, size: int, sha256: str) -> None:
    stored = await object_store.head(object_store.media_bucket, key)
    if stored is None or stored.bytes != size or stored.sha256 not in {None, sha256}:
        raise StorageRefused(f"Storage does not confirm {key} as it was written; it will be written again.")


def _generation(sha256: str, revision: int) -> str:
    """Names the objects of all renditions: the same original, revision and pipeline give the same generation.

    A revision never comes again, and so no key whose object was removed or has another Cache-Control is used anew.
    """
    return hashlib.sha256(f"{sha256}:{revision}:{PIPELINE_VERSION}".encode()).hexdigest()[:16]


def _learned(image: ProcessedImage, renditions: list[RenditionDocument], sha256: str) -> dict[str, Any]:
    return {
        "content.sha256": sha256,
        "content.type": image.content_type,
        "content.width": image.width,
        "content.height": image.height,
        "renditions": renditions,
        "placeholder": {"thumbhash": image.thumbhash, "dominant_color": image.dominant_color},
        "hashes": {"phash": to_stored(image.perceptual_hash)},
        "processing.pipeline_version": PIPELINE_VERSION,
    }
