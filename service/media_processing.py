"""The processing job: from an uploaded original to a media that can be looked at, under the fence of one claim."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.base_pictures import BasePictures
from service.documents import MediaDocument, RenditionDocument
from service.embedded_metadata import METADATA_FIELDS, fields_to_read, kept
from service.errors import FailureCode, MediaServiceError, NotFound, ProcessingFailed
from service.failpoints import Failpoint, reach
from service.lifecycle import MediaStatus
from service.models import BoundingBox, Fingerprints, Job, MediaPurpose, ProcessedFile
from service.object_store import ObjectStore
from service.original_content import fetch_original, nameless_file, store_once
from service.perceptual_hash import bands_of, to_stored
from service.processing.jail import Jail
from service.processing.wire import ProcessingRequest
from service.processing_jobs import enqueue_rendering, lacks_rendering
from service.quarantine import (
    QUARANTINE_FIELDS,
    failure_values,
    keep_original,
    quarantine,
    refuse_known_malware,
)
from service.quotas import count
from service.receipts import Receipts
from service.rendition_storage import store_renditions, withdraw
from service.scanner import Scanner, scan_original
from service.stores import Stores
from service.stores.media import held_by
from service.wanted_renditions import (
    PIPELINE_VERSION,
    WANTED_FIELDS,
    made_from,
    next_generation,
    urgent_renditions,
)

PROCESS_FIELDS = (*WANTED_FIELDS, *METADATA_FIELDS, "content", "original", "focus", "processing")


@dataclass(frozen=True, slots=True)
class Viewable:
    """A media that has become READY, `seconds` after its creation in server time."""

    purpose: MediaPurpose
    seconds: float


async def process_media(
    job: Job, *, stores: Stores, object_store: ObjectStore, jail: Jail, scanner: Scanner | None, bases: BasePictures
) -> Viewable | None:
    """Make a media READY with what makes it viewable, and enqueue the rest; None if there was nothing (left) to do.

    Nothing is decoded, and no other media pointed to it, before `scanner` (where there is one) called it clean. `bases`
    keeps what was decoded, for the job that makes the rest. Raises ProcessingFailed (its `retryable` says whether
    another attempt may help) or TemporarilyUnavailable.
    """
    held = await stores.media.hold(job.media_id, job.fence, attempt=job.attempt, lane=job.lane.value)
    # Read under the hold: an attempt before this one may have pointed the media to another object.
    media = await stores.media.get(job.media_id, fields=PROCESS_FIELDS)
    if media is None:
        return None
    if not held:
        await _finish_earlier_attempt(media, stores, object_store)
        return None
    reach(Failpoint.MEDIA_HELD)
    receipts = Receipts()
    with nameless_file() as path:
        with receipts.of("fetch", "S3"):
            # That it is gone is told by fetching it.
            with suppress(NotFound):
                await keep_original(media, stores=stores, object_store=object_store)
            reach(Failpoint.ORIGINAL_KEPT)
            sha256 = await fetch_original(media, path, object_store)
        if not media["content"].get("sha256"):
            # Also where it is found hostile: the same bytes must not pass for known good ones elsewhere.
            await stores.media.learn_content(job.media_id, job.fence, sha256)
        if scanner is not None:
            await _scan(path, scanner, receipts)
        else:
            await refuse_known_malware(media, sha256, stores=stores)
        if not await store_once(job, media, sha256, stores=stores, object_store=object_store):
            await withdraw(job.media_id, MediaPurpose(media["purpose"]), stores, object_store)
            return None
        file = await jail.process(path, _urgent_request(media, keep_base=bases.keeps_any))
    receipts.add(file.receipts)
    media["content"]["sha256"] = sha256
    generation = next_generation(media)
    try:
        with receipts.of("store", "S3") as step:
            stored = await store_renditions(media, file.renditions, generation, object_store)
            step.parameters["generation"] = generation
    except MediaServiceError:
        await withdraw(job.media_id, MediaPurpose(media["purpose"]), stores, object_store)
        raise
    done = await stores.media.transition(
        job.media_id,
        MediaStatus.READY,
        guard=held_by(job.fence),
        values={
            **_learnt(file, stored, sha256),
            "processing.made_from": made_from(media),
            "processing.made_for": media["visibility"],
            "processing.rendition_generation": generation,
            **kept(media, file.metadata),
            "processing.receipts.process": receipts.as_document(sha256),
        },
        # Whoever comes here with a verdict of malware from before was released, and is called clean now.
        unset=["failure", "processing.malware"],
    )
    reach(Failpoint.READY_WRITTEN)
    if done is None:
        await withdraw(job.media_id, MediaPurpose(media["purpose"]), stores, object_store)
        return None
    if file.base is not None:
        bases.keep(sha256, file.base)
    # Whether it moves, which decides where its job finds a place.
    media["content"]["frame_count"] = file.frame_count
    await enqueue_rendering(media, stores.jobs)
    reach(Failpoint.RENDERING_ENQUEUED)
    return Viewable(MediaPurpose(media["purpose"]), done.age.total_seconds())


async def _finish_earlier_attempt(media: MediaDocument, stores: Stores, object_store: ObjectStore) -> None:
    """It may have died after it wrote: before it enqueued the rest, or before it saw a deletion."""
    if media["status"] == MediaStatus.READY and lacks_rendering(media):
        await enqueue_rendering(media, stores.jobs)
    await withdraw(media["_id"], MediaPurpose(media["purpose"]), stores, object_store)


async def _scan(path: Path, scanner: Scanner, receipts: Receipts) -> None:
    with receipts.of("scan", scanner.name) as step:
        verdict = await scan_original(scanner, path)
        step.tool = verdict.engine


async def fail_media(job: Job, error: ProcessingFailed, *, stores: Stores, object_store: ObjectStore) -> None:
    """End a media as FAILED, or QUARANTINED where its file looks hostile, with what its owner should know.

    The original of a QUARANTINED one is marked as such in storage; malware takes with it what its owner has READY with
    the same bytes. Raises TemporarilyUnavailable.
    """
    # The attempt that failed may have died before it took hold.
    held = await stores.media.hold(job.media_id, job.fence, attempt=job.attempt, lane=job.lane.value)
    media = await stores.media.get(job.media_id, fields=QUARANTINE_FIELDS) if held and error.quarantine else None
    if media is not None:
        await quarantine(media, error, stores=stores, object_store=object_store)
    target = MediaStatus.QUARANTINED if error.quarantine else MediaStatus.FAILED
    await stores.media.transition(job.media_id, target, guard=held_by(job.fence), values=failure_values(error))
    ended = await stores.media.get(job.media_id, fields=())
    if ended is not None:
        await count(ended["owner_id"], job.media_id, stores=stores)


def focus_of(media: MediaDocument) -> BoundingBox | None:
    """Where the eye should land in `media`, as its owner said."""
    focus = media.get("focus")
    return None if focus is None else BoundingBox(**focus)


def fingerprint_values(fingerprints: Fingerprints) -> dict[str, Any]:
    """`fingerprints` as a media's document keeps them."""
    return {
        "placeholder": {"thumbhash": fingerprints.thumbhash, "dominant_color": fingerprints.dominant_color},
        "hashes": _hash_values(fingerprints),
    }


