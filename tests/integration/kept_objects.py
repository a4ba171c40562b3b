"""Media whose objects storage has, and what is left of these."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from service.models import MediaPurpose
from service.object_keys import is_kept_rendition, kept_rendition_key, media_of_rendition
from service.reconciliation import Finding, RunOptions, reconcile
from service.stored_renditions import stored_renditions
from tests.documents import ready_media
from tests.integration.conftest import RunningService
from tests.invalidation_stand import SHA256

Keys = set[tuple[str, str]]
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


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
    """Those of its objects whose bytes are still there, and what is kept out of reach of others of it."""
    store, database = service.runtime.object_store, service.runtime.database
    secret = (await database.media.find_one({"_id": media["_id"]}, {"kept_under": 1}) or {}).get("kept_under")
    left = {(store.media_bucket, key) for key in await kept_of(service, media["_id"], media["purpose"])}
    for bucket, key in keys_of(service, media):
        place = (bucket, kept_rendition_key(key, secret) if secret and media_of_rendition(key) else key)
        if place in left or await store.head(bucket, key) is not None:
            left = {*left - {place}, (bucket, key)}
    return left


async def kept_of(service: RunningService, media_id: UUID, purpose: str = "COMMUNITY") -> set[str]:
    """Keys in the media bucket under which what it was shown with is kept out of reach."""
    stored = await stored_renditions(media_id, MediaPurpose(purpose), service.runtime.object_store)
    return set(filter(is_kept_rendition, stored))


async def repaired(service: RunningService, media_id: UUID, *, restart: bool) -> list[Finding]:
    """What a comparison of storage with the database finds and repairs, once the media has long been at rest."""
    runtime, found = service.runtime, list[Finding]()
    await runtime.database.media.update_one({"_id": media_id}, {"$set": {"updated_at": LONG_AGO}})
    await reconcile(
        RunOptions(apply=True, older_than=timedelta(0), restart=restart),
        database=runtime.database,
        stores=runtime.stores,
        object_store=runtime.object_store,
        on_finding=found.append,
        on_interruption=lambda _: None,
    )
    return found


async def deletion_of(service: RunningService, media_id: UUID) -> Any:
    return (await service.runtime.stores.deletions.get_many([media_id]))[media_id]


async def on_record(service: RunningService, **entry: Any) -> list[dict[str, Any]]:
    """The entries of the audit chains that have these values."""
    await service.runtime.stores.audit.settle_all()
    found: list[dict[str, Any]] = await service.runtime.database.handle["audit"].find(entry).to_list(None)
    return found
