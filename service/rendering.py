"""Giving a READY media every rendition that it should have, while it is being looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from service.errors import MediaServiceError, ProcessingFailed
from service.failpoints import Failpoint, reach
from service.invalidation import CloudFrontInvalidator
from service.media_processing import fingerprint_values, focus_of
from service.models import (
    Fingerprints,
    Job,
    MediaDocument,
    MediaFormat,
    MediaPurpose,
    RenditionDocument,
    Visibility,
)
from service.object_store import ObjectStore
from service.original_content import fetch_original, nameless_file
from service.policies import POLICIES, RenditionPolicy
from service.processing.jail import Jail
from service.processing.wire import ProcessingRequest
from service.processing_jobs import revision_of
from service.receipts import Receipts
from service.rendition_storage import confirmed_renditions, store_renditions, withdraw_if_deleted
from service.stores import Stores
from service.wanted_renditions import (
    PIPELINE_VERSION,
    WANTED_FIELDS,
    missing_renditions,
    rendition_generation,
    stills_and_clips,
    wanted_renditions,
)

RENDER_FIELDS = (*WANTED_FIELDS, "content", "original", "focus", "renditions", "processing")


@dataclass(slots=True)
class _Made:
    """What one run has so far, some of it from before. `given_up`: what cannot be made of this file."""

    renditions: list[RenditionDocument] = field(default_factory=list)
    given_up: set[tuple[str, str]] = field(default_factory=set)
    fingerprints: Fingerprints | None = None


async def render_media(
    job: Job, *, stores: Stores, object_store: ObjectStore, jail: Jail, invalidator: CloudFrontInvalidator | None
) -> None:
    """Make what a READY media lacks, and let it list the whole in one write; nothing for any other media.

    After a change of focus, visibility or pipeline that is everything, under new keys; the old renditions are listed
    until the new ones are confirmed. The same original and revision give the same keys, so that running twice, or
    beside another worker, ends the same. Raises ProcessingFailed or TemporarilyUnavailable; the media stays as it is.
    """
    media = await stores.renditions.hold(job.media_id, job.fence, fields=RENDER_FIELDS)
    if media is None:
        return
    receipts, sha256 = Receipts(), media["content"]["sha256"]
    generation = rendition_generation(sha256, revision_of(media))
    try:
        # What is listed may have been lost since.
        present = await confirmed_renditions(media, generation, object_store)
        made = await _make(media, generation, present, receipts, object_store=object_store, jail=jail)
    except MediaServiceError:
        await withdraw_if_deleted(job.media_id, media, stores, object_store)
        raise
    renditions = _listed(media, made)
    kept = {rendition["key"] for rendition in renditions}
    replaced = [each["key"] for each in media.get("renditions", []) if each["key"] not in kept]
    is_private = media["visibility"] == Visibility.PRIVATE
    # What was public once must not be had any longer by an address given out then; otherwise those go on working.
    retired = [] if is_private else replaced
    written = await stores.renditions.replace(
        media,
        renditions,
        fence=job.fence,
        retired=retired,
        retire_after=timedelta(0) if not retired else POLICIES[MediaPurpose(media["purpose"])].longest_url_life,
        values=_learnt(made, receipts.as_document(sha256)),
    )
    reach(Failpoint.RENDERED)
    if not written:
        await withdraw_if_deleted(job.media_id, media, stores, object_store)
    elif is_private and replaced:
        await object_store.delete(object_store.media_bucket, replaced)
        if invalidator is not None:
            await invalidator.invalidate(replaced)


async def _make(
    media: MediaDocument,
    generation: str,
    present: list[RenditionDocument],
    receipts: Receipts,
    *,
    object_store: ObjectStore,
    jail: Jail,
) -> _Made:
    made = _Made(present)
    groups = stills_and_clips(missing_renditions(media, present))
    if not groups:
        return made
    with nameless_file() as path:
        with receipts.of("fetch", "S3"):
            await fetch_original(media, path, object_store)
        for position, group in enumerate(groups):
            try:
                file = await jail.process(path, _request(media, group, describe=position == 0))
            except ProcessingFailed as failure:
                # Pictures were made of this file before; a clip may be beyond what is affordable, and costs no others.
                if failure.retryable or not _are_clips(group):
                    raise
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
