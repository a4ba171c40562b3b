"""A deletion goes on whoever dies on the way, stays true of what it was, and takes away what comes back."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from uuid import uuid4

import pytest

from service import deletion_verification
from service.audit import Finding, hash_of
from service.audit_upkeep import verify_chains
from service.deletion_upkeep import attend_deletions
from service.deletion_verification import WATCHED_S
from service.dev.environment import environment_of
from service.finalisation import object_created
from service.models import JobKind, MediaFormat, MediaPurpose, RenditionName, Visibility
from service.object_keys import rendition_key
from service.remnants import digest_of
from service.rendition_storage import withdraw
from service.stores import bind_stores
from service.upkeep import sweep_once
from tests.deletion_killable import DELETING, work
from tests.integration.conftest import RunningService
from tests.integration.deletion_stand import (
    delete,
    deletion_of,
    entries,
    make_due,
    put,
    stored_media,
    swept,
    verified,
)
from tests.integration.jobs_by_hand import run_next
from tests.integration.rendered_media import forget
from tests.invalidation_stand import ask_for_deletion


@pytest.fixture(autouse=True)
async def at_once(service: RunningService, monkeypatch: pytest.MonkeyPatch, no_deletion_window: None) -> None:
    """No pauses between looks, no window, and nothing in the queue that other tests have left."""
    for pause in ("_SHORTEST_PAUSE_S", "_LONGEST_PAUSE_S"):
        monkeypatch.setattr(deletion_verification, pause, 0.0)
    for collection in (service.runtime.database.jobs, service.runtime.database.deletions):
        await collection.delete_many({})


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
