"""Renditions on their way from the jail into the media bucket, and what a document lists of them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from uuid import UUID

from service.delivery import cache_control
from service.distribution import CACHE_TAG_METADATA, cache_tag
from service.documents import MediaDocument, RenditionDocument
from service.errors import StorageRefused
from service.failpoints import Failpoint, reach
from service.kept_media import removal_of
from service.kept_renditions import put_out_of_reach
from service.lifecycle import MediaStatus
from service.models import DeletionStage, MediaFormat, MediaPurpose, Rendition, RenditionName, Visibility
from service.object_keys import generation_of_rendition, rendition_key, visibility_of_rendition
from service.object_store import ObjectStore
from service.original_content import give_up_content
from service.remnants import remove_and_forget, remove_remnants
from service.stored_renditions import stored_renditions
from service.stores import Stores

_WITHDRAWAL_FIELDS = ("visibility", "status_sequence", "renditions.key", "retired_renditions")
_WITHDRAWN = frozenset({MediaStatus.DELETED, MediaStatus.QUARANTINED, MediaStatus.READY})


async def store_renditions(
    media: MediaDocument, renditions: Sequence[Rendition], generation: str, object_store: ObjectStore
) -> list[RenditionDocument]:
    """Write and confirm `renditions` of `media`; as its document lists them. Raises TemporarilyUnavailable."""
    purpose, visibility = MediaPurpose(media["purpose"]), Visibility(media["visibility"])

    async def store(rendition: Rendition) -> RenditionDocument:
        key = rendition_key(purpose, visibility, rendition.name, media["_id"], generation, rendition.format)
        digest = hashlib.sha256(rendition.body).hexdigest()
        await object_store.put(
            object_store.media_bucket,
            key,
            rendition.body,
            content_type=rendition.format.content_type,
            cache_control=cache_control(purpose, rendition.name, visibility),
            metadata={CACHE_TAG_METADATA: cache_tag(media["_id"])},
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
    results = await asyncio.gather(*map(store, renditions), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    reach(Failpoint.RENDITIONS_CONFIRMED)
    return [result for result in results if not isinstance(result, BaseException)]


async def copy_renditions(media: MediaDocument, generation: str, object_store: ObjectStore) -> list[RenditionDocument]:
    """Write what `media` lists under the keys of `generation`, with the headers for who may see it now, and confirm it.

    What storage has lost is left out. Nothing is decoded. Raises TemporarilyUnavailable.
    """
    purpose, visibility = MediaPurpose(media["purpose"]), Visibility(media["visibility"])

    async def copy(listed: RenditionDocument) -> RenditionDocument | None:
        name, format_ = RenditionName(listed["name"]), MediaFormat(listed["format"])
        key = rendition_key(purpose, visibility, name, media["_id"], generation, format_)
        there = await object_store.copy(
            object_store.media_bucket,
            listed["key"],
            key,
            content_type=format_.content_type,
            cache_control=cache_control(purpose, name, visibility),
            metadata={CACHE_TAG_METADATA: cache_tag(media["_id"])},
        )
        if not there:
            return None
        await _confirm(object_store, key, listed["bytes"], listed["sha256"])
        return RenditionDocument({**listed, "key": key})

    results = await asyncio.gather(*map(copy, media.get("renditions", [])), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if result is not None and not isinstance(result, BaseException)]


async def _confirm(object_store: ObjectStore, key: str, size: int, sha256: str) -> None:
    if not await _is_stored(object_store, key, size, sha256):
        raise StorageRefused(f"Storage does not confirm {key} as it was written; it will be written again.")


async def _is_stored(object_store: ObjectStore, key: str, size: int, sha256: str) -> bool:
    stored = await object_store.head(object_store.media_bucket, key)
    return stored is not None and stored.bytes == size and stored.sha256 in {None, sha256}


async def confirmed_renditions(
    media: MediaDocument, generation: str, object_store: ObjectStore
) -> list[RenditionDocument]:
    """Those that `media` lists in `generation` and that storage has, as listed. Raises TemporarilyUnavailable."""
    listed = [each for each in media.get("renditions", []) if generation_of_rendition(each["key"]) == generation]
    stored = await asyncio.gather(
        *(_is_stored(object_store, each["key"], each["bytes"], each["sha256"]) for each in listed)
    )
    return [each for each, is_stored in zip(listed, stored, strict=True) if is_stored]


async def withdraw(media_id: UUID, purpose: MediaPurpose, stores: Stores, object_store: ObjectStore) -> None:
    """Remove what was written for a media that was deleted or quarantined meanwhile, or turned private or public.

    What storage had may have been listed before it was written, and the media's addresses may open it. In every other
    status somebody else may be writing the same keys, after the loss of a lease or a retry: those stay. Of a media that
    is kept nothing is removed, but put where no address leads. Raises TemporarilyUnavailable, also if storage keeps an
    object.
    """
    now = await stores.media.get(media_id, fields=_WITHDRAWAL_FIELDS)
    status = MediaStatus.DELETED if now is None else MediaStatus(now["status"])
    if status not in _WITHDRAWN:
        return
    async with removal_of(media_id, stores=stores) as kept:
        keys, status = await _needless(media_id, now, status, purpose, stores, object_store)
        if kept is None and keys is not None:
            await _withdraw(media_id, keys, status, stores, object_store)
    if kept is not None and keys:
        await put_out_of_reach(media_id, keys, stores=stores, object_store=object_store)


async def _needless(
    media_id: UUID,
    now: MediaDocument | None,
    status: MediaStatus,
    purpose: MediaPurpose,
    stores: Stores,
    object_store: ObjectStore,
) -> tuple[set[str] | None, MediaStatus]:
    """What nobody is to be shown of a media, and its status; None if that may be what it was given since."""
    keys = set(await stored_renditions(media_id, purpose, object_store))
    if now is not None and status is MediaStatus.READY:
        # Nobody writes what is for others than may see it now, and can still have it listed.
        known = {each["key"] for each in (*now.get("renditions", []), *now.get("retired_renditions", []))}
        keys = {key for key in keys - known if visibility_of_rendition(key) != now["visibility"]}
    if now is not None and status is MediaStatus.QUARANTINED:
        later = await stores.media.get(media_id, fields=("status_sequence",))
        if later is not None and later["status"] == MediaStatus.DELETED:
            status = MediaStatus.DELETED
        elif later is None or later["status_sequence"] != now["status_sequence"]:
            return None, status
    return keys, status


async def _withdraw(
    media_id: UUID, keys: set[str], status: MediaStatus, stores: Stores, object_store: ObjectStore
) -> None:
    stored = {(object_store.media_bucket, key) for key in keys}
    was_verified = status is MediaStatus.DELETED and await remove_remnants(
        media_id, stored, stores=stores, object_store=object_store
    )
    if stored and not was_verified:
        # An edge may have fetched them in between: the generation is that of what was shown.
        await remove_and_forget(media_id, stored, stores=stores, object_store=object_store)
    if status is MediaStatus.DELETED:
        deletion = (await stores.deletions.get_many([media_id])).get(media_id)
        # One that is still under way gives up the content itself, when its window ends.
        if deletion is None or deletion["stage"] != DeletionStage.HIDDEN:
            await give_up_content(media_id, stores=stores, object_store=object_store)
