"""Which renditions of a media storage holds, whatever its document says."""

from __future__ import annotations

from uuid import UUID

from service.models import MediaPurpose
from service.object_keys import rendition_prefix
from service.object_store import ObjectStore
from service.policies import POLICIES


async def stored_renditions(media_id: UUID, purpose: MediaPurpose, object_store: ObjectStore) -> list[str]:
    """Keys in the media bucket, of every generation and format."""
    keys: list[str] = []
    for rendition in POLICIES[purpose].renditions:
        prefix = rendition_prefix(purpose, rendition.name, media_id)
        keys += [entry.key async for entry in object_store.list_objects(object_store.media_bucket, prefix)]
    return keys
