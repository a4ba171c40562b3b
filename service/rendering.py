"""Giving a READY media every rendition that it should have, while it is being looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import structlog

from service.base_pictures import BasePictures
from service.documents import MediaDocument, RenditionDocument
from service.errors import MediaServiceError, ProcessingFailed
from service.failpoints import Failpoint, reach
from service.media_processing import fingerprint_values, focus_of
from service.models import BasePicture, Fingerprints, Job, Lane, MediaFormat, MediaPurpose, Visibility
from service.object_store import ObjectStore
from service.original_content import fetch_original, nameless_file
from service.policies import POLICIES, RenditionPolicy
from service.processing.jail import Jail, serves
from service.processing.wire import ProcessingRequest
from service.processing_jobs import enqueue_retirement, revision_of
from service.receipts import Receipts
from service.rendition_storage import (
    confirmed_renditions,
    copy_renditions,
    store_renditions,
    withdraw,
)
from service.stores import Stores
from service.wanted_renditions import (
    PIPELINE_VERSION,
    WANTED_FIELDS,
    is_made_for_others,
    made_from,
    missing_renditions,
    next_generation,
    stills_and_clips,
    wanted_renditions,
)

log = structlog.get_logger(__name__)

RENDER_FIELDS = (*WANTED_FIELDS, "content", "original", "focus", "renditions", "processing")


@dataclass(slots=True)
class _Made:
    """What one run has so far, some of it from before. `given_up`: what cannot be made of this file."""

    renditions: list[RenditionDocument] = field(default_factory=list)
    given_up: set[tuple[str, str]] = field(default_factory=set)
    fingerprints: Fingerprints | None = None


async def render_media(job: Job, *, stores: Stores, object_store: ObjectStore, jail: Jail, bases: BasePictures) -> None:
    """Make what a READY media lacks, and let it list the whole in one write; nothing for any other media.

    After a change of focus or pipeline that is everything, under new keys; the old renditions are listed until the new
    ones are confirmed. After a change of who may see it, copies with other headers come first, and nothing needs to be
    decoded; nor is it where `bases` still has what the first job decoded. Running twice, or beside another worker, ends
    the same. Raises ProcessingFailed or TemporarilyUnavailable; the media stays as it is then.
    """
    media = await stores.renditions.hold(job.media_id, job.fence, fields=RENDER_FIELDS)
    if media is not None and is_made_for_others(media):
        await _copy(job, media, stores=stores, object_store=object_store)
        media = await stores.renditions.hold(job.media_id, job.fence, fields=RENDER_FIELDS)
        # It was changed once more: that has a job of its own.
        media = None if media is not None and is_made_for_others(media) else media
    if media is None:
        # An earlier attempt may have died after it wrote and before it saw a deletion.
        await _withdraw(job, stores, object_store)
        return
    if media["processing"].get("rendered_round") == job.generation:
        # An earlier attempt may have died after it wrote: that counts once.
        return
    await _render(job, media, stores=stores, object_store=object_store, jail=jail, bases=bases)


async def _copy(job: Job, media: MediaDocument, *, stores: Stores, object_store: ObjectStore) -> None:
    """Have what there is shown to those who may see it now, and to nobody else."""
    generation = next_generation(media)
    try:
        copies = await copy_renditions(media, generation, object_store)
    except MediaServiceError:
        await _withdraw(job, stores, object_store)
        raise
    turned_private = media["visibility"] == Visibility.PRIVATE
    written = await stores.renditions.replace(
        media,
        copies,
        fence=job.fence,
        # What was public once must not be had any longer by an address given out then.
        retire_after=timedelta(0) if turned_private else _url_life(media),
        values={"processing.made_for": media["visibility"], "processing.rendition_generation": generation},
    )
    reach(Failpoint.RENDITIONS_COPIED)
    if not written:
        await _withdraw(job, stores, object_store)
    elif turned_private:
        await enqueue_retirement(media, stores.jobs, lane=Lane.STANDARD)


async def _render(
    job: Job, media: MediaDocument, *, stores: Stores, object_store: ObjectStore, jail: Jail, bases: BasePictures
) -> None:
    receipts, processing = Receipts(), media["processing"]
    is_same = processing.get("made_from") == made_from(media) and "rendition_generation" in processing
    generation = processing["rendition_generation"] if is_same else next_generation(media)
    try:
        # What is listed may have been lost since.
        present = await confirmed_renditions(media, generation, object_store)
        base = bases.take(media["content"]["sha256"])
        made = await _make(media, generation, present, receipts, object_store=object_store, jail=jail, base=base)
    except MediaServiceError:
        await _withdraw(job, stores, object_store)
        raise
    written = await stores.renditions.replace(
        media,
        _listed(media, made),
        fence=job.fence,
        retire_after=_url_life(media),
        values={
            **_learnt(made, receipts.as_document(media["content"]["sha256"])),
            "processing.made_from": made_from(media),
            "processing.made_for": media["visibility"],
            "processing.rendition_generation": generation,
            "processing.rendered_revision": revision_of(media),
            "processing.rendered_round": job.generation,
        },
    )
    reach(Failpoint.RENDERED)
    if not written:
        await _withdraw(job, stores, object_store)


def _url_life(media: MediaDocument) -> timedelta:
    return POLICIES[MediaPurpose(media["purpose"])].longest_url_life


async def _withdraw(job: Job, stores: Stores, object_store: ObjectStore) -> None:
    media = await stores.media.get(job.media_id, fields=("purpose",))
    if media is not None:
        await withdraw(job.media_id, MediaPurpose(media["purpose"]), stores, object_store)


async def _make(
    media: MediaDocument,
    generation: str,
    present: list[RenditionDocument],
    receipts: Receipts,
    *,
    object_store: ObjectStore,
    jail: Jail,
    base: BasePicture | None,
) -> _Made:
    made = _Made(present)
    groups = stills_and_clips(missing_renditions(media, present))
    with nameless_file() as path:
        is_fetched = False
        for position, group in enumerate(groups):
            request = _request(media, group, describe=position == 0)
            usable = base if base is not None and serves(base, request) else None
            if usable is None and not is_fetched:
                with receipts.of("fetch", "S3"):
                    await fetch_original(media, path, object_store)
                is_fetched = True
            try:
                file = await (jail.process(path, request) if usable is None else jail.process_base(usable, request))
            except ProcessingFailed as failure:
                # Pictures were made of this file before; a clip may be beyond what is affordable, and costs no others.
                if failure.retryable or not _are_clips(group):
                    raise
                log.warning("a rendition cannot be made", reason=failure.message, code=failure.failure.value)
                made.given_up |= {(policy.name.value, format_.value) for policy in group for format_ in policy.formats}
                continue
            receipts.add(file.receipts)
            with receipts.of("store", "S3") as step:
                step.parameters["generation"] = generation
                made.renditions += await store_renditions(media, file.renditions, generation, object_store)
            made.fingerprints = made.fingerprints or file.fingerprints
    return made


def _are_clips(group: Sequence[RenditionPolicy]) -> bool:
    return all(MediaFormat.MP4 in policy.formats for policy in group)


def _request(media: MediaDocument, renditions: tuple[RenditionPolicy, ...], *, describe: bool) -> ProcessingRequest:
    return ProcessingRequest(
        content_type=media["content"]["type"],
        renditions=renditions,
        focus=focus_of(media),
        # They were made with the first renditions, unless by an earlier pipeline.
        fingerprints=describe and media["processing"].get("pipeline_version") != PIPELINE_VERSION,
    )


def _listed(media: MediaDocument, made: _Made) -> list[RenditionDocument]:
    """What the media lists from now on, in the order of its policy."""
    # An old one stays where no new one can be had.
    old = [each for each in media.get("renditions", []) if (each["name"], each["format"]) in made.given_up]
    current = {(each["name"], each["format"]): each for each in (*old, *made.renditions)}
    order = [(policy.name.value, format_.value) for policy in wanted_renditions(media) for format_ in policy.formats]
    return [current[wanted] for wanted in order if wanted in current]


def _learnt(made: _Made, receipts: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "processing.pipeline_version": PIPELINE_VERSION,
        # Nothing more follows, also where something cannot be made.
        "processing.complete": True,
        "processing.given_up": sorted({name for name, _ in made.given_up}),
        "processing.receipts.render": receipts,
        **({} if made.fingerprints is None else fingerprint_values(made.fingerprints)),
    }


async def leave_as_it_is(job: Job, *, stores: Stores) -> None:
    """Rendering has failed for good: the media keeps what it has, and the sweeper need not look at it again."""
    await stores.renditions.leave(job.media_id, job.fence)
