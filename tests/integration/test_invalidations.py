"""Edges forget what was removed: once, whoever dies on the way, and however busy CloudFront is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from uuid6 import uuid7

from service.distribution import CACHE_TAG_HEADER
from service.invalidation import dispatch
from service.invalidation.cloudfront import CloudFront, UnsendableBatch
from service.object_store import ObjectStore
from service.settings import CdnSettings
from service.stores import bind_stores
from service.stores.deletions import DeletionStore
from service.stores.invalidation_batches import InvalidationBatchStore
from service.stores.invalidations import InvalidationStore
from tests.edge_stand import Stand as EdgeStand
from tests.integration.conftest import served
from tests.invalidation_stand import ROOT, Stand, folders


class Killed(BaseException):
    """The process is gone: nothing of it runs any more."""


async def test_a_deletion_ends_when_edges_have_forgotten(stand: Stand) -> None:
    job = await stand.deleted()
    await stand.remove(job)
    assert await stand.stage(job.media_id) == "OBJECTS_REMOVED"
    assert stand.distribution.asked() == [], "nobody has told CloudFront yet"
    await stand.settle()
    assert [set(items) for items in stand.distribution.asked()] == [folders(job)]
    [ended] = (await stand.stores.deletions.get_many([job.media_id])).values()
    assert ended["stage"] == "CDN_INVALIDATED"
    assert ended["cdn_invalidated_at"] >= ended["requested_at"]


async def test_without_a_distribution_it_ends_when_storage_is_empty(stand: Stand) -> None:
    job = await stand.deleted()
    stand.stores = bind_stores(stand.database)
    await stand.remove(job)
    assert await stand.stage(job.media_id) == "OBJECTS_REMOVED"
    assert await stand.database.handle["invalidations"].count_documents({}) == 0


DEATHS = [
    (InvalidationStore, "plan"),
    (ObjectStore, "delete"),
    (DeletionStore, "mark_objects_removed"),
    (InvalidationStore, "release"),
    (InvalidationStore, "gather"),
    (InvalidationBatchStore, "open"),
    (CloudFront, "create"),
    (InvalidationStore, "complete"),
    (DeletionStore, "mark_cdn_invalidated"),
    (InvalidationBatchStore, "close"),
]


@pytest.mark.parametrize(("owner", "step"), DEATHS, ids=[step for _, step in DEATHS])
async def test_a_death_after_any_step_neither_loses_nor_doubles(stand: Stand, owner: Any, step: str) -> None:
    job, carry_out = await stand.deleted(), getattr(owner, step)

    async def carry_out_and_die(*args: Any, **more: Any) -> None:
        await carry_out(*args, **more)
        raise Killed

    async def work() -> None:
        await stand.remove(job)
        await stand.dispatch().advance()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, step, carry_out_and_die)
        with pytest.raises(Killed):
            await work()
    # The job's lease runs out, and it is done once more; one that was completed is not.
    await stand.remove(job)
    await stand.wait_out_leases()
    await stand.settle()
    assert [set(items) for items in stand.distribution.asked()] == [folders(job)]
    assert await stand.stage(job.media_id) == "CDN_INVALIDATED"
    assert await stand.database.handle["invalidations"].distinct("state") == ["completed"]


async def test_nothing_is_asked_for_while_storage_still_holds_it(stand: Stand) -> None:
    job = await stand.deleted()
    with pytest.MonkeyPatch.context() as patch:

        async def die(*_: Any) -> None:
            raise Killed

        patch.setattr(ObjectStore, "delete", die)
        with pytest.raises(Killed):
            await stand.remove(job)
    await stand.settle()
    assert stand.distribution.asked() == []
    assert await stand.stage(job.media_id) == "HIDDEN"


async def test_many_are_gathered_into_few_and_two_workers_double_none(stand: Stand) -> None:
    jobs = [await stand.deleted() for _ in range(12)]
    for job in jobs:
        await stand.remove(job)
    await asyncio.gather(stand.dispatch().advance(), stand.dispatch().advance())
    await stand.settle()
    asked = stand.distribution.asked()
    assert len(asked) <= 3
    items = [item for each in asked for item in each]
    assert len(set(items)) == len(items)
    assert sum(item.endswith("*") for item in asked[-1]) <= 15
    for job in jobs:
        # The first have the wildcards that there are, the rest a path for each object.
        of_media = {item for item in items if str(job.media_id) in item}
        assert of_media == folders(job) or len(of_media) in {4, 5}
        assert await stand.stage(job.media_id) == "CDN_INVALIDATED"


async def test_a_tag_is_used_where_the_distribution_reads_it_and_only_there(stand: Stand) -> None:
    one = CloudFront(stand.distribution.settings(), ROOT)
    assert not await stand.cloudfront.reads_tags()
    configured = {"DistributionConfig": {"CacheTagConfig": {"HeaderName": CACHE_TAG_HEADER.title()}}}
    with pytest.MonkeyPatch.context() as patch:
        # MiniStack keeps no such configuration.
        patch.setattr(one._client, "get_distribution_config", lambda **_: configured)
        assert await one.reads_tags()
        forbidden = CloudFront(stand.distribution.settings(cache_tags=False), ROOT)
        patch.setattr(forbidden._client, "get_distribution_config", lambda **_: configured)
        assert not await forbidden.reads_tags()
    unknown = CloudFront(stand.distribution.settings().model_copy(update={"distribution_id": "NONE"}), ROOT)
    assert not await unknown.reads_tags()


async def test_what_cloudfront_refuses_waits_until_a_person_has_mended_it(stand: Stand) -> None:
    job = await stand.deleted()
    await stand.remove(job)
    wrong = CloudFront(stand.distribution.settings().model_copy(update={"distribution_id": "NONE"}), ROOT)
    for _ in range(3):
        await stand.dispatch(wrong).advance()
        await stand.wait_out_leases()
    assert await stand.stage(job.media_id) == "OBJECTS_REMOVED"
    assert stand.metrics.registry.get_sample_value("media_invalidations_total", {"outcome": "refused"}) == 3
    assert (stand.metrics.registry.get_sample_value("media_invalidation_age_seconds") or 0) > 0
    await stand.settle()
    assert await stand.stage(job.media_id) == "CDN_INVALIDATED"


async def test_a_reference_that_was_used_for_something_else_costs_a_batch_and_no_request(stand: Stand) -> None:
    job = await stand.deleted()
    await stand.remove(job)
    with pytest.MonkeyPatch.context() as patch:
        taken = uuid7()
        await stand.cloudfront.create(str(taken), ["/something/else"])
        patch.setattr("service.invalidation.dispatch.uuid7", lambda: taken)
        await stand.dispatch().advance()
    await stand.settle()
    assert {frozenset(items) for items in stand.distribution.asked()} == {
        frozenset(folders(job)),
        frozenset({"/something/else"}),
    }
    assert await stand.stage(job.media_id) == "CDN_INVALIDATED"


@pytest.fixture
async def slow_edge(ports: Iterator[int]) -> AsyncIterator[tuple[EdgeStand, CloudFront]]:
    """An edge that takes a minute for an invalidation, and has as little room as CloudFront has."""
    edge = EdgeStand(invalidation_delay_s=60)
    async with served(edge.app, next(ports)) as url:
        yield edge, CloudFront(CdnSettings(distribution_id="EDGE", endpoint=url, cache_tags=False), ROOT)
    await edge.client.aclose()


async def test_progress_is_followed_until_completed(stand: Stand, slow_edge: tuple[EdgeStand, CloudFront]) -> None:
    edge, cloudfront = slow_edge
    job = await stand.deleted()
    await stand.remove(job)
    for _ in range(3):
        await stand.dispatch(cloudfront).advance()
        await stand.wait_out_leases()
        assert await stand.stage(job.media_id) == "OBJECTS_REMOVED"
    edge.clock.now += 61
    await stand.dispatch(cloudfront).advance()
    assert await stand.stage(job.media_id) == "CDN_INVALIDATED"
    assert len(edge.edge.invalidations.newest_first()) == 1


async def test_a_busy_cloudfront_is_waited_for(stand: Stand, slow_edge: tuple[EdgeStand, CloudFront]) -> None:
    """Somebody else has used up the wildcards: nothing is lost, and no job has to be tried again."""
    edge, cloudfront = slow_edge
    edge.edge.invalidations.create("somebody else", [f"/{number}/*" for number in range(15)])
    job = await stand.deleted()
    await stand.remove(job)
    assert await stand.stores.jobs.complete(job)
    for failures in (1, 2):
        await stand.dispatch(cloudfront).advance()
        [batch] = await stand.database.handle["invalidation_batches"].find({}).to_list(None)
        assert batch["failures"] == failures
        await stand.wait_out_leases()
    assert stand.metrics.registry.get_sample_value("media_invalidations_total", {"outcome": "postponed"}) == 2
    edge.clock.now += 61
    await stand.dispatch(cloudfront).advance()
    edge.clock.now += 61
    await stand.wait_out_leases()
    await stand.dispatch(cloudfront).advance()
    assert await stand.stage(job.media_id) == "CDN_INVALIDATED"
    assert [len(each.items) for each in edge.edge.invalidations.newest_first()] == [3, 15]


async def test_a_batch_that_is_too_large_is_made_smaller_until_it_is_taken(stand: Stand) -> None:
    jobs, taken = [await stand.deleted() for _ in range(3)], CloudFront.create
    for job in jobs:
        await stand.remove(job)

    async def create(cloudfront: CloudFront, reference: str, items: list[str]) -> Any:
        if len(items) > 3:
            raise UnsendableBatch("BatchTooLarge")
        return await taken(cloudfront, reference, items)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CloudFront, "create", create)
        patch.setattr(dispatch, "_AT_ONCE", 4)
        await stand.settle()
    assert sorted(len(items) for items in stand.distribution.asked()) == [3, 3, 3]
    assert {await stand.stage(job.media_id) for job in jobs} == {"CDN_INVALIDATED"}


async def test_what_is_on_its_way_leaves_less_room_for_more(
    stand: Stand, slow_edge: tuple[EdgeStand, CloudFront]
) -> None:
    edge, cloudfront = slow_edge
    for _ in range(10):
        await stand.remove(await stand.deleted())
        await stand.dispatch(cloudfront).advance()
    asked = [item for each in edge.edge.invalidations.newest_first() for item in each.items]
    # Seven media have two wildcards each, one has the last, and the other two a path for each object.
    assert sum(item.endswith("*") for item in asked) == 15
    assert len(asked) == 10 + 15 + 2 + 2 * 4
    assert stand.metrics.registry.get_sample_value("media_invalidations_total", {"outcome": "postponed"}) is None


async def test_an_invalidation_that_the_cdn_has_lost_is_created_again(
    stand: Stand, slow_edge: tuple[EdgeStand, CloudFront], ports: Iterator[int]
) -> None:
    _, cloudfront = slow_edge
    job = await stand.deleted()
    await stand.remove(job)
    await stand.dispatch(cloudfront).advance()
    await stand.wait_out_leases()
    # The edge was started anew, with an empty cache.
    fresh = EdgeStand()
    async with served(fresh.app, next(ports)) as url:
        after = stand.dispatch(CloudFront(CdnSettings(distribution_id="EDGE", endpoint=url, cache_tags=False), ROOT))
        for _ in range(2):
            await after.advance()
            await stand.wait_out_leases()
    assert await stand.stage(job.media_id) == "CDN_INVALIDATED"
    assert [set(each.items) for each in fresh.edge.invalidations.newest_first()] == [folders(job)]
    await fresh.client.aclose()
