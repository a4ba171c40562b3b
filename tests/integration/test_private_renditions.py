"""What turns private is private whatever dies, fails or comes first, and nobody keeps an address that opens it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from pymongo.errors import AutoReconnect

from schema.global_id import encode_id
from service import rendering
from service.deletion import request_deletions
from service.errors import TemporarilyUnavailable
from service.models import JobKind, MediaPurpose, Visibility
from service.object_keys import visibility_of_rendition
from service.object_store import ObjectStore
from service.rendering import leave_as_it_is
from service.stored_renditions import stored_renditions
from service.stores.jobs import JobStore
from service.sweeper import sweep
from tests.integration.conftest import RunningService
from tests.integration.jobs_by_hand import next_job, no_job, run_job, run_next
from tests.integration.rendered_media import (
    ANNA,
    CORNER,
    change,
    document_of,
    forget,
    headers_of,
    keys_of,
    overtaken_by,
    ready,
    render,
    retire,
)

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
async def empty_queue(service: RunningService) -> None:
    await service.runtime.database.jobs.delete_many({})


@pytest.fixture
async def media_id(service: RunningService) -> UUID:
    return await ready(service)


async def sweep_now(service: RunningService) -> None:
    runtime = service.runtime
    await sweep(stores=runtime.stores, object_store=runtime.object_store, grace=timedelta(seconds=-1))


async def assert_private(service: RunningService, media_id: UUID, once_public: set[str]) -> None:
    """Everything listed is there, as private; nothing of what was public is."""
    keys = keys_of(await document_of(service, media_id))
    assert {visibility_of_rendition(key) for key in keys} == {Visibility.PRIVATE}
    headers = await headers_of(service, keys)
    assert len(headers) == 9
    assert all(header and header.startswith("private,") for header in headers)
    assert set(await headers_of(service, once_public)) == {None}


async def test_death_before_the_public_ones_are_removed(service: RunningService, media_id: UUID) -> None:
    public = keys_of(await document_of(service, media_id))
    await change(service, media_id, visibility="PRIVATE")
    with pytest.MonkeyPatch.context() as patch:
        # As if it died right after its write.
        patch.setattr(rendering, "enqueue_retirement", _away)
        with pytest.raises(TemporarilyUnavailable):
            await run_next(service, JobKind.RENDER)
    await sweep_now(service)
    await render(service)
    await retire(service)
    await assert_private(service, media_id, public)


async def _away(*_args: Any, **_more: Any) -> None:
    raise TemporarilyUnavailable("Storage is away.")


async def test_removal_that_fails_is_tried_again(service: RunningService, media_id: UUID) -> None:
    public = keys_of(await document_of(service, media_id))
    await change(service, media_id, visibility="PRIVATE")
    await render(service)
    job = await next_job(service, JobKind.RETIRE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ObjectStore, "delete", _away)
        with pytest.raises(TemporarilyUnavailable):
            await run_job(service, job)
    await run_job(service, job)
    await assert_private(service, media_id, public)


async def test_what_the_edge_has_cached_opens_no_longer(
    service: RunningService, media_id: UUID, http: httpx.AsyncClient
) -> None:
    query = "query M($id: ID!) { media(id: $id) { renditions { url } } }"
    shown = (await service.client(None).run(query, id=encode_id("Media", media_id)))["media"]["renditions"]
    urls = [rendition["url"] for rendition in shown]
    assert {(await http.get(url)).status_code for url in urls} == {200}
    await change(service, media_id, visibility="PRIVATE")
    await render(service)
    await retire(service)
    await forget(service)
    assert {(await http.get(url)).status_code for url in urls} == {403}


async def test_what_was_replaced_before_goes_as_well(service: RunningService, media_id: UUID) -> None:
    public = keys_of(await document_of(service, media_id))
    await change(service, media_id, focus=CORNER)
    await render(service)
    public |= keys_of(await document_of(service, media_id))
    assert None not in await headers_of(service, public)
    await change(service, media_id, visibility="PRIVATE")
    await render(service)
    await retire(service)
    await assert_private(service, media_id, public)


async def test_it_needs_no_original(service: RunningService, media_id: UUID) -> None:
    before = await document_of(service, media_id)
    await service.runtime.object_store.delete(before["original"]["bucket"], [before["original"]["key"]])
    await change(service, media_id, visibility="PRIVATE")
    await render(service)
    await retire(service)
    await assert_private(service, media_id, keys_of(before))
    await no_job(service)


async def test_later_change_is_not_lost_with_an_earlier_one_that_failed(
    service: RunningService, media_id: UUID
) -> None:
    public, stores = keys_of(await document_of(service, media_id)), service.runtime.stores
    await change(service, media_id, focus=CORNER)
    job = await next_job(service, JobKind.RENDER)
    await stores.renditions.hold(media_id, job.fence, fields=())

    async def dying(*_args: Any, **_more: Any) -> None:
        raise AutoReconnect("connection lost")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JobStore, "enqueue", dying)
        with pytest.raises(AutoReconnect):
            await change(service, media_id, visibility="PRIVATE")
    await leave_as_it_is(job, stores=stores)
    await stores.jobs.dead_letter(job, reason="It cannot be decoded.")
    await sweep_now(service)
    await render(service)
    await retire(service)
    await assert_private(service, media_id, public)


async def test_rendering_that_dies_beside_a_deletion_leaves_nothing(
    service: RunningService, media_id: UUID, no_deletion_window: None
) -> None:
    runtime = service.runtime
    # Its session was over long ago: the deletion has no reason to look again.
    await runtime.database.uploads.update_one({"_id": media_id}, {"$set": {"expires_at": LONG_AGO}})
    await change(service, media_id, focus=CORNER)

    async def delete() -> None:
        await request_deletions(
            ANNA,
            [media_id],
            idempotency_key=uuid4().hex,
            stores=runtime.stores,
            media_bucket=runtime.object_store.media_bucket,
        )
        await run_next(service, JobKind.DELETE)

    class Killed(BaseException):
        pass

    store_renditions = rendering.store_renditions

    async def store_and_die(*args: Any, **more: Any) -> None:
        await store_renditions(*args, **more)
        raise Killed

    job = await next_job(service, JobKind.RENDER)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rendering, "store_renditions", store_and_die)
        with pytest.raises(Killed):
            await run_job(service, job, jail=overtaken_by(service, delete))
    purpose = MediaPurpose.COMMUNITY
    assert len(await stored_renditions(media_id, purpose, runtime.object_store)) > 0
    await runtime.stores.jobs.release(job)
    # The rendering itself clears up; verifying the deletion would as well.
    await runtime.database.jobs.delete_many({"kind": JobKind.VERIFY.value})
    await render(service)
    assert await stored_renditions(media_id, purpose, runtime.object_store) == []
