"""A CDN that is switched on, or begins to read tags, amid deletions; requests that nobody goes on with."""

from __future__ import annotations

from typing import Any

import pytest
from uuid6 import uuid7

from service import deletion
from service.distribution import CACHE_TAG_HEADER
from service.invalidation.cloudfront import CloudFront, UnsendableBatch
from service.invalidation.dispatch import InvalidationDispatch
from service.models import Job, MediaPurpose
from service.stores import bind_stores
from tests.invalidation_stand import ROOT, Stand, folders

DAY_MS = 86_400_000


@pytest.fixture
def windows_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Originals of medical media are kept for an hour after their deletion."""
    policy = deletion.POLICIES[MediaPurpose.MEDICAL].model_copy(update={"deletion_window_s": 3_600})
    monkeypatch.setattr(deletion, "POLICIES", {**deletion.POLICIES, MediaPurpose.MEDICAL: policy})


async def last_run(stand: Stand, job: Job) -> Job:
    """The deletion's second job, when the window has ended."""
    handle = stand.database.handle
    await handle["deletions"].update_one(
        {"_id": job.media_id}, [{"$set": {"requested_at": {"$subtract": ["$$NOW", DAY_MS]}}}]
    )
    second = f"{job.media_id}:delete:2"
    await handle["jobs"].update_one({"_id": second}, [{"$set": {"visible_at": "$$NOW"}}])
    claimed = await stand.stores.jobs.claim(lease_s=60, worker="test", job_id=second)
    assert claimed is not None
    return claimed


def asked(stand: Stand) -> set[str]:
    return {item for items in stand.distribution.asked() for item in items}


async def test_a_cdn_that_is_switched_on_meanwhile_is_told_of_everything(stand: Stand, windows_by_hand: None) -> None:
    job, told = await stand.deleted(), stand.stores
    stand.stores = bind_stores(stand.database)
    await stand.remove(job)
    stand.stores = told
    await stand.remove(await last_run(stand, job))
    await stand.settle()
    assert asked(stand) == folders(job)
    assert await stand.stage(job.media_id) == "CDN_INVALIDATED"


async def test_what_was_told_once_is_not_told_again(stand: Stand, windows_by_hand: None) -> None:
    job = await stand.deleted()
    await stand.remove(job)
    await stand.settle()
    assert await stand.stage(job.media_id) == "HIDDEN"
    await stand.remove(await last_run(stand, job))
    await stand.settle()
    assert sum(len(items) for items in stand.distribution.asked()) == len(folders(job))
    assert asked(stand) == folders(job)
    assert await stand.stage(job.media_id) == "CDN_INVALIDATED"


async def test_a_cdn_that_is_switched_off_meanwhile_is_not_said_to_have_forgotten(
    stand: Stand, windows_by_hand: None
) -> None:
    job = await stand.deleted()
    await stand.remove(job)
    second = await last_run(stand, job)
    stand.stores, told = bind_stores(stand.database), stand.stores
    await stand.remove(second)
    stand.stores = told
    await stand.settle()
    assert await stand.stage(job.media_id) == "OBJECTS_REMOVED"


async def test_paths_are_named_as_well_until_nothing_is_cached_without_its_tag(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = CloudFront(stand.distribution.settings(), ROOT)
    configured = {"DistributionConfig": {"CacheTagConfig": {"HeaderName": CACHE_TAG_HEADER}}}
    # MiniStack keeps no such configuration.
    monkeypatch.setattr(reading._client, "get_distribution_config", lambda **_: configured)
    distributions = stand.database.handle["distributions"]

    async def forgotten(cloudfront: CloudFront) -> tuple[set[str], Job]:
        before, job = asked(stand), await stand.deleted()
        await stand.remove(job)
        for _ in range(2):
            await stand.dispatch(cloudfront).advance()
            await stand.wait_out_leases()
        assert await stand.stage(job.media_id) == "CDN_INVALIDATED"
        return asked(stand) - before, job

    async def days_pass(days: int) -> None:
        passed = {"$subtract": ["$reads_tags_since", days * DAY_MS]}
        await distributions.update_one({}, [{"$set": {"reads_tags_since": passed}}])

    items, job = await forgotten(reading)
    assert items == {f"#{job.media_id}", *folders(job)}
    await days_pass(30)
    items, job = await forgotten(reading)
    assert items == {f"#{job.media_id}", *folders(job)}, "thumbnails keep for 30 days"
    await days_pass(2)
    items, job = await forgotten(reading)
    assert items == {f"#{job.media_id}", f"/medical/raw/{job.media_id}.jpg"}
    # Switched off for a while, it has cached without tags again.
    items, job = await forgotten(stand.cloudfront)
    assert items == folders(job)
    items, job = await forgotten(reading)
    assert items == {f"#{job.media_id}", *folders(job)}


async def test_batches_become_as_large_again_as_they_were(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    refusals = iter(["BatchTooLarge", "InvalidationBatchAlreadyExists"])
    create = CloudFront.create

    async def refuse_at_first(cloudfront: CloudFront, reference: str, items: list[str]) -> Any:
        for code in refusals:
            raise UnsendableBatch(code)
        return await create(cloudfront, reference, items)

    monkeypatch.setattr(CloudFront, "create", refuse_at_first)
    dispatch: InvalidationDispatch = stand.dispatch()
    await stand.remove(await stand.deleted())
    for _ in range(4):
        await dispatch.advance()
        sizes.append(dispatch._at_once)
    assert sizes[:3] == [500, 500, 1_000]


async def test_a_request_without_a_job_is_gone_on_with(stand: Stand) -> None:
    assert stand.stores.invalidations is not None
    handle, store = stand.database.handle["invalidations"], stand.stores.invalidations
    job = await stand.deleted()
    for request in (job.id, f"{job.media_id}:retire:1"):
        await store.plan(request, job.media_id, [f"medical/private/feed/{job.media_id}/1.jpg"])
    await store.plan_apart(uuid7(), ["medical/private/feed/x/1.jpg"])
    await stand.settle()
    assert await handle.distinct("state") == ["planned"], "their jobs may have just begun"
    await handle.update_many({}, [{"$set": {"requested_at": {"$subtract": ["$$NOW", DAY_MS]}}}])
    assert await store.oldest_age_s() > 3_600
    await stand.dispatch().advance()
    await stand.settle()
    assert [each["_id"] async for each in handle.find({"state": "planned"})] == [job.id], "it waits for its job"