def _hash_values(fingerprints: Fingerprints) -> dict[str, Any]:
    value = to_stored(fingerprints.perceptual_hash)
    transformed = [to_stored(each) for each in fingerprints.transformed_hashes]
    bands = bands_of(value)
    return {"phash": value, "transformed": transformed} | ({} if bands is None else {"bands": bands})


def _urgent_request(media: MediaDocument, *, keep_base: bool) -> ProcessingRequest:
    return ProcessingRequest(
        content_type=media["content"]["type"],
        renditions=urgent_renditions(media),
        focus=focus_of(media),
        urgent=True,
        metadata=fields_to_read(media),
        keep_base=keep_base,
    )


def _learnt(file: ProcessedFile, renditions: list[RenditionDocument], sha256: str) -> Mapping[str, Any]:
    if file.fingerprints is None:
        raise ProcessingFailed(FailureCode.INTERNAL, "The file was not described.", retryable=True)
    return {
        "content.sha256": sha256,
        "content.type": file.content_type,
        "content.width": file.width,
        "content.height": file.height,
        "content.frame_count": file.frame_count,
        "content.duration_ms": file.duration_ms,
        "renditions": renditions,
        **fingerprint_values(file.fingerprints),
        "processing.pipeline_version": PIPELINE_VERSION,
        "processing.complete": False,
    }
