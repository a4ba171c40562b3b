"""Which renditions of a media storage holds, whatever its document says."""

from __future__ import annotations

from itertools import product
from uuid import UUID

from service.models import MediaPurpose, Visibility
from service.object_keys import rendition_prefix
from service.object_store import ObjectStore
from service.policies import POLICIES


async def stored_renditions(media_id: UUID, purpose: MediaPurpose, object_store: ObjectStore) -> list[str]:
    """Keys in the media bucket, of every generation and format, whomever they were made for."""
    keys: list[str] = []
    for rendition, visibility in product(POLICIES[purpose].renditions, Visibility):
        prefix = rendition_prefix(purpose, visibility, rendition.name, media_id)
        keys += [entry.key async for entry in object_store.list_objects(object_store.media_bucket, prefix)]
    return keys
