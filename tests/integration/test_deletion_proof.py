"""A deletion is proven: nothing is left in storage or at the edge, that is on record; what comes back goes again."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from typer.testing import CliRunner
from uuid6 import uuid7

from schema.global_id import encode_id
from service import deletion_verification
from service.__main__ import app
from service.audit import Finding, bucket_of, hash_of
from service.audit_upkeep import verify_chains
from service.deletion import request_deletions
from service.deletion_upkeep import attend_deletions
from service.deletion_verification import WATCHED_S, verify_deletion
from service.dev.environment import environment_of
from service.edge_inspection import EdgeReport
from service.finalisation import object_created
from service.models import JobKind, Lane, MediaFormat, MediaPurpose, RenditionName, Visibility
from service.object_keys import rendition_key
from service.remnants import digest_of
from service.rendition_storage import withdraw
from service.stores import bind_stores
from service.upkeep import sweep_once
from tests.deletion_killable import DELETING, work
from tests.documents import ready_media
from tests.integration.conftest import RunningService
from tests.integration.jobs_by_hand import run_next
from tests.integration.rendered_media import ANNA, forget
from tests.invalidation_stand import SHA256, ask_for_deletion

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


async def test_a_worker_killed_at_any_step_is_followed_by_another(service: RunningService) -> None:
    settings, store = service.settings, service.runtime.object_store
    stores = bind_stores(service.runtime.database)
    ids = [await ask_for_deletion(stores, store) for _ in DELETING]
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.deletion_killable", point, str(media_id)),
            env=environment_of(settings, ("mongo", "storage")),
        )
        for point, media_id in zip(DELETING, ids, strict=True)
    ]
    assert [await process.wait() for process in processes] == [-signal.SIGKILL] * len(ids)
    await service.runtime.database.jobs.update_many({}, [{"$set": {"visible_at": "$$NOW"}}])
    for media_id in ids:
        await work(media_id, stores=stores, object_store=store)
        deletion = await deletion_of(service, media_id)
        assert (deletion["stage"], "audit_pending" in deletion) == ("VERIFIED", False)
        on_record = await entries(service, media_id)
        assert Counter(each["action"] for each in on_record) == Counter(
            ["deletion.requested", "deletion.objects_removed", "deletion.verified"]
        )
        assert deletion["certificate"] == on_record[-1]["hash"]
        assert on_record[-1]["details"]["edges"] == {"told": False}, "and it says that there was no CDN"
    assert [each async for each in verify_chains(stores.audit, []) if isinstance(each, Finding)] == []


async def test_what_a_worker_writes_that_slept_through_it_goes_again_and_is_on_record(service: RunningService) -> None:
    media, runtime = await stored_media(service), service.runtime
    media_id, store, purpose = media["_id"], runtime.object_store, MediaPurpose.COMMUNITY
    assert await verified(service, media_id)
    key = rendition_key(purpose, Visibility.PUBLIC, RenditionName.FULL, media_id, "g1", MediaFormat.AVIF)
    before = (await deletion_of(service, media_id))["certificate"]

    # It wakes up, writes, and dies before it looks whether the media is still there.
    await put(service, store.media_bucket, key)
    await swept(service, media_id)
    assert await store.versioned_keys(store.media_bucket, key) == set()
    # It lives, and takes back itself what it wrote.
    await put(service, store.media_bucket, key)
    await withdraw(media_id, purpose, runtime.stores, store)
    # Bytes that were on their way for all that time, and the event that tells of them.
    original = (store.upload_bucket, media["original"]["key"])
    upload = {"bucket": original[0], "key": original[1], "method": "SINGLE", "owner_id": "anna"}
    moment = media["created_at"]
    await runtime.database.uploads.insert_one({"_id": media_id, **upload, "expires_at": moment, "created_at": moment})
    await put(service, *original)
    for _ in range(2):
        await object_created(*original, stores=runtime.stores, object_store=store)
    assert await store.head(*original) is None

    [_, _, _, *again] = await entries(service, media_id)
    assert [each["action"] for each in again] == ["deletion.remnant_removed"] * 3
    rendition, taken_back, late = (each["details"] for each in again)
    assert rendition == taken_back == {"objects": 1, "keys_sha256": digest_of({(store.media_bucket, key)})}
    assert late == {"objects": 1, "keys_sha256": digest_of({original})}
    await forget(service)
    requests = await runtime.database.handle["invalidations"].find({"media_id": media_id, "keys": key}).to_list(None)
    assert [each["state"] for each in requests] == ["completed"] * 2, "edges were told each time"
    deletion = await deletion_of(service, media_id)
    assert (deletion["stage"], deletion["certificate"], deletion["remnants"]) == ("VERIFIED", before, [])
    # Nothing came back: the looks grow rare, and end.
    await swept(service, media_id)
    assert len(await entries(service, media_id)) == 6
    long_ago = {"$set": {"verified_at": {"$subtract": ["$$NOW", WATCHED_S[-1] * 1_000]}}}
    await runtime.database.deletions.update_one({"_id": media_id}, [long_ago])
    await swept(service, media_id)
    assert "look_at" not in await deletion_of(service, media_id)
    assert await attend_deletions(stores=runtime.stores) == 0


async def test_a_deletion_goes_on_whose_job_was_lost_or_given_up_at_any_stage(service: RunningService) -> None:
    media, runtime = await stored_media(service), service.runtime
    media_id, stores, jobs = media["_id"], runtime.stores, runtime.database.jobs
    await delete(service, media_id)
    assert await attend_deletions(stores=stores) == 0, "its job is about to"
    # Lost; and started only once, however many sweepers there are.
    await jobs.delete_many({})
    await make_due(service, media_id)
    assert sum(await asyncio.gather(*(attend_deletions(stores=stores) for _ in range(4)))) == 1
    job = await stores.jobs.claim(lease_s=60, worker="test")
    assert job is not None
    assert await stores.jobs.dead_letter(job, reason="storage kept an object")
    await make_due(service, media_id)
    await sweep_once(runtime)
    await run_next(service, JobKind.DELETE)
    assert (await deletion_of(service, media_id))["stage"] == "OBJECTS_REMOVED"
    # What follows is lost as well, and it is a deletion of an earlier release, which says nothing of looks.
    await jobs.delete_many({})
    await forget(service)
    await runtime.database.deletions.update_one({"_id": media_id}, {"$unset": {"look_at": "", "due_at": ""}})
    number, age_s = await stores.deletion_proofs.unverified()
    assert (number, age_s > 0) == (1, True)
    assert await attend_deletions(stores=stores) == 1
    await run_next(service, JobKind.VERIFY)
    assert (await deletion_of(service, media_id))["stage"] == "VERIFIED"
    assert await stores.deletion_proofs.unverified() == (0, 0.0)


async def test_content_that_another_media_shares_stays_until_that_goes_too(service: RunningService) -> None:
    first, runtime = await stored_media(service), service.runtime
    original, store = first["original"], runtime.object_store
    second = await stored_media(service, original=original)
    digest = uuid4().hex * 2
    for media in (first, second):
        await runtime.stores.contents.register("anna", digest, media["_id"], **original, byte_size=1)
    kept = (await verified(service, first["_id"]), (await entries(service, first["_id"]))[-1]["details"])
    assert (kept[1]["original"], kept[1]["objects"]) == ("kept for another media", 6)
    assert str(second["_id"]) not in str(kept[1])
    assert await store.head(original["bucket"], original["key"]) is not None
    await verified(service, second["_id"])
    assert await store.head(original["bucket"], original["key"]) is None
    last = (await entries(service, second["_id"]))[-1]["details"]
    assert (last["original"], last["objects"]) == ("removed", 7)
    assert last["keys_sha256"] == digest_of(
        {(store.media_bucket, each["key"]) for each in second["renditions"]} | {(original["bucket"], original["key"])}
    )
    # What is on record of the first is as it was.
    entry = (await entries(service, first["_id"]))[-1]
    stored_hash = entry.pop("hash")
    entry.pop("_id")
    assert hash_of(entry) == stored_hash == kept[0]["certificate"]


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
