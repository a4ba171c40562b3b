"""Keeping what a media was shown with, and none of its addresses: whatever holds or periods keep is moved out of reach.

A hold, or a minimum retention, is about bytes. They go on under keys of the private folder that nobody was ever given.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final
from uuid import UUID

from service.distribution import CACHE_TAG_METADATA, cache_tag
from service.errors import StorageRefused, TemporarilyUnavailable
from service.models import StoredObject
from service.object_keys import is_kept_rendition, kept_rendition_key, media_of_rendition
from service.object_store import ObjectStore
from service.remnants import remove_and_forget
from service.stores import Stores

_CACHE_CONTROL: Final = "private, no-store"


async def put_out_of_reach(media_id: UUID, keys: Collection[str], *, stores: Stores, object_store: ObjectStore) -> None:
    """Have the bytes under `keys`, renditions of a media, kept where no address leads, and edges forget these keys.

    Where they go follows from their key, and is written down before: whoever dies here is followed by another call, and
    what ends the keeping finds all of them. Nothing is removed that storage does not confirm elsewhere. Repeats are
    free. Raises TemporarilyUnavailable.
    """
    try:
        await _move(media_id, keys, stores, object_store)
    except StorageRefused as error:
        # A job that is given up would leave it open for as long as it is kept.
        raise TemporarilyUnavailable(error.message) from error


async def _move(media_id: UUID, keys: Collection[str], stores: Stores, object_store: ObjectStore) -> None:
    shown = sorted(key for key in keys if media_of_rendition(key) is not None and not is_kept_rendition(key))
    if not shown:
        return
    secret = await stores.renditions.secret_of(media_id)
    if secret is None:
        return
    places = {key: kept_rendition_key(key, secret) for key in shown}
    bucket = object_store.media_bucket
    await stores.renditions.expect_kept(media_id, places)
    await stores.deletions.add_objects(media_id, {(bucket, key) for key in (*places, *places.values())})
    outcomes = await asyncio.gather(
        *(_copy(media_id, key, place, object_store) for key, place in places.items()), return_exceptions=True
    )
    # Not before all have ended: none goes on writing behind the back of a deletion.
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    moved = {key: place for (key, place), is_kept in zip(places.items(), outcomes, strict=True) if is_kept}
    if moved:
        await remove_and_forget(media_id, {(bucket, key) for key in moved}, stores=stores, object_store=object_store)
        await stores.renditions.list_kept(media_id, moved)


async def _copy(media_id: UUID, key: str, place: str, object_store: ObjectStore) -> bool:
    """Whether storage has under `place` what it had under `key`, perhaps from an earlier call; False if it has none."""
    bucket = object_store.media_bucket
    shown = await object_store.head(bucket, key)
    if shown is not None:
        await object_store.copy(
            bucket,
            key,
            place,
            content_type=shown.content_type,
            cache_control=_CACHE_CONTROL,
            metadata={CACHE_TAG_METADATA: cache_tag(media_id)},
        )
    kept = await object_store.head(bucket, place)
    if shown is not None and (kept is None or not _is_same(shown, kept)):
        raise StorageRefused(f"Storage does not confirm what it keeps of {key}; it will be copied again.")
    return kept is not None


def _is_same(one: StoredObject, other: StoredObject) -> bool:
    # Some storage keeps no checksums.
    is_unlike = one.sha256 is not None and other.sha256 is not None and one.sha256 != other.sha256
    return one.bytes == other.bytes and not is_unlike
