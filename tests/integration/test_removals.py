"""What a media is not to be shown with any longer goes, whatever was under way, and however often removal was begun."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from schema.global_id import encode_id
from service import rendering
from service.deletion import remove_objects, request_deletions
from service.deletion_progress import follow_deletion
from service.errors import MalwareFound, StorageRefused
from service.models import Job, JobKind, MediaFormat, MediaPurpose, RenditionName, Visibility
from service.object_keys import rendition_key
from service.object_store import ObjectStore
from service.policies import POLICIES
from service.quarantine import quarantine
from service.rendition_retirement import retire_renditions
from service.stored_renditions import stored_renditions
from service.stores import bind_stores
from service.sweeper import sweep
from tests.integration.conftest import RunningService
from tests.integration.jobs_by_hand import next_job, run_job, run_next
from tests.integration.rendered_media import (
    ANNA,
    change,
    document_of,
    forget,
    overtaken_by,
    ready,
    render,
    retire,
    uploaded,
)
from tests.invalidation_stand import SHA256

SHOWN = "query M($id: ID!) { media(id: $id) { renditions { url } } }"


class Killed(BaseException):
    """The process is gone."""


@pytest.fixture(autouse=True)
async def empty_queue(service: RunningService) -> None:
    await service.runtime.database.jobs.delete_many({})


async def lock_away(service: RunningService, media_id: UUID) -> Job:
    """Malware is found in it; the job that removes what it had."""
    found: Any = await document_of(service, media_id)
    error = MalwareFound(signature="Eicar", engine="ClamAV")
    runtime = service.runtime
    await quarantine(found, error, stores=runtime.stores, object_store=runtime.object_store)
    return await next_job(service, JobKind.RETIRE)


async def ask_to_delete(service: RunningService, media_id: UUID) -> None:
    runtime, bucket = service.runtime, service.runtime.object_store.media_bucket
    await request_deletions(ANNA, [media_id], idempotency_key=uuid4().hex, stores=runtime.stores, media_bucket=bucket)


async def retire_while_storage(service: RunningService, job: Job, delete: Callable[..., Awaitable[None]]) -> None:
    """Begin to remove renditions, where storage does `delete` for a deletion."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ObjectStore, "delete", delete)
        await retire_renditions(job, stores=service.runtime.stores, object_store=service.runtime.object_store)


async def die(*_: Any) -> None:
    raise Killed


async def ignore(*_: Any) -> None:
    """Take the deletion, and keep the object."""


async def stored(service: RunningService, media_id: UUID) -> list[str]:
    return await stored_renditions(media_id, MediaPurpose.COMMUNITY, service.runtime.object_store)


async def requests(service: RunningService, media_id: UUID) -> list[dict[str, Any]]:
    return await service.runtime.database.handle["invalidations"].find({"media_id": media_id}).to_list(None)


async def stage(service: RunningService, media_id: UUID) -> str:
    return (await service.runtime.stores.deletions.get_many([media_id]))[media_id]["stage"]


async def test_a_rendering_overtaken_by_quarantine_leaves_nothing_that_opens(
    service: RunningService, http: httpx.AsyncClient
) -> None:
    media_id = await uploaded(service)
    await run_next(service, JobKind.PROCESS)
    shown = (await service.client(None).run(SHOWN, id=encode_id("Media", media_id)))["media"]
    address, _, signature = shown["renditions"][0]["url"].partition("?")
    generation = address.rpartition("/")[2].partition(".")[0]
    rendering_job = await next_job(service, JobKind.RENDER)

    async def found_hostile() -> None:
        removal = await lock_away(service, media_id)
        await run_job(service, removal)
        assert await service.runtime.stores.jobs.complete(removal)
        assert await stored(service, media_id) == []

    await run_job(service, rendering_job, jail=overtaken_by(service, found_hostile))
    assert await stored(service, media_id) == []
    await forget(service)
    # The addresses given out for the first pictures may open all of their generation.
    folder = f"{service.settings.delivery.base_url}/community/processed"
    assert (await http.get(f"{folder}/full/{media_id}/{generation}.jpg?{signature}")).status_code == 403
    assert {each["state"] for each in await requests(service, media_id)} == {"completed"}


