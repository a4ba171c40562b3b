"""Media that storage has, and their deletions, carried on by hand."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from service.deletion import request_deletions
from service.deletion_upkeep import attend_deletions
from service.models import JobKind
from tests.documents import ready_media
from tests.integration.conftest import RunningService
from tests.integration.jobs_by_hand import run_next
from tests.integration.rendered_media import ANNA, forget
from tests.invalidation_stand import SHA256


async def put(service: RunningService, bucket: str, key: str) -> None:
    await service.runtime.object_store.put(
        bucket, key, b"x", content_type="image/jpeg", cache_control="public, max-age=600", metadata={}, sha256=SHA256
    )


async def stored_media(service: RunningService, **changed: Any) -> Any:
    """A READY media whose objects storage has."""
    media, store = ready_media(**changed), service.runtime.object_store
    media["original"]["bucket"] = store.upload_bucket
    await service.runtime.database.media.insert_one(media)
    await put(service, store.upload_bucket, media["original"]["key"])
    for rendition in media["renditions"]:
        await put(service, store.media_bucket, rendition["key"])
    return media


async def delete(service: RunningService, *media_ids: UUID) -> None:
    bucket = service.runtime.object_store.media_bucket
    await request_deletions(
        ANNA, media_ids, idempotency_key=uuid4().hex, stores=service.runtime.stores, media_bucket=bucket
    )


async def deletion_of(service: RunningService, media_id: UUID) -> Any:
    return (await service.runtime.stores.deletions.get_many([media_id]))[media_id]


async def verified(service: RunningService, media_id: UUID) -> Any:
    """The deletion, carried to its last stage by jobs and rounds of invalidations alone."""
    await delete(service, media_id)
    await run_next(service, JobKind.DELETE)
    await forget(service)
    await run_next(service, JobKind.VERIFY)
    deletion = await deletion_of(service, media_id)
    assert deletion["stage"] == "VERIFIED"
    return deletion


async def entries(service: RunningService, media_id: UUID) -> list[dict[str, Any]]:
    rows = service.runtime.database.handle["audit"].find({"subject": str(media_id), "action": {"$regex": "^deletion"}})
    found: list[dict[str, Any]] = await rows.sort("sequence", 1).to_list(None)
    return found


async def make_due(service: RunningService, media_id: UUID) -> None:
    """As if it were time for the sweeper to look at it."""
    await service.runtime.database.deletions.update_one(
        {"_id": media_id}, [{"$set": {"look_at": {"$subtract": ["$$NOW", 1]}}}]
    )


async def swept(service: RunningService, media_id: UUID) -> None:
    """What the sweeper starts when it comes by, and the job that it starts."""
    await make_due(service, media_id)
    assert await attend_deletions(stores=service.runtime.stores) == 1
    await run_next(service, JobKind.VERIFY)
