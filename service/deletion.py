"""Deletion: hidden by the request itself, then removed from storage by a job that may be run any number of times."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from service.access import Action, Viewer, granted_filters
from service.documents import MediaDocument, UploadDocument
from service.errors import InvalidInput, NotFound, NotPermitted
from service.failpoints import Failpoint, reach
from service.kept_media import KEPT_FIELDS, hold_back
from service.lifecycle import MediaStatus
from service.models import DeletionStage, Job, JobKind, Lane, MediaPurpose, UploadMethod
from service.object_keys import media_of_original, media_of_rendition
from service.object_store import ObjectStore
from service.original_content import give_up_content
from service.policies import LATE_BYTES, POLICIES
from service.quotas import count_if_possible
from service.removal import remove_for_good
from service.stored_renditions import stored_renditions
from service.stores import Stores
from service.stores.deletions import DeletionDocument
from service.stores.invalidations import InvalidationDocument

MAX_IDS = 100
_AT_ONCE = 8

# What `hide` needs of a media.
DELETION_FIELDS = (*KEPT_FIELDS, "original", "renditions.key")


async def request_deletions(
    viewer: Viewer, media_ids: Sequence[UUID | None], *, idempotency_key: str, stores: Stores, media_bucket: str
) -> dict[UUID, DeletionDocument]:
    """Hide media at once and see to the removal of their objects; the deletions, by the id of their media.

    Ids that are unknown or not the viewer's to delete are left out; a media that is deleted already gives the deletion
    it has. Raises NotPermitted, InvalidInput, IdempotencyKeyReused.
    """
    if viewer.id is None:
        raise NotPermitted("Sign in to delete.")
    if not 1 <= len(media_ids) <= MAX_IDS:
        raise InvalidInput(f"Give 1 to {MAX_IDS} ids.", field=["ids"])
    await stores.idempotency.remember(
        owner_id=viewer.id, operation="deleteMedia", key=idempotency_key, content=sorted(map(str, media_ids)), plan={}
    )
    wanted = [media_id for media_id in dict.fromkeys(media_ids) if media_id is not None]
    found = await stores.media.get_many(wanted, fields=DELETION_FIELDS, access=granted_filters(viewer, Action.DELETE))
    deletions = await _hide_all([found[each] for each in wanted if each in found], viewer.id, stores, media_bucket)
    await stores.audit.settle("deletions", deletions)
    return deletions


async def _hide_all(
    media: Sequence[MediaDocument], requested_by: str, stores: Stores, media_bucket: str
) -> dict[UUID, DeletionDocument]:
    slots = asyncio.Semaphore(_AT_ONCE)

    async def hide_in_turn(each: MediaDocument) -> DeletionDocument:
        async with slots:
            return await _hide(each, requested_by, stores, media_bucket)

    outcomes = await asyncio.gather(*map(hide_in_turn, media), return_exceptions=True)
    # Not before all have ended: what is repeated after an error must not meet what still goes on.
    deletions = {}
    for each, outcome in zip(media, outcomes, strict=True):
        if isinstance(outcome, BaseException):
            raise outcome
        deletions[each["_id"]] = outcome
    # Together: one after the other they would wait for the one document in which an owner's bytes are counted.
    for owner_id in {each["owner_id"] for each in media}:
        theirs = [each["_id"] for each in media if each["owner_id"] == owner_id]
        await count_if_possible(owner_id, theirs, stores=stores)
    return deletions


async def hide(media: MediaDocument, requested_by: str, stores: Stores, media_bucket: str) -> DeletionDocument:
    """Delete `media` (with `DELETION_FIELDS`) for whoever has the right to; its deletion. Repeats are free."""
    deletion = await _hide(media, requested_by, stores, media_bucket)
    await count_if_possible(media["owner_id"], [media["_id"]], stores=stores)
    return deletion


async def _hide(media: MediaDocument, requested_by: str, stores: Stores, media_bucket: str) -> DeletionDocument:
    # Intent and job come before the status: whatever dies in between, the job finishes what was asked for.
    deletion = await stores.deletions.request(
        media["_id"],
        owner_id=media["owner_id"],
        requested_by=requested_by,
        purpose=media["purpose"],
        objects=_objects(media, media_bucket),
    )
    await stores.jobs.enqueue(media["_id"], JobKind.DELETE, lane=Lane.STANDARD)
    await stores.media.transition(media["_id"], MediaStatus.DELETED)
    return await hold_back(deletion, media, stores=stores)


def _objects(media: MediaDocument, media_bucket: str) -> list[dict[str, str]]:
    original = media.get("original")
    renditions = [{"bucket": media_bucket, "key": rendition["key"]} for rendition in media.get("renditions", [])]
    return renditions if original is None else [{"bucket": original["bucket"], "key": original["key"]}, *renditions]


async def remove_objects(job: Job, *, stores: Stores, object_store: ObjectStore) -> None:
    """Remove everything storage holds of a deleted media, confirm that it is gone, and strip the document.

    Renditions go at once, also those that a worker wrote while the request came in. The original is kept for the
    deletion window of its purpose, and for as long as another media has the same content. What edges are to forget is
    written down before, and asked for once storage cannot give it to them again. Raises TemporarilyUnavailable if
    storage keeps an object.
    """
    deletion = (await stores.deletions.get_many([job.media_id])).get(job.media_id)
    if deletion is None:
        raise NotFound(f"No deletion was requested for media {job.media_id}.")
    await stores.media.transition(job.media_id, MediaStatus.DELETED)
    await count_if_possible(deletion["owner_id"], [job.media_id], stores=stores)
    upload = await stores.uploads.get(job.media_id)
    now, window_ends = await stores.media.server_time(), _window_ends(deletion)
    moments = removal_moments(deletion, upload)
    await stores.deletions.expect(job.media_id, max(moments))
    keys, keeps_original = await _renditions(job.media_id, deletion, object_store), False
    if upload is not None and upload["method"] == UploadMethod.MULTIPART and not upload.get("linked"):
        await object_store.multipart.abort_all(upload["key"])
    if now >= window_ends:
        originals = _originals(deletion, upload)
        free = await _give_up_originals(deletion, originals, stores, object_store)
        keys, keeps_original = keys | free, free != originals
    requests = [] if stores.invalidations is None else await stores.invalidations.list_of_media(job.media_id)
    begun = _begun_by_others(requests)
    keys |= {(object_store.media_bucket, key) for each in begun for key in each["keys"]}
    await stores.deletions.add_objects(job.media_id, keys)
    planned = await _plan_invalidation(job, keys, deletion, requests, stores)
    await remove_for_good(keys, object_store)
    await stores.media.strip_deleted(job.media_id)
    await stores.annotation_rows.remove_all(job.media_id)
    await stores.embeddings.remove_of(job.media_id)
    await stores.uploads.strip_deleted(job.media_id)
    if now >= window_ends:
        awaits_cdn = stores.invalidations is not None
        await stores.deletions.mark_objects_removed(
            job.media_id, keys=sorted(keys), awaits_cdn=awaits_cdn, keeps_original=keeps_original
        )
        reach(Failpoint.OBJECTS_REMOVED_WRITTEN)
    await _look_again(job, moments, now, stores)
    await stores.audit.settle("deletions", [job.media_id])
    # After the stage, which the CDN's answer goes on from.
    if stores.invalidations is not None:
        await stores.invalidations.release(planned, *(each["_id"] for each in begun))


def _begun_by_others(requests: Sequence[InvalidationDocument]) -> list[InvalidationDocument]:
    """What edges are to forget once others have removed it, who may have died: this deletion removes it with the rest.

    Of renditions alone, which go at once, whereas an original may have to stay.
    """
    return [each for each in requests if each["state"] == "planned" and all(map(media_of_rendition, each["keys"]))]


async def _plan_invalidation(
    job: Job,
    keys: set[tuple[str, str]],
    deletion: DeletionDocument,
    requests: Sequence[InvalidationDocument],
    stores: Stores,
) -> str:
    """Note what edges may hold, as far as no earlier run of the deletion did; the id of the request.

    Whether one did is written down, and does not follow from its number: there may have been no CDN to tell then.
    """
    if stores.invalidations is None:
        return ""
    by_deletion = f"{job.media_id}:{job.kind}:"
    known = {key for each in requests if each["_id"].startswith(by_deletion) for key in each["keys"]}
    new = {key for _, key in keys} - known
    # The last run needs a request also where the original stays: what comes of that ends the deletion.
    if new or deletion["stage"] == DeletionStage.HIDDEN:
        return await stores.invalidations.plan(job.id, job.media_id, new)
    return job.id


def _window_ends(deletion: DeletionDocument) -> datetime:
    requested_at: datetime = deletion["requested_at"]
    return requested_at + timedelta(seconds=POLICIES[MediaPurpose(deletion["purpose"])].deletion_window_s)


async def _renditions(media_id: UUID, deletion: DeletionDocument, object_store: ObjectStore) -> set[tuple[str, str]]:
    listed = {(each["bucket"], each["key"]) for each in deletion["objects"] if media_of_rendition(each["key"])}
    stored = await stored_renditions(media_id, MediaPurpose(deletion["purpose"]), object_store)
    return listed | {(object_store.media_bucket, key) for key in stored}


async def _give_up_originals(
    deletion: DeletionDocument, originals: Collection[tuple[str, str]], stores: Stores, object_store: ObjectStore
) -> set[tuple[str, str]]:
    """Those that are to be removed: nobody else needs them."""
    await give_up_content(deletion["_id"], stores=stores, object_store=object_store)
    return {original for original in originals if await stores.contents.is_free(original[1])}


def _originals(deletion: DeletionDocument, upload: UploadDocument | None) -> set[tuple[str, str]]:
    """What the media had as its original, and what its own session may have stored besides."""
    listed = {(each["bucket"], each["key"]) for each in deletion["objects"] if media_of_original(each["key"])}
    return listed if upload is None else listed | {(upload["bucket"], upload["key"])}


def removal_moments(deletion: DeletionDocument, upload: UploadDocument | None) -> set[datetime]:
    """When the window ends, and when the session is over: until then a presigned request may be used."""
    window_ends = _window_ends(deletion)
    return {window_ends} if upload is None else {window_ends, upload["expires_at"] + LATE_BYTES}


async def _look_again(job: Job, moments: Collection[datetime], now: datetime, stores: Stores) -> None:
    """At the next of these moments; after the last of them, what was removed is to be verified."""
    later = [moment for moment in moments if moment > now]
    await stores.jobs.enqueue(
        job.media_id,
        JobKind.DELETE if later else JobKind.VERIFY,
        lane=Lane.BACKFILL if later else Lane.STANDARD,
        generation=job.generation + 1,
        delay_s=(min(later) - now).total_seconds() if later else 0,
    )


async def find_deletions(viewer: Viewer, media_ids: Sequence[UUID], *, stores: Stores) -> dict[UUID, DeletionDocument]:
    """Deletions by the id of their media, as far as the viewer may delete it."""
    media = await stores.media.get_many(media_ids, fields=(), access=granted_filters(viewer, Action.DELETE))
    return await stores.deletions.get_many(media) if media else {}
