"""Of a media that is out of sight, bytes are kept for as long as they must be, and none of its addresses opens them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from service import kept_renditions
from service.deletion import request_deletions
from service.errors import OnHold, StorageRefused
from service.legal_holds import lift_hold, place_hold
from service.models import Job, JobKind, MediaPurpose
from service.moderation import quarantine_owner
from service.object_keys import is_kept_rendition, visibility_of_rendition
from service.object_store import ObjectStore
from service.reconciliation import Finding
from service.rendition_storage import withdraw
from service.stored_renditions import stored_renditions
from service.stores import bind_stores
from service.stores.renditions import RenditionStore
from service.sweeper import sweep
from service.upkeep import sweep_once
from tests.integration.conftest import RunningService
from tests.integration.jobs_by_hand import next_job, run_job, run_next
from tests.integration.kept_objects import deletion_of, kept_of, on_record, repaired
from tests.integration.rendered_media import ANNA, change, document_of, forget, keys_of, render
from tests.integration.shown_media import content_of, put_back, shown

PURPOSE = MediaPurpose.COMMUNITY


class Killed(BaseException):
    """The process is gone."""


@pytest.fixture(autouse=True)
async def nothing_before(service: RunningService, no_deletion_window: None) -> None:
    for name in ("jobs", "holds", "deletions", "invalidations", "media"):
        await service.runtime.database.handle[name].delete_many({})


async def hold(service: RunningService, media_id: UUID) -> UUID:
    stores = service.runtime.stores
    return (await place_hold(media_id=media_id, by="counsel", reason="A case", stores=stores)).hold["_id"]


async def delete(service: RunningService, media_id: UUID) -> Job:
    runtime, bucket = service.runtime, service.runtime.object_store.media_bucket
    await request_deletions(ANNA, [media_id], idempotency_key=uuid4().hex, stores=runtime.stores, media_bucket=bucket)
    return await next_job(service, JobKind.DELETE)


async def quarantine(service: RunningService, media_id: UUID) -> Job:
    owner_id = f"anna-{media_id}"
    await service.runtime.database.media.update_one({"_id": media_id}, {"$set": {"owner_id": owner_id}})
    await quarantine_owner(
        owner_id, by="mo", reason="Not a pet.", stores=service.runtime.stores, on_page=lambda _: None
    )
    return await next_job(service, JobKind.RETIRE)


async def turn_private(service: RunningService, media_id: UUID) -> Job:
    await change(service, media_id, visibility="PRIVATE")
    await render(service)
    return await next_job(service, JobKind.RETIRE)


Way = Callable[[RunningService, UUID], Awaitable[Job]]
HIDDEN: tuple[Way, ...] = (delete, quarantine, turn_private)
ways = pytest.mark.parametrize("hide", HIDDEN, ids=lambda hide: hide.__name__)


async def run_held(service: RunningService, job: Job) -> None:
    """The job, which may wait for a hold; its turn comes again."""
    with suppress(OnHold):
        await run_job(service, job)
    await forget(service)


async def findings_of(service: RunningService, media_id: UUID) -> list[Finding]:
    """What a comparison that repairs says of what storage has of a media."""
    found = await repaired(service, media_id, restart=True)
    return [each for each in found if f"/{media_id}/" in each.what]


async def gone_and_certified(service: RunningService, media_id: UUID) -> None:
    """The deletion goes on once nothing keeps it: everything goes, and a certificate says so."""
    await sweep_once(service.runtime)
    await run_next(service, JobKind.DELETE)
    await forget(service)
    await run_next(service, JobKind.VERIFY)
    deletion = await deletion_of(service, media_id)
    assert deletion["stage"] == "VERIFIED"
    [entry] = await on_record(service, subject=str(media_id), action="deletion.verified")
    assert entry["hash"] == deletion["certificate"]
    assert await stored_renditions(media_id, PURPOSE, service.runtime.object_store) == []
    assert "kept_under" not in await document_of(service, media_id)


async def lifted(service: RunningService, hold_id: UUID, media_id: UUID, job: Job) -> None:
    """Everything goes that was kept for the hold alone."""
    stores = service.runtime.stores
    await lift_hold(hold_id, by="counsel", stores=stores)
    if job.kind is JobKind.DELETE:
        assert await stores.jobs.complete(job)
        await gone_and_certified(service, media_id)
        return
    await run_job(service, job)
    assert await stores.jobs.complete(job)
    assert await kept_of(service, media_id) == set()
    media = await document_of(service, media_id)
    assert media.get("retired_renditions", []) == []
    stored = await stored_renditions(media_id, PURPOSE, service.runtime.object_store)
    assert sorted(stored) == sorted(keys_of(media))


@ways
async def test_what_a_hold_keeps_opens_by_no_address(
    service: RunningService, http: httpx.AsyncClient, hide: Way
) -> None:
    was = await shown(service, http)
    hold_id = await hold(service, was.media_id)
    job = await hide(service, was.media_id)
    await run_held(service, job)
    assert await was.opens(service, http) == {403}
    kept = await kept_of(service, was.media_id)
    assert await content_of(service, kept) == was.content
    assert {visibility_of_rendition(key) for key in kept} == {"PRIVATE"}
    # Nor is it anybody's to clear away, nor moved once more when its turn comes again.
    assert [each for each in await findings_of(service, was.media_id) if each.kind == "orphan_rendition"] == []
    await run_held(service, job)
    assert await kept_of(service, was.media_id) == kept
    await lifted(service, hold_id, was.media_id, job)


async def test_addresses_of_what_was_private_do_not_open_what_is_kept(
    service: RunningService, http: httpx.AsyncClient
) -> None:
    was = await shown(service, http, visibility="PRIVATE")
    hold_id = await hold(service, was.media_id)
    job = await delete(service, was.media_id)
    await run_held(service, job)
    assert await was.opens(service, http) == {403}
    assert await content_of(service, await kept_of(service, was.media_id)) == was.content
    await lifted(service, hold_id, was.media_id, job)


async def test_however_often_storage_refuses_nobody_gives_up(
    service: RunningService, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    was, stores, moved = await shown(service, http), service.runtime.stores, asyncio.Event()
    await hold(service, was.media_id)
    assert await stores.jobs.release(await delete(service, was.media_id))
    copy, list_kept = ObjectStore.copy, RenditionStore.list_kept
    refusals = iter(range(len(was.keys) * (service.settings.worker.max_attempts + 1)))

    async def refusing(*args: Any, **more: Any) -> bool:
        if next(refusals, None) is not None:
            raise StorageRefused("Storage does not take it.")
        return await copy(*args, **more)

    async def told(*args: Any) -> None:
        await list_kept(*args)
        moved.set()

    monkeypatch.setattr(ObjectStore, "copy", refusing)
    monkeypatch.setattr(RenditionStore, "list_kept", told)
    async with service.working(), asyncio.timeout(30):
        await moved.wait()
    await forget(service)
    assert await was.opens(service, http) == {403}


@pytest.fixture
def kept_for_years(service: RunningService) -> Iterator[None]:
    runtime = service.runtime
    kept = bind_stores(runtime.database, invalidates=True, keep_for={PURPOSE: timedelta(days=3_650)})
    service.runtime = replace(runtime, stores=kept)
    yield
    service.runtime = runtime


async def test_what_a_period_keeps_opens_by_no_address(
    service: RunningService, http: httpx.AsyncClient, kept_for_years: None
) -> None:
    was, database = await shown(service, http), service.runtime.database
    job = await delete(service, was.media_id)
    await run_held(service, job)
    assert (await deletion_of(service, was.media_id))["stage"] == "BLOCKED_BY_RETENTION"
    assert await was.opens(service, http) == {403}
    assert await content_of(service, await kept_of(service, was.media_id)) == was.content
    assert await service.runtime.stores.jobs.complete(job)
    # Years later.
    await database.media.update_one({"_id": was.media_id}, {"$set": {"created_at": datetime(2010, 1, 1, tzinfo=UTC)}})
    await database.deletions.update_one({"_id": was.media_id}, {"$set": {"look_at": datetime.now(UTC)}})
    await gone_and_certified(service, was.media_id)


def _killed(*_args: Any, **_more: Any) -> Any:
    raise Killed


DEATHS: tuple[tuple[Way, Any, str], ...] = (
    # The one that is written down before.
    (turn_private, ObjectStore, "copy"),
    *((each, kept_renditions, "remove_and_forget") for each in HIDDEN),
    *((each, RenditionStore, "list_kept") for each in HIDDEN),
)


@pytest.mark.parametrize(("hide", "holder", "step"), DEATHS, ids=[f"{each[0].__name__}-{each[2]}" for each in DEATHS])
async def test_whoever_dies_before_any_of_the_steps_is_followed_by_the_next(
    service: RunningService, http: httpx.AsyncClient, hide: Way, holder: Any, step: str
) -> None:
    was = await shown(service, http)
    hold_id = await hold(service, was.media_id)
    job = await hide(service, was.media_id)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(holder, step, _killed)
        with pytest.raises(Killed):
            await run_job(service, job)
    stored = set(await stored_renditions(was.media_id, PURPOSE, service.runtime.object_store))
    ours = {key for key in stored if is_kept_rendition(key) or key in was.keys}
    assert set(await content_of(service, ours)) == set(was.content), "no byte was lost"
    await run_held(service, job)
    assert await was.opens(service, http) == {403}
    assert await content_of(service, await kept_of(service, was.media_id)) == was.content
    await lifted(service, hold_id, was.media_id, job)


@ways
async def test_a_hold_that_ends_half_way_leaves_nothing_behind(
    service: RunningService, http: httpx.AsyncClient, hide: Way
) -> None:
    was = await shown(service, http)
    hold_id = await hold(service, was.media_id)
    job = await hide(service, was.media_id)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept_renditions, "remove_and_forget", _killed)
        with pytest.raises(Killed):
            await run_job(service, job)
    assert len(await kept_of(service, was.media_id)) == len(was.keys)
    await lifted(service, hold_id, was.media_id, job)
    await forget(service)
    assert await was.opens(service, http) == {403}


async def test_what_is_written_late_is_put_out_of_reach_as_well(
    service: RunningService, http: httpx.AsyncClient
) -> None:
    was, runtime = await shown(service, http), service.runtime
    hold_id = await hold(service, was.media_id)
    job = await delete(service, was.media_id)
    await run_held(service, job)
    key = await put_back(service, was)
    assert 200 in await was.opens(service, http)
    await withdraw(was.media_id, PURPOSE, runtime.stores, runtime.object_store)
    await forget(service)
    assert await was.opens(service, http) == {403}
    assert await runtime.object_store.head(runtime.object_store.media_bucket, key) is None
    await lifted(service, hold_id, was.media_id, job)


async def test_what_is_written_late_for_a_quarantined_media_is_found_under_a_hold(
    service: RunningService, http: httpx.AsyncClient
) -> None:
    was, runtime = await shown(service, http), service.runtime
    job = await quarantine(service, was.media_id)
    await run_job(service, job)
    await forget(service)
    assert await runtime.stores.jobs.complete(job)
    hold_id = await hold(service, was.media_id)
    await put_back(service, was)
    await sweep(stores=runtime.stores, object_store=runtime.object_store, grace=timedelta(seconds=-1))
    search = await next_job(service, JobKind.RETIRE)
    await run_held(service, search)
    assert await was.opens(service, http) == {403}
    assert len(await kept_of(service, was.media_id)) == 1
    await lifted(service, hold_id, was.media_id, search)