async def test_public_copies_of_a_media_that_is_private_again_go(
    service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    media_id = await ready(service)
    await change(service, media_id, visibility="PRIVATE")
    await render(service)
    await retire(service)
    await change(service, media_id, visibility="PUBLIC")
    copy, changes = rendering.copy_renditions, iter(["PRIVATE"])

    async def overtaken(*args: Any) -> Any:
        copies = await copy(*args)
        for visibility in changes:
            await change(service, media_id, visibility=visibility)
        return copies

    monkeypatch.setattr(rendering, "copy_renditions", overtaken)
    await render(service)
    assert [key for key in await stored(service, media_id) if "/processed/" in key] == []
    shown = {each["key"] for each in (await document_of(service, media_id))["renditions"]}
    assert shown <= set(await stored(service, media_id)), "what is shown stays"


async def test_what_is_written_back_for_a_quarantined_media_goes_for_as_long_as_an_address_may_open_it(
    service: RunningService,
) -> None:
    media_id, objects, media = await ready(service), service.runtime.object_store, service.runtime.database.media
    await run_job(service, await lock_away(service, media_id))
    found: Any = await document_of(service, media_id)
    assert "waiting_since" in found, "somebody comes by"
    last = len(found["status_history"]) - 1
    life = POLICIES[MediaPurpose.COMMUNITY].longest_url_life

    async def looked_at(age: timedelta) -> None:
        """As if it had been quarantined so long ago, and were due to be looked at."""
        await service.runtime.database.jobs.delete_many({})
        at = datetime.now(UTC) - age
        await media.update_one({"_id": media_id}, {"$set": {f"status_history.{last}.at": at, "waiting_since": at}})
        await sweep(stores=service.runtime.stores, object_store=objects, grace=timedelta(0))

    late = rendition_key(MediaPurpose.COMMUNITY, Visibility.PUBLIC, RenditionName.FULL, media_id, "1", MediaFormat.WEBP)
    for age in (timedelta(seconds=5), timedelta(minutes=5), life + timedelta(minutes=1)):
        # A worker that slept through all of it, and was killed before it looked at the media again.
        await objects.put(
            objects.media_bucket,
            late,
            b"x",
            content_type="image/webp",
            cache_control="public",
            metadata={},
            sha256=SHA256,
        )
        await looked_at(age)
        [job_id] = await service.runtime.database.jobs.distinct("_id", {"media_id": media_id})
        job = await service.runtime.stores.jobs.claim(lease_s=60, worker="test", job_id=job_id)
        assert job is not None
        await run_job(service, job)
        assert await stored(service, media_id) == []
        waits = (await document_of(service, media_id)).get("waiting_since")
        assert (waits is None) == (age > life), "the last look is when the addresses have run out"


async def test_a_removal_that_died_blocks_no_deletion(service: RunningService, no_deletion_window: None) -> None:
    media_id = await ready(service)
    removal = await lock_away(service, media_id)
    with pytest.raises(Killed):
        await retire_while_storage(service, removal, die)
    assert [each["state"] for each in await requests(service, media_id)] == ["planned"]
    assert await service.runtime.stores.jobs.dead_letter(removal, reason="gave up")
    await ask_to_delete(service, media_id)
    await run_next(service, JobKind.DELETE)
    await forget(service)
    assert await stage(service, media_id) == "CDN_INVALIDATED"


async def test_a_removal_that_finds_nothing_left_to_do_lets_go_of_its_request(service: RunningService) -> None:
    media_id = await ready(service)
    removal = await lock_away(service, media_id)
    with pytest.raises(Killed):
        await retire_while_storage(service, removal, die)
    await ask_to_delete(service, media_id)
    await run_job(service, removal)
    assert [each["state"] for each in await requests(service, media_id)] == ["waiting"]


async def test_another_attempt_removes_what_came_in_between(service: RunningService) -> None:
    media_id, objects = await ready(service), service.runtime.object_store
    removal = await lock_away(service, media_id)
    with pytest.raises(Killed):
        await retire_while_storage(service, removal, die)
    late = rendition_key(
        MediaPurpose.COMMUNITY, Visibility.PUBLIC, RenditionName.FULL, media_id, "late", MediaFormat.WEBP
    )
    await objects.put(
        objects.media_bucket, late, b"x", content_type="image/webp", cache_control="public", metadata={}, sha256=SHA256
    )
    await run_job(service, removal)
    assert await stored(service, media_id) == []
    assert (await document_of(service, media_id))["renditions"] == []
    [request] = await requests(service, media_id)
    assert late in request["keys"]
    assert request["state"] == "waiting"


async def test_edges_are_not_told_to_forget_what_storage_has_kept(service: RunningService) -> None:
    media_id = await ready(service)
    removal = await lock_away(service, media_id)
    with pytest.raises(StorageRefused):
        await retire_while_storage(service, removal, ignore)
    assert [each["state"] for each in await requests(service, media_id)] == ["planned"]
    assert (await document_of(service, media_id))["renditions"] != []


async def test_a_deletion_from_before_there_was_a_cdn_is_verified_at_the_edge_all_the_same(
    service: RunningService, no_deletion_window: None
) -> None:
    media_id, runtime = await ready(service), service.runtime
    await runtime.database.uploads.delete_one({"_id": media_id})
    await ask_to_delete(service, media_id)
    job = await next_job(service, JobKind.DELETE)
    await remove_objects(job, stores=bind_stores(runtime.database), object_store=runtime.object_store)
    await run_next(service, JobKind.VERIFY)
    deletion = follow_deletion(ANNA, media_id, stores=runtime.stores, change_feed=service.change_feed)
    async with asyncio.timeout(5):
        assert [each["stage"] async for each in deletion] == ["VERIFIED"]
    entry = await runtime.database.handle["audit"].find_one({"id": f"deletion-verified:{media_id}"})
    assert entry["details"]["edges"]["told"] is True


async def test_edges_that_were_told_of_half_a_deletion_do_not_end_it(
    service: RunningService, no_deletion_window: None
) -> None:
    """The last run was by a worker that knows of no CDN; whatever else edges forget of the media says nothing."""
    media_id, runtime = await ready(service), service.runtime
    await ask_to_delete(service, media_id)
    job = await next_job(service, JobKind.DELETE)
    await remove_objects(job, stores=bind_stores(runtime.database), object_store=runtime.object_store)
    assert runtime.stores.invalidations is not None
    request = await runtime.stores.invalidations.plan_apart(media_id, ["community/processed/feed/x/1.jpg"])
    await runtime.stores.invalidations.release(request)
    await forget(service)
    assert await stage(service, media_id) == "OBJECTS_REMOVED"
