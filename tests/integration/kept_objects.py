"""Media whose objects storage has, and what is left of these."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from tests.documents import ready_media
from tests.integration.conftest import RunningService
from tests.invalidation_stand import SHA256

Keys = set[tuple[str, str]]


async def put(service: RunningService, bucket: str, key: str) -> None:
    await service.runtime.object_store.put(
        bucket, key, b"x", content_type="image/jpeg", cache_control="public, max-age=600", metadata={}, sha256=SHA256
    )


async def stored_media(service: RunningService, **changed: Any) -> Any:
    """A READY media whose objects storage has."""
    media, store = ready_media(**changed), service.runtime.object_store
    media["original"]["bucket"] = store.upload_bucket
    await service.runtime.database.media.insert_one(media)
    for bucket, key in keys_of(service, media):
        await put(service, bucket, key)
    return media


def keys_of(service: RunningService, media: Any) -> Keys:
    """What storage has of it, as bucket and key."""
    renditions = {(service.runtime.object_store.media_bucket, each["key"]) for each in media["renditions"]}
    return {*renditions, (service.runtime.object_store.upload_bucket, media["original"]["key"])}


async def left_of(service: RunningService, media: Any) -> Keys:
    """Those of its objects that are still there."""
    store = service.runtime.object_store
    return {each for each in keys_of(service, media) if await store.head(*each) is not None}


async def deletion_of(service: RunningService, media_id: UUID) -> Any:
    return (await service.runtime.stores.deletions.get_many([media_id]))[media_id]


async def on_record(service: RunningService, **entry: Any) -> list[dict[str, Any]]:
    """The entries of the audit chains that have these values."""
    await service.runtime.stores.audit.settle_all()
    found: list[dict[str, Any]] = await service.runtime.database.handle["audit"].find(entry).to_list(None)
    return found
