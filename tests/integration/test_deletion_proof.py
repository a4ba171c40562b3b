"""A deletion is proven: nothing is left in storage or at the edge, that is on record; what comes back goes again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection
from dataclasses import replace

import httpx
import pytest
from typer.testing import CliRunner
from uuid6 import uuid7

from schema.global_id import encode_id
from service import deletion_verification
from service.__main__ import app
from service.audit import bucket_of
from service.deletion_verification import verify_deletion
from service.dev.environment import environment_of
from service.edge_inspection import EdgeReport
from service.models import JobKind, Lane, MediaFormat, MediaPurpose, RenditionName, Visibility
from service.object_keys import rendition_key
from service.remnants import digest_of
from tests.integration.conftest import RunningService
from tests.integration.deletion_stand import (
    delete,
    deletion_of,
    entries,
    put,
    stored_media,
)
from tests.integration.jobs_by_hand import run_next
from tests.integration.rendered_media import forget

PROGRESS = """
subscription ($id: ID!) {
  deletionProgress(id: $id) { stage objectsTotal objectsRemoved cdnInvalidatedAt verifiedAt certificate }
}
"""
URLS = "query M($id: ID!) { media(id: $id) { renditions { url } } }"


@pytest.fixture(autouse=True)
async def at_once(service: RunningService, monkeypatch: pytest.MonkeyPatch, no_deletion_window: None) -> None:
    """No pauses between looks, no window, and nothing in the queue that other tests have left."""
    for pause in ("_SHORTEST_PAUSE_S", "_LONGEST_PAUSE_S"):
        monkeypatch.setattr(deletion_verification, pause, 0.0)
    for collection in (service.runtime.database.jobs, service.runtime.database.deletions):
        await collection.delete_many({})


class Edges:
    """Edges that answer as they are told, a report for each time that they are asked."""

    can_ask = True

    def __init__(self, *reports: EdgeReport) -> None:
        self.reports = list(reports)
        self.asked: list[set[str]] = []

    async def ask(self, keys: Collection[str]) -> EdgeReport:
        self.asked.append(set(keys))
        return self.reports.pop(0)


async def test_from_hidden_to_a_certificate_that_can_be_checked(
    service: RunningService, http: httpx.AsyncClient
) -> None:
    anna, media = service.client("anna"), await stored_media(service)
    media_id, settings = media["_id"], service.settings
    shown = (await anna.run(URLS, id=encode_id("Media", media_id)))["media"]["renditions"]
    for rendition in shown:
        assert (await http.get(rendition["url"])).status_code == 200
    [deletion] = (await anna.delete(encode_id("Media", media_id)))["deletions"]
    async with service.working(), asyncio.timeout(30):
        told = [each async for each in anna.subscribe(PROGRESS, id=deletion["id"])]
    stages = ["HIDDEN", "OBJECTS_REMOVED", "CDN_INVALIDATED", "VERIFIED"]
    # What is verified is said a moment before its certificate is.
    assert list(dict.fromkeys(each["stage"] for each in told)) == stages
    last = told[-1]
    assert last["objectsTotal"] == last["objectsRemoved"] == 7
    assert None not in last.values()
    assert {(await http.get(rendition["url"])).status_code for rendition in shown} == {403}

    [_, _, certificate] = await entries(service, media_id)
    details = certificate["details"]
    assert certificate["action"] == "deletion.verified"
    assert last["certificate"] == certificate["hash"]
    store = service.runtime.object_store
    keys = {(store.media_bucket, each["key"]) for each in media["renditions"]}
    assert details["keys_sha256"] == digest_of({*keys, (store.upload_bucket, media["original"]["key"])})
    assert (details["objects"], details["original"]) == (7, "removed")
    assert details["edges"] == {"told": True, "asked": 7, "statuses": {"403": 7}}
    assert details["storage"] == {"heads": 7, "listings": 11, "found": 0}
    assert details["stages"].keys() == {"requested_at", "objects_removed_at", "cdn_invalidated_at"}

    environment = environment_of(settings, ("mongo", "storage", "delivery", "auth"))
    ask = ["audit", "certificate", encode_id("Media", media_id)]
    said = await asyncio.to_thread(CliRunner().invoke, app, ask, env=environment)
    assert said.exit_code == 0, said.output
    assert certificate["hash"] in said.output
    assert f"chain {bucket_of('anna')}, entry {certificate['sequence']}" in said.output
    # Whoever alters it, or what it follows, is found out.
    audit = service.runtime.database.handle["audit"]
    await audit.update_one({"_id": certificate["_id"]}, {"$set": {"details.objects": 8}})
    assert (await asyncio.to_thread(CliRunner().invoke, app, ask, env=environment)).exit_code == 1
    await audit.update_one({"_id": certificate["_id"]}, {"$set": {"details.objects": 7}})
    unknown = await asyncio.to_thread(CliRunner().invoke, app, ["audit", "certificate", str(uuid7())], env=environment)
    assert unknown.exit_code == 1


async def test_what_is_left_in_storage_or_at_an_edge_goes_before_it_is_certified(service: RunningService) -> None:
    media, runtime = await stored_media(service), service.runtime
    media_id, store = media["_id"], runtime.object_store
    await delete(service, media_id)
    await run_next(service, JobKind.DELETE)
    await forget(service)
    left = rendition_key(
        MediaPurpose.COMMUNITY, Visibility.PRIVATE, RenditionName.PREVIEW, media_id, "old", MediaFormat.MP4
    )
    await put(service, store.media_bucket, left)
    served = media["renditions"][0]["key"]
    edges = Edges(
        EdgeReport(served=[served]),
        EdgeReport(unclear=7),
        EdgeReport(unclear=7, refused=7),
        EdgeReport(Counter({404: 7})),
    )
    outcomes: list[str] = []

    async def look() -> str:
        [job_id] = await runtime.stores.job_inspection.states_of(media_id, {JobKind.VERIFY})
        job = await runtime.stores.jobs.claim(lease_s=60, worker="test", job_id=job_id)
        assert job is not None
        await verify_deletion(
            job,
            stores=runtime.stores,
            object_store=store,
            edges=edges,
            count=outcomes.append,  # type: ignore[arg-type]
        )
        assert await runtime.stores.jobs.complete(job)
        return outcomes[-1]

    assert await look() == "stored"
    assert await store.versioned_keys(store.media_bucket, left) == set()
    assert await look() == "awaits_cdn", "edges are to forget it as well"
    await forget(service)
    assert await look() == "served"
    assert len(edges.asked[0]) == 8, "for what was found late as well"
    await forget(service)
    assert [await look() for _ in range(3)] == ["unclear", "refused", "verified"]
    [*_, certificate] = await entries(service, media_id)
    assert certificate["details"]["earlier_checks"] == 4
    batches = runtime.database.handle["invalidation_batches"].find({"paths": f"/{served}"})
    assert len(await batches.to_list(None)) == 1, "it was asked to forget just that once more"


async def test_nothing_is_verified_while_something_may_still_be_written(service: RunningService) -> None:
    media = await stored_media(service)
    media_id, database = media["_id"], service.runtime.database
    soon = {"$dateAdd": {"startDate": "$$NOW", "unit": "minute", "amount": 5}}
    upload = {**media["original"], "method": "SINGLE", "owner_id": "anna"}
    await database.uploads.insert_one({"_id": media_id, **upload})
    await database.uploads.update_one({"_id": media_id}, [{"$set": {"expires_at": soon}}])
    await delete(service, media_id)
    await run_next(service, JobKind.DELETE)
    await forget(service)
    states = await service.runtime.stores.job_inspection.states_of(media_id, {JobKind.DELETE, JobKind.VERIFY})
    assert states == {f"{media_id}:delete:2": "open"}, "it is looked at once more when the session is over"
    assert await service.runtime.stores.jobs.claim(lease_s=60, worker="test") is None
    assert (await service.runtime.stores.deletion_proofs.unverified())[0] == 0
    # A job that comes too early waits for the moment.
    await service.runtime.stores.jobs.enqueue(media_id, JobKind.VERIFY, lane=Lane.STANDARD, generation=7)
    await run_next(service, JobKind.VERIFY)
    assert (await deletion_of(service, media_id))["stage"] == "CDN_INVALIDATED"
    assert await service.runtime.stores.jobs.claim(lease_s=60, worker="test") is None


async def test_a_worker_without_keys_certifies_nothing_where_there_is_a_cdn(service: RunningService) -> None:
    media = await stored_media(service)
    keyless = service.settings.delivery.model_copy(update={"public_key": None})
    settings = service.settings.model_copy(update={"delivery": keyless})
    without = replace(service, runtime=replace(service.runtime, settings=settings))
    await delete(service, media["_id"])
    await run_next(without, JobKind.DELETE)
    await forget(service)
    await run_next(without, JobKind.VERIFY)
    assert (await deletion_of(service, media["_id"]))["stage"] == "CDN_INVALIDATED"
    # Another one comes by.
    await run_next(service, JobKind.VERIFY)
    assert (await deletion_of(service, media["_id"]))["stage"] == "VERIFIED"
