"""Processing a media again that failed through no fault of its file: an explicit, recorded step back."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from service.access import Action, Viewer, granted_filters
from service.audit import AuditAction, Note
from service.documents import MediaDocument
from service.errors import FailureCode, NotFound, NotPermitted, StateConflict
from service.lifecycle import MediaStatus
from service.object_store import ObjectStore
from service.processing_jobs import PROCESSING_FIELDS, enqueue_processing, processing_generation
from service.quotas import count, watch
from service.stores import Stores
from service.stores.jobs import first_fence

# Faults of ours or of storage, for which `retryable` may have been used up by the attempts made.
_OURS = frozenset({FailureCode.INTERNAL.value, FailureCode.STORAGE_UNAVAILABLE.value})

# What `why_not_again` and `step_back` need of a media.
RETRY_FIELDS = (*PROCESSING_FIELDS, "failure", "original", "status_sequence")


async def retry_processing(
    viewer: Viewer, media_id: UUID | None, *, idempotency_key: str, stores: Stores, object_store: ObjectStore
) -> UUID:
    """Send a FAILED media back to UPLOADED and enqueue its next round of processing; the id of the media.

    A request that is repeated retries nothing again, even after a second failure. Raises NotPermitted, NotFound,
    IdempotencyKeyReused, TemporarilyUnavailable, and StateConflict if processing again cannot help.
    """
    if viewer.id is None:
        raise NotPermitted("Sign in to retry.")
    media = await _find(viewer, media_id, stores)
    plan = await stores.idempotency.remember(
        owner_id=viewer.id,
        operation="retryProcessing",
        key=idempotency_key,
        content=str(media_id),
        plan={} if media is None else await _decide(media, object_store),
    )
    if "refused" in plan:
        raise StateConflict(plan["refused"], field=["id"])
    # Read anew: the plan may be a twin's, made after this media was read.
    if "sequence" in plan and (media := await _find(viewer, media_id, stores)) is not None:
        await step_back(media, plan["sequence"], actor=viewer.id, stores=stores)
        media = await _find(viewer, media_id, stores)
    if media is None:
        raise NotFound("There is no such media.", field=["id"])
    if media["status"] == MediaStatus.UPLOADED:
        await enqueue_processing(media, stores.jobs)
    return media["_id"]


async def _find(viewer: Viewer, media_id: UUID | None, stores: Stores) -> MediaDocument | None:
    if media_id is None:
        return None
    return await stores.media.get(media_id, fields=RETRY_FIELDS, access=granted_filters(viewer, Action.CHANGE))


async def _decide(media: MediaDocument, object_store: ObjectStore) -> dict[str, Any]:
    """The plan: the place in the media's history from which to step back, or why not."""
    reason = await why_not_again(media, object_store)
    return {"sequence": media["status_sequence"]} if reason is None else {"refused": reason}


async def why_not_again(media: MediaDocument, object_store: ObjectStore) -> str | None:
    """A sentence if processing `media` (with RETRY_FIELDS) again cannot help. Raises TemporarilyUnavailable."""
    if media["status"] == MediaStatus.QUARANTINED:
        return "It is locked away: only a moderator can have it processed again."
    if media["status"] != MediaStatus.FAILED:
        return f"Only FAILED media can be processed again; this one is {media['status']}."
    failure = media.get("failure") or {}
    if not failure.get("retryable") and failure.get("code") not in _OURS:
        return "It is the file that is at fault: processing it again cannot help. Upload another."
    original = media["original"]
    if await object_store.head(original["bucket"], original["key"]) is None:
        return "The uploaded file is gone from storage. Upload it again."
    return None


async def step_back(media: MediaDocument, sequence: int, *, actor: str, stores: Stores) -> None:
    """FAILED to UPLOADED in a new round, once for each place in the history: sequences never come again.

    Nothing if `media` (with RETRY_FIELDS) is elsewhere by now. `enqueue_processing` has to follow.
    """
    if media["status_sequence"] != sequence:
        return
    generation = processing_generation(media) + 1
    # Before the status: whoever dies in between leaves it to upkeep to count it again.
    await watch(media["owner_id"], media["_id"], stores=stores)
    await stores.media.transition(
        media["_id"],
        MediaStatus.UPLOADED,
        sources={MediaStatus.FAILED},
        guard={"status_sequence": sequence},
        values={"processing.generation": generation, "processing.fence": first_fence(generation)},
        unset=["failure"],
        note=Note(AuditAction.MEDIA_RETRIED, actor=actor),
    )
    await count(media["owner_id"], media["_id"], stores=stores)
    await stores.audit.settle("media", [media["_id"]])
