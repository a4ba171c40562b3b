"""Deletions whose objects MiniStack's CloudFront is told to forget, or an edge of the test's own."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import boto3
from pydantic import SecretStr
from uuid6 import uuid7

from service.deletion import remove_objects
from service.invalidation.cloudfront import CloudFront
from service.invalidation.dispatch import InvalidationDispatch
from service.models import Job, JobKind, Lane, MediaFormat, MediaPurpose, RenditionName, Visibility
from service.object_keys import original_key, rendition_key
from service.object_store import ObjectStore
from service.settings import CdnSettings, StorageSettings
from service.stores import Stores
from service.stores.database import Database
from service.stores.distributions import DistributionStore
from service.stores.invalidation_batches import InvalidationBatchStore
from service.telemetry import Metrics

ROOT = StorageSettings(access_key="test", secret_key=SecretStr("test"))
SHA256 = hashlib.sha256(b"x").hexdigest()
NAMES = (RenditionName.THUMBNAIL, RenditionName.FEED)
FORMATS = (MediaFormat.JPEG, MediaFormat.WEBP)


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


def create_distribution(endpoint: str) -> Distribution:
    """A new one, with only what CloudFront insists on."""
    client = boto3.session.Session("test", "test", region_name="us-east-1").client("cloudfront", endpoint_url=endpoint)
    origin = {"Id": "media", "DomainName": "media.s3.amazonaws.com", "S3OriginConfig": {"OriginAccessIdentity": ""}}
    config = {
        "CallerReference": uuid4().hex,
        "Comment": "",
        "Enabled": True,
        "Origins": {"Quantity": 1, "Items": [origin]},
        "DefaultCacheBehavior": {"TargetOriginId": "media", "ViewerProtocolPolicy": "https-only"},
    }
    created = client.create_distribution(DistributionConfig=config)
    return Distribution(created["Distribution"]["Id"], endpoint, client)


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
            distributions=DistributionStore(self.database),
            jobs=self.stores.job_inspection,
            metrics=self.metrics,
            poll_s=0.01,
        )

    async def settle(self) -> None:
        """Carry on until nothing is left to be forgotten."""
        one = self.dispatch()
        async with asyncio.timeout(20):
            await one.advance()
            while await is_to_be_forgotten(self.database):
                await asyncio.sleep(0.01)
                await one.advance()

    async def deleted(self) -> Job:
        """A media in storage whose deletion was asked for; the job of that."""
        media_id = await ask_for_deletion(self.stores, self.object_store)
        job = await self.stores.jobs.claim(lease_s=60, worker="test", job_id=f"{media_id}:delete:1")
        assert job is not None
        return job

    async def wait_out_leases(self) -> None:
        """As if the minutes had passed until others take over from a process that died."""
        await wait_out_leases(self.database)

    async def remove(self, job: Job) -> None:
        await remove_objects(job, stores=self.stores, object_store=self.object_store)

    async def stage(self, media_id: UUID) -> str:
        return (await self.stores.deletions.get_many([media_id]))[media_id]["stage"]


async def is_to_be_forgotten(database: Database) -> bool:
    """Whether edges are to be told of something that storage has lost, or are being told."""
    query = {"state": {"$in": ["waiting", "gathered"]}}
    return await database.handle["invalidations"].find_one(query) is not None


async def wait_out_leases(database: Database) -> None:
    """As if the minutes had passed until others take over from a process that died."""
    past = {"$subtract": ["$$NOW", 600_000]}
    for name, moment in (("invalidations", "gathered_at"), ("invalidation_batches", "due_at"), ("jobs", "visible_at")):
        await database.handle[name].update_many({moment: {"$exists": True}}, [{"$set": {moment: past}}])


async def ask_for_deletion(stores: Stores, object_store: ObjectStore) -> UUID:
    """A medical media in storage, of which nothing is to be kept, and the job of its deletion."""
    media_id, purpose = uuid7(), MediaPurpose.MEDICAL
    keys = [
        (object_store.media_bucket, rendition_key(purpose, Visibility.PRIVATE, name, media_id, "g", each))
        for name in NAMES
        for each in FORMATS
    ]
    keys.append((object_store.upload_bucket, original_key(purpose, media_id, "image/jpeg")))
    for bucket, key in keys:
        await object_store.put(
            bucket, key, b"x", content_type="image/jpeg", cache_control="no-store", metadata={}, sha256=SHA256
        )
    objects = [{"bucket": bucket, "key": key} for bucket, key in keys]
    await stores.deletions.request(
        media_id, owner_id="anna", requested_by="anna", purpose=purpose.value, objects=objects
    )
    await stores.jobs.enqueue(media_id, JobKind.DELETE, lane=Lane.STANDARD)
    return media_id


def folders(job: Job) -> set[str]:
    """The paths that stand for the renditions of a media, and that of its original."""
    renditions = {f"/medical/private/{name.lower()}/{job.media_id}/*" for name in NAMES}
    return {*renditions, f"/medical/raw/{job.media_id}.jpg"}
