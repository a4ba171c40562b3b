"""How long whoever fetches a rendition may keep it, and by which tag edges forget it: on the objects themselves."""

from __future__ import annotations

from typing import Any, cast
from uuid import uuid4

import pytest

from service.distribution import CACHE_TAG_METADATA
from service.documents import MediaDocument
from service.models import MediaFormat, MediaPurpose, Rendition, RenditionName, Visibility
from service.object_store import ObjectStore
from service.rendition_storage import copy_renditions, store_renditions

HOUR, DAY = 3_600, 86_400
PUBLIC, PRIVATE = Visibility.PUBLIC, Visibility.PRIVATE


def media(purpose: MediaPurpose, visibility: Visibility, **more: Any) -> MediaDocument:
    return cast(MediaDocument, {"_id": uuid4(), "purpose": purpose.value, "visibility": visibility.value, **more})


def rendition(name: RenditionName) -> Rendition:
    return Rendition(name=name, format=MediaFormat.WEBP, width=1, height=1, body=b"not quite a picture")


@pytest.mark.parametrize(
    ("purpose", "visibility", "kept_s"),
    [
        (MediaPurpose.COMMUNITY, PUBLIC, {RenditionName.THUMBNAIL: 30 * DAY, RenditionName.FEED: 7 * DAY}),
        (MediaPurpose.PET_TAG, PUBLIC, {RenditionName.THUMBNAIL: 30 * DAY, RenditionName.FEED: 7 * DAY}),
        (MediaPurpose.PROFILE, PUBLIC, {RenditionName.THUMBNAIL: 24 * HOUR, RenditionName.FEED: 24 * HOUR}),
        (MediaPurpose.FOOD_LABEL, PRIVATE, {RenditionName.THUMBNAIL: 30 * DAY, RenditionName.FEED: 7 * DAY}),
        (MediaPurpose.MEDICAL, PRIVATE, {RenditionName.THUMBNAIL: 300, RenditionName.FEED: 300}),
    ],
)
async def test_headers_follow_rendition_purpose_and_visibility(
    object_store: ObjectStore, purpose: MediaPurpose, visibility: Visibility, kept_s: dict[RenditionName, int]
) -> None:
    owner = media(purpose, visibility)
    listed = await store_renditions(owner, [rendition(name) for name in kept_s], "g1", object_store)
    for each, seconds in zip(listed, kept_s.values(), strict=True):
        stored = await object_store.get(object_store.media_bucket, each["key"])
        assert stored is not None
        expected = f"public, max-age={seconds}, immutable" if visibility is PUBLIC else f"private, max-age={seconds}"
        assert stored.cache_control == expected
        assert stored.metadata == {CACHE_TAG_METADATA: str(owner["_id"])}


async def test_what_turns_private_is_copied_with_headers_that_no_shared_cache_keeps(object_store: ObjectStore) -> None:
    owner = media(MediaPurpose.COMMUNITY, PUBLIC)
    listed = await store_renditions(owner, [rendition(RenditionName.FEED)], "g1", object_store)
    turned = cast(MediaDocument, {**owner, "visibility": "PRIVATE", "renditions": listed})
    [copied] = await copy_renditions(turned, "g2", object_store)
    stored = await object_store.get(object_store.media_bucket, copied["key"])
    assert stored is not None
    assert stored.cache_control == f"private, max-age={7 * DAY}"
    assert stored.metadata == {CACHE_TAG_METADATA: str(owner["_id"])}
