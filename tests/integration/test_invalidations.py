"""Edges forget what was removed: once, whoever dies on the way, and however busy CloudFront is."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

import boto3
import pytest
from anyio import to_thread
from pydantic import SecretStr
from uuid6 import uuid7

from indexes.ensure import ensure
from service.deletion import remove_objects
from service.distribution import BEHAVIORS, CACHE_TAG_HEADER
from service.invalidation.cloudfront import CloudFront
from service.invalidation.dispatch import InvalidationDispatch
from service.key_groups import path_rules
from service.models import Job, JobKind, Lane, MediaFormat, MediaPurpose, RenditionName, Visibility
from service.object_keys import original_key, rendition_key
from service.object_store import ObjectStore
from service.settings import CdnSettings, Settings, StorageSettings
from service.stores import Stores, bind_stores
from service.stores.database import Database, open_database
from service.stores.deletions import DeletionStore
from service.stores.invalidation_batches import InvalidationBatchStore
from service.stores.invalidations import InvalidationStore
from service.telemetry import Metrics
from tests.servers import StorageServer

ROOT = StorageSettings(access_key="test", secret_key=SecretStr("test"))
SHA256 = hashlib.sha256(b"x").hexdigest()
NAMES = (RenditionName.THUMBNAIL, RenditionName.FEED)
FORMATS = (MediaFormat.JPEG, MediaFormat.WEBP)


class Killed(BaseException):
    """The process is gone: nothing of it runs any more."""


@dataclass(frozen=True)
class Distribution:
    """One of MiniStack's."""

    id: str
    endpoint: str
    client: Any
    before: frozenset[str] = frozenset()

    def ids(self) -> frozenset[str]:
        listed = self.client.list_invalidations(DistributionId=self.id)["InvalidationList"].get("Items", [])
        return frozenset(each["Id"] for each in listed)

    def asked(self) -> list[list[str]]:
        """The items of each invalidation that was created since `before`."""
        created = self.ids() - self.before
        answers = [self.client.get_invalidation(DistributionId=self.id, Id=each) for each in created]
        return [answer["Invalidation"]["InvalidationBatch"]["Paths"]["Items"] for answer in answers]

    def settings(self, **changes: Any) -> CdnSettings:
        return CdnSettings(distribution_id=self.id, endpoint=self.endpoint, poll_s=0.01, **changes)


@pytest.fixture(scope="module")
async def distribution(ministack: StorageServer) -> AsyncIterator[Distribution]:
    client = boto3.session.Session("test", "test", region_name="us-east-1").client(
        "cloudfront", endpoint_url=ministack.endpoint
    )
    origin = {"Id": "media", "DomainName": "media.s3.amazonaws.com", "S3OriginConfig": {"OriginAccessIdentity": ""}}
    config = {
        "CallerReference": uuid4().hex,
        "Comment": "",
        "Enabled": True,
        "Origins": {"Quantity": 1, "Items": [origin]},
        "DefaultCacheBehavior": {"TargetOriginId": "media", "ViewerProtocolPolicy": "https-only"},
    }
    created = await to_thread.run_sync(lambda: client.create_distribution(DistributionConfig=config))
    yield Distribution(created["Distribution"]["Id"], ministack.endpoint, client)
    client.close()


@pytest.fixture(scope="module")
def cloudfront(distribution: Distribution) -> CloudFront:
    return CloudFront(distribution.settings(), ROOT)


@dataclass
class Stand:
    """Stores and buckets of a service that tells `distribution`."""

    database: Database
    stores: Stores
    object_store: ObjectStore
    distribution: Distribution
    cloudfront: CloudFront
    metrics: Metrics

    def dispatch(self, cloudfront: CloudFront | None = None) -> InvalidationDispatch:
        assert self.stores.invalidations is not None
        return InvalidationDispatch(
            cloudfront or self.cloudfront,
            invalidations=self.stores.invalidations,
            batches=InvalidationBatchStore(self.database),
            deletions=self.stores.deletions,
            metrics=self.metrics,
            poll_s=0.01,
        )

    async def settle(self) -> None:
        """Carry on until nothing is left to be forgotten."""
        assert self.stores.invalidations is not None
        one = self.dispatch()
        async with asyncio.timeout(20):
            await one.advance()
            while await self.stores.invalidations.oldest_age_s() > 0:
                await asyncio.sleep(0.01)
                await one.advance()

    async def deleted(self) -> Job:
        """A media in storage whose deletion was asked for; the job of that."""
        media_id = uuid7()
        keys = [
            (self.object_store.media_bucket, key)
            for key in (
                rendition_key(MediaPurpose.MEDICAL, Visibility.PRIVATE, name, media_id, "g", each)
                for name in NAMES
                for each in FORMATS
            )
        ]
        keys.append((self.object_store.upload_bucket, original_key(MediaPurpose.MEDICAL, media_id, "image/jpeg")))
        for bucket, key in keys:
            await self.object_store.put(
                bucket, key, b"x", content_type="image/jpeg", cache_control="no-store", metadata={}, sha256=SHA256
            )
        await self.stores.deletions.request(
            media_id,
            owner_id="anna",
            requested_by="anna",
            purpose="MEDICAL",
            objects=[{"bucket": bucket, "key": key} for bucket, key in keys],
        )
        await self.stores.jobs.enqueue(media_id, JobKind.DELETE, lane=Lane.STANDARD)
        job = await self.stores.jobs.claim(lease_s=60, worker="test", job_id=f"{media_id}:delete:1")
        assert job is not None
        return job

    async def wait_out_leases(self) -> None:
        """As if the minutes had passed until others take over from a process that died."""
        past = {"$subtract": ["$$NOW", 600_000]}
        for name, moment in (("invalidations", "gathered_at"), ("invalidation_batches", "due_at")):
            await self.database.handle[name].update_many({moment: {"$exists": True}}, [{"$set": {moment: past}}])

    async def remove(self, job: Job) -> None:
        await remove_objects(job, stores=self.stores, object_store=self.object_store)

    async def stage(self, media_id: UUID) -> str:
        return (await self.stores.deletions.get_many([media_id]))[media_id]["stage"]


@pytest.fixture(scope="module")
async def connected(settings: Settings) -> AsyncIterator[tuple[Database, ObjectStore]]:
    object_store = ObjectStore(settings.storage)
    async with open_database(settings.mongo) as database:
        await ensure(database.handle)
        yield database, object_store
    await object_store.close()


@pytest.fixture
async def stand(
    connected: tuple[Database, ObjectStore], distribution: Distribution, cloudfront: CloudFront
) -> AsyncIterator[Stand]:
    database, object_store = connected
    since_now = replace(distribution, before=distribution.ids())
    yield Stand(database, bind_stores(database, invalidates=True), object_store, since_now, cloudfront, Metrics())
    for name in ("invalidations", "invalidation_batches", "deletions"):
        await database.handle[name].delete_many({})


def folders(job: Job) -> set[str]:
    """The paths that stand for the renditions of a media, and that of its original."""
    renditions = {f"/medical/private/{name.lower()}/{job.media_id}/*" for name in NAMES}
    return {*renditions, f"/medical/raw/{job.media_id}.jpg"}


def test_the_distribution_is_named_as_the_edge_runs_it(settings: Settings) -> None:
    rules = path_rules(settings)
    assert [rule.path_pattern for rule in rules] == [behavior.path_pattern for behavior in BEHAVIORS]
    assert [len(rule.trusted_keys) for rule in rules] == [len(behavior.key_groups) for behavior in BEHAVIORS]


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
