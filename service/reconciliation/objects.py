"""Storage against the database: objects that no document needs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from functools import partial
from uuid import UUID

from service.documents import MediaDocument
from service.kept_media import removal_of
from service.lifecycle import AWAITING_BYTES, MediaStatus
from service.models import DeletionStage, MediaPurpose
from service.object_keys import is_anchor, is_kept_rendition, is_probe, media_of_original, media_of_rendition
from service.object_store import ListedObject
from service.policies import POLICIES
from service.reconciliation.context import REST_FIELDS, Context
from service.reconciliation.findings import Finding, FindingKind, Outcome

# Workers are writing for these, or are about to.
_BEING_PROCESSED = frozenset({MediaStatus.UPLOADED, MediaStatus.PROCESSING})

_ORIGINAL_FIELDS = (*REST_FIELDS, "original.key")
_RENDITION_FIELDS = (*REST_FIELDS, "renditions.key", "retired_renditions.key", "processing.replaced_at")


async def examine_originals(page: Sequence[ListedObject], context: Context) -> AsyncIterator[Finding]:
    """Objects of the upload bucket that neither a media, nor a content, nor an open session needs."""
    bucket = context.object_store.upload_bucket
    aged = {each.key: media_of_original(each.key) for each in page if each.written_at < context.cutoff}
    for finding in _unknown(bucket, aged):
        yield finding
    keys = [key for key, media_id in aged.items() if media_id]
    for key, why in (await _needless_originals(keys, context)).items():
        outcome = await context.settle(partial(_remove_original, key, context))
        yield Finding(FindingKind.ORPHAN_OBJECT, f"{bucket}/{key}", why, outcome, aged[key])


async def _needless_originals(keys: Sequence[str], context: Context) -> dict[str, str]:
    """Why each key is not needed; needed ones are absent."""
    media = await context.stores.media.get_many(map(_media_id, keys), fields=_ORIGINAL_FIELDS)
    shared = await context.scans.content_keys(keys)
    reasons = {key: original_reason(key, media.get(_media_id(key)), shared, context) for key in keys}
    return {key: why for key, why in reasons.items() if why is not None}


def original_reason(key: str, media: MediaDocument | None, shared: Collection[str], context: Context) -> str | None:
    """Why nobody needs the object under `key`, or None. `shared`: keys of contents that somebody refers to."""
    if key in shared:
        return None
    if media is None:
        return "no media has this id"
    if context.is_over(media):
        return f"its media is {media['status']}"
    status = MediaStatus(media["status"])
    is_moving = status in AWAITING_BYTES | _BEING_PROCESSED | {MediaStatus.DELETED, MediaStatus.EXPIRED}
    if is_moving or not context.is_at_rest(media) or media.get("original", {}).get("key") == key:
        return None
    return "its media has another original"


async def _remove_original(key: str, context: Context) -> Outcome:
    # The page may be minutes old by now; and a content nobody refers to must not be referred to from here on.
    async with removal_of(_media_id(key), stores=context.stores) as kept:
        if kept is not None:
            return Outcome.KEPT
        if not await _needless_originals([key], context) or not await context.stores.contents.is_free(key):
            return Outcome.GONE
        bucket = context.object_store.upload_bucket
        await context.object_store.delete(bucket, [key], written_before=context.cutoff)
        return Outcome.REPAIRED


async def examine_renditions(page: Sequence[ListedObject], context: Context) -> AsyncIterator[Finding]:
    """Objects of the media bucket that their media does not list, and probes that a killed process left."""
    bucket = context.object_store.media_bucket
    old = [each.key for each in page if each.written_at < context.cutoff]
    for key in filter(is_probe, old):
        outcome = await context.settle(partial(_remove, key, context))
        yield Finding(FindingKind.LEFTOVER_PROBE, f"{bucket}/{key}", "a probe that was left behind", outcome)
    aged = {key: media_of_rendition(key) for key in old if not is_probe(key) and not is_anchor(key)}
    for finding in _unknown(bucket, aged):
        yield finding
    keys = [key for key, media_id in aged.items() if media_id]
    for key, why in (await _needless_renditions(keys, context)).items():
        outcome = await context.settle(partial(_remove_rendition, key, context))
        yield Finding(FindingKind.ORPHAN_RENDITION, f"{bucket}/{key}", why, outcome, aged[key])


async def _needless_renditions(keys: Sequence[str], context: Context) -> dict[str, str]:
    media = await context.stores.media.get_many(map(_media_id, keys), fields=_RENDITION_FIELDS)
    gone = [media_id for media_id, each in media.items() if each["status"] == MediaStatus.DELETED]
    deletions = await context.stores.deletions.get_many(gone) if gone else {}
    waiting = {each for each in deletions if deletions[each]["stage"] == DeletionStage.BLOCKED_BY_RETENTION}
    reasons = {
        # What is kept of a deleted media goes with its deletion.
        key: None if _media_id(key) in waiting else rendition_reason(key, media.get(_media_id(key)), context)
        for key in keys
    }
    return {key: why for key, why in reasons.items() if why is not None}


def rendition_reason(key: str, media: MediaDocument | None, context: Context) -> str | None:
    """Why nobody needs the rendition under `key`, or None."""
    if media is None:
        return "no media has this id"
    if not context.is_at_rest(media) or media["status"] in _BEING_PROCESSED:
        return None
    # Unlike an original, a rendition is not kept for the deletion window.
    if media["status"] in {MediaStatus.DELETED, MediaStatus.EXPIRED}:
        return f"its media is {media['status']}"
    listed = media.get("renditions", ())
    if is_kept_rendition(key):
        # It goes by itself, once what keeps it has ended.
        listed = (*listed, *media.get("retired_renditions", ()))
    is_listed = any(rendition["key"] == key for rendition in listed)
    return None if is_listed or _may_be_opened(media, context) else "its media does not list it"


def _may_be_opened(media: MediaDocument, context: Context) -> bool:
    """Whether an address may still be about that was given out before the renditions of a media were replaced."""
    replaced_at = media.get("processing", {}).get("replaced_at", media["updated_at"])
    life = POLICIES[MediaPurpose(media["purpose"])].longest_url_life
    return bool(max(replaced_at, media["updated_at"]) + life > context.now)


async def _remove_rendition(key: str, context: Context) -> Outcome:
    async with removal_of(_media_id(key), stores=context.stores) as kept:
        if kept is not None:
            return Outcome.KEPT
        return await _remove(key, context) if await _needless_renditions([key], context) else Outcome.GONE


async def _remove(key: str, context: Context) -> Outcome:
    await context.object_store.delete(context.object_store.media_bucket, [key], written_before=context.cutoff)
    return Outcome.REPAIRED


def _media_id(key: str) -> UUID:
    return UUID(media_of_original(key) or media_of_rendition(key))


def _unknown(bucket: str, media_ids: Mapping[str, str | None]) -> Iterable[Finding]:
    """Keys that this service did not make: reported, and touched by nobody but those who did."""
    why = "this service makes no such key"
    return [
        Finding(FindingKind.UNKNOWN_OBJECT, f"{bucket}/{key}", why, Outcome.KEPT)
        for key, media_id in media_ids.items()
        if media_id is None
    ]
