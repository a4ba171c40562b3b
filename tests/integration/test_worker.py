"""The invariants of jobs: one commit, whoever dies, stalls or runs twice."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from uuid6 import uuid7

from schema.global_id import decode_id
from service import media_processing
from service.base_pictures import BasePictures
from service.deletion import remove_objects
from service.dev.environment import environment_of
from service.dev.processes import Children
from service.errors import FailureCode, ProcessingFailed, StorageRefused, TemporarilyUnavailable
from service.job_source import PolledJobs
from service.lifecycle import MediaStatus
from service.media_processing import Viewable, fail_media, process_media
from service.models import Job, JobKind, Lane
from service.stores.jobs import JobStore
from service.sweeper import sweep
from service.telemetry import Metrics
from service.worker import Worker
from tests.integration.conftest import RunningService
from tests.photos import phone_photo, small_photo


def uuid_of(global_id: str) -> UUID:
    parts = decode_id(global_id)
    assert parts is not None
    return parts[1]


@pytest.fixture
async def jobs(service: RunningService) -> JobStore:
    """An empty queue."""
    await service.runtime.database.jobs.delete_many({})
    return service.runtime.stores.jobs


async def process(service: RunningService, job: Job) -> Viewable | None:
    runtime = service.runtime
    return await process_media(
        job,
        stores=runtime.stores,
        object_store=runtime.object_store,
        jail=service.jail,
        scanner=None,
        bases=BasePictures(0),
    )


async def claim(jobs: JobStore, *, lease_s: float = 60) -> Job:
    job = await jobs.claim(lease_s=lease_s, worker="test")
    assert job is not None
    return job


async def test_enqueued_twice_is_one_job(jobs: JobStore) -> None:
    media_id = uuid7()
    await asyncio.gather(*(jobs.enqueue(media_id, JobKind.PROCESS, lane=Lane.STANDARD) for _ in range(10)))
    first = await claim(jobs)
    assert first.media_id == media_id
    assert await jobs.claim(lease_s=60, worker="test") is None
    await jobs.complete(first)
    # Also once it is done: a late event must not do the work again.
    await jobs.enqueue(media_id, JobKind.PROCESS, lane=Lane.STANDARD)
    assert await jobs.claim(lease_s=60, worker="test") is None


async def test_each_job_is_claimed_once(jobs: JobStore) -> None:
    for _ in range(30):
        await jobs.enqueue(uuid7(), JobKind.PROCESS, lane=Lane.STANDARD)
    claimed = await asyncio.gather(*(jobs.claim(lease_s=60, worker=str(index)) for index in range(40)))
    ids = [job.id for job in claimed if job is not None]
    assert len(ids) == len(set(ids)) == 30


async def test_somebody_waiting_goes_first(jobs: JobStore) -> None:
    for lane in (Lane.BACKFILL, Lane.STANDARD, Lane.FIRST_VISIBLE):
        await jobs.enqueue(uuid7(), JobKind.PROCESS, lane=lane)
    assert [(await claim(jobs)).lane for _ in range(3)] == [Lane.FIRST_VISIBLE, Lane.STANDARD, Lane.BACKFILL]


async def test_lease_that_ran_out_is_claimed_anew_and_the_old_fence_is_dead(jobs: JobStore) -> None:
    await jobs.enqueue(uuid7(), JobKind.PROCESS, lane=Lane.STANDARD)
    stalled = await claim(jobs, lease_s=0)
    successor = await claim(jobs)
    assert successor.fence > stalled.fence
    assert successor.attempt == 2
    for stale_write in (
        jobs.complete(stalled),
        jobs.renew(stalled, lease_s=60),
        jobs.retry(stalled, delay_s=0, reason=""),
    ):
        assert await stale_write is False
    assert await jobs.renew(successor, lease_s=60) is True


async def test_stale_fence_never_writes_to_the_media(service: RunningService, jobs: JobStore) -> None:
    anna = service.client("anna")
    media_id = await anna.send(small_photo(1))
    runtime = service.runtime
    stalled = await claim(jobs, lease_s=0)
    assert await runtime.stores.media.hold(stalled.media_id, stalled.fence, attempt=1, lane="standard")
    successor = await claim(jobs)
    assert await runtime.stores.media.hold(successor.media_id, successor.fence, attempt=2, lane="standard")

    # The one that stalled wakes up and tries to go on, or to give up.
    assert await process(service, stalled) is None
    late = ProcessingFailed(FailureCode.INTERNAL, "late")
    await fail_media(stalled, late, stores=runtime.stores, object_store=runtime.object_store)
    document = await runtime.database.media.find_one({"_id": uuid_of(media_id)})
    assert document["status"] == "PROCESSING"
    assert "failure" not in document

    assert await process(service, successor) is not None
    assert await anna.wait(media_id) == {media_id: "READY"}


async def test_how_soon_a_media_can_be_looked_at_is_told_by_one_clock(service: RunningService, jobs: JobStore) -> None:
    media_id = await service.client("anna").send(small_photo(20))
    viewable = await process(service, await claim(jobs))
    document = await service.runtime.database.media.find_one({"_id": uuid_of(media_id)})
    assert viewable is not None
    assert viewable.seconds == (document["first_viewable_at"] - document["created_at"]).total_seconds() > 0


async def test_deletion_during_processing_leaves_nothing_in_storage(service: RunningService, jobs: JobStore) -> None:
    anna = service.client("anna")
    media_id = await anna.send(small_photo(2))
    runtime = service.runtime
    job = await claim(jobs)
    stores = runtime.stores
    hold = stores.media.hold

    async def hold_then_deleted(*args: Any, **kwargs: Any) -> bool:
        held = await hold(*args, **kwargs)
        await anna.delete(media_id)
        return held

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stores.media, "hold", hold_then_deleted)
        assert await process(service, job) is None
    written = [entry.key async for entry in runtime.object_store.list_objects(runtime.object_store.media_bucket, "")]
    assert not [key for key in written if str(uuid_of(media_id)) in key]


def worker_of(service: RunningService, handler: Any, ended: list[ProcessingFailed]) -> Worker:
    async def end(job: Job, failure: ProcessingFailed) -> None:
        ended.append(failure)

    settings, runtime = service.settings.worker, service.runtime
    return Worker(
        settings,
        source=PolledJobs(settings, jobs=runtime.stores.jobs, database=runtime.database, worker="test"),
        jobs=runtime.stores.jobs,
        handlers={JobKind.PROCESS: handler},
        end=end,
        metrics=Metrics(),
        concurrency=2,
    )


async def run_until(worker: Worker, finished: asyncio.Event) -> None:
    running = asyncio.create_task(worker.run())
    try:
        async with asyncio.timeout(20):
            await finished.wait()
    finally:
        worker.stop()
        await running


async def test_poison_is_set_aside_after_its_attempts_and_blocks_nobody(
    service: RunningService, jobs: JobStore
) -> None:
    poison, healthy = uuid7(), uuid7()
    seen: list[UUID] = []
    ended: list[ProcessingFailed] = []
    finished = asyncio.Event()

    async def handler(job: Job) -> None:
        seen.append(job.media_id)
        if job.media_id == poison:
            if job.attempt == service.settings.worker.max_attempts:
                asyncio.get_running_loop().call_later(0.3, finished.set)
            raise ValueError("a bug in the handler")

    for media_id in (poison, healthy):
        await jobs.enqueue(media_id, JobKind.PROCESS, lane=Lane.STANDARD)
    await run_until(worker_of(service, handler, ended), finished)
    assert seen.count(poison) == service.settings.worker.max_attempts
    assert seen.count(healthy) == 1
    assert [failure.failure for failure in ended] == [FailureCode.INTERNAL]
    states = {job["media_id"]: job["state"] async for job in service.runtime.database.jobs.find({})}
    assert states == {poison: "dead", healthy: "done"}


async def test_outage_of_storage_uses_up_no_attempts(service: RunningService, jobs: JobStore) -> None:
    attempts: list[int] = []
    outages = service.settings.worker.max_attempts + 2
    finished = asyncio.Event()

    async def handler(job: Job) -> None:
        attempts.append(job.attempt)
        if len(attempts) <= outages:
            raise TemporarilyUnavailable("Storage did not answer.")
        asyncio.get_running_loop().call_later(0.1, finished.set)

    ended: list[ProcessingFailed] = []
    await jobs.enqueue(uuid7(), JobKind.PROCESS, lane=Lane.STANDARD)
    await run_until(worker_of(service, handler, ended), finished)
    assert attempts == [1] * (outages + 1)
    assert ended == []


async def test_stopping_worker_gives_its_jobs_back(service: RunningService, jobs: JobStore) -> None:
    begun, ended = asyncio.Event(), []

    async def handler(job: Job) -> None:
        begun.set()
        await asyncio.Event().wait()

    await jobs.enqueue(uuid7(), JobKind.PROCESS, lane=Lane.STANDARD)
    worker = worker_of(service, handler, ended)
    worker._settings = worker._settings.model_copy(update={"drain_s": 0.05})
    await run_until(worker, begun)
    again = await claim(jobs)
    assert again.attempt == 1
    assert ended == []


async def test_killed_worker_loses_and_doubles_nothing(
    service: RunningService, jobs: JobStore, children: Children, ports: Iterator[int]
) -> None:
    anna = service.client("anna")
    settings = service.settings.model_copy(
        update={"worker": service.settings.worker.model_copy(update={"lease_s": 1.0, "concurrency": 1})}
    )
    environment = environment_of(settings, ("mongo", "storage", "worker"))
    sent = [await anna.send(phone_photo(4032, 3024, orientation=6) + bytes([tail])) for tail in range(3)]

    async def start() -> Any:
        return await children.start("doomed-worker", [sys.executable, "-m", "service", "worker"], env=environment)

    child = await start()
    async for event in anna.follow(sent[0]):
        if event["status"] == "PROCESSING":
            break
    os.kill(child.process.pid, signal.SIGKILL)
    await child.process.wait()
    await children.stop(child)

    child = await start()
    try:
        async with asyncio.timeout(60):
            assert await anna.wait(*sent) == dict.fromkeys(sent, "READY")
    finally:
        await children.stop(child)
    for media_id in sent:
        document = await service.runtime.database.media.find_one({"_id": uuid_of(media_id)})
        statuses = [entry["status"] for entry in document["status_history"]]
        assert statuses == ["INITIATED", "UPLOADED", "PROCESSING", "READY"]


async def test_sweeper_finishes_what_everybody_missed(service: RunningService, jobs: JobStore) -> None:
    anna, photo = service.client("anna"), small_photo(5)
    [outcome] = (await anna.create(photo))["outcomes"]
    await anna.put(outcome["upload"], photo)
    [abandoned] = (await anna.create(small_photo(6)))["outcomes"]
    runtime = service.runtime
    await runtime.database.uploads.update_one(
        {"_id": uuid_of(abandoned["upload"]["id"])},
        {"$set": {"expires_at": datetime(2020, 1, 1, tzinfo=UTC)}},
    )

    for _ in range(2):
        await sweep(stores=runtime.stores, object_store=runtime.object_store, grace=timedelta(0))

    status = "query S($ids: [ID!]!) { nodes(ids: $ids) { ... on Media { status } } }"
    ids = [outcome["upload"]["media"]["id"], abandoned["upload"]["media"]["id"]]
    assert [node["status"] for node in (await anna.run(status, ids=ids))["nodes"]] == ["UPLOADED", "EXPIRED"]
    assert await runtime.database.jobs.count_documents({"media_id": uuid_of(ids[0]), "kind": "process"}) == 1
    assert (await anna.complete(abandoned["upload"]["id"]))["userErrors"][0]["code"] == "UPLOAD_EXPIRED"


async def test_sweeper_enqueues_what_was_lost_between_status_and_queue(service: RunningService, jobs: JobStore) -> None:
    anna = service.client("anna")
    media_id = await anna.send(small_photo(7))
    await service.runtime.database.jobs.delete_many({})
    runtime = service.runtime
    await sweep(stores=runtime.stores, object_store=runtime.object_store, grace=timedelta(0))
    async with service.working():
        assert await anna.wait(media_id) == {media_id: MediaStatus.READY.value}


async def test_refusal_of_storage_is_not_an_outage(service: RunningService, jobs: JobStore) -> None:
    finished, ended = asyncio.Event(), []

    async def handler(job: Job) -> None:
        if job.attempt == service.settings.worker.max_attempts:
            asyncio.get_running_loop().call_later(0.3, finished.set)
        raise StorageRefused("Access denied.")

    await jobs.enqueue(uuid7(), JobKind.PROCESS, lane=Lane.STANDARD)
    await run_until(worker_of(service, handler, ended), finished)
    assert [failure.failure for failure in ended] == [FailureCode.STORAGE_UNAVAILABLE]


async def test_work_of_a_newer_release_is_left_alone(service: RunningService, jobs: JobStore) -> None:
    await jobs.enqueue(uuid7(), JobKind.PROCESS, lane=Lane.FIRST_VISIBLE)
    await service.runtime.database.jobs.update_many({}, {"$set": {"kind": "transcode"}})
    await jobs.enqueue(known := uuid7(), JobKind.PROCESS, lane=Lane.STANDARD)
    assert (await claim(jobs)).media_id == known
    assert await jobs.claim(lease_s=60, worker="test") is None


async def test_session_that_cannot_be_read_does_not_stop_the_sweeper(service: RunningService, jobs: JobStore) -> None:
    anna, photo = service.client("anna"), small_photo(9)
    [broken] = (await anna.create(small_photo(10)))["outcomes"]
    [outcome] = (await anna.create(photo))["outcomes"]
    await anna.put(outcome["upload"], photo)
    runtime = service.runtime
    await runtime.database.uploads.update_one({"_id": uuid_of(broken["upload"]["id"])}, {"$unset": {"expires_at": ""}})
    await sweep(stores=runtime.stores, object_store=runtime.object_store, grace=timedelta(0))
    document = await runtime.database.media.find_one({"_id": uuid_of(outcome["upload"]["media"]["id"])})
    assert document["status"] == "UPLOADED"
    await runtime.database.uploads.delete_one({"_id": uuid_of(broken["upload"]["id"])})


async def test_deletion_while_one_rendition_fails_leaves_nothing_in_storage(
    service: RunningService, jobs: JobStore
) -> None:
    anna, runtime = service.client("anna"), service.runtime
    media_id = await anna.send(small_photo(11))
    job = await claim(jobs)
    put, written = runtime.object_store.put, 0

    async def put_then_fail(*args: Any, **kwargs: Any) -> None:
        nonlocal written
        written += 1
        if written == 2:
            await anna.delete(media_id)
            raise TemporarilyUnavailable("Storage went away.")
        await put(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime.object_store, "put", put_then_fail)
        with pytest.raises(TemporarilyUnavailable):
            await process(service, job)
    keys = [entry.key async for entry in runtime.object_store.list_objects(runtime.object_store.media_bucket, "")]
    assert not [key for key in keys if str(uuid_of(media_id)) in key]


async def test_bytes_sent_after_a_deletion_are_removed_without_any_event(
    service: RunningService, jobs: JobStore, no_deletion_window: None
) -> None:
    anna, photo, runtime = service.client("anna"), small_photo(12), service.runtime
    [outcome] = (await anna.create(photo, details={"fileName": "my-passport.jpg"}))["outcomes"]
    upload_id = uuid_of(outcome["upload"]["id"])
    await anna.delete(outcome["upload"]["media"]["id"])
    await remove_objects(await claim(jobs), stores=runtime.stores, object_store=runtime.object_store)
    upload = await runtime.database.uploads.find_one({"_id": upload_id})
    assert "my-passport" not in str(upload)

    assert (await anna.put(outcome["upload"], photo)).status_code == 200
    assert await jobs.claim(lease_s=60, worker="test") is None, "the session is not over yet"
    await runtime.database.jobs.update_many(
        {"state": "open"}, {"$set": {"visible_at": datetime(2020, 1, 1, tzinfo=UTC)}}
    )
    while (job := await jobs.claim(lease_s=60, worker="test")) is not None:
        await remove_objects(job, stores=runtime.stores, object_store=runtime.object_store)
        await jobs.complete(job)
    assert await runtime.object_store.head(upload["bucket"], upload["key"]) is None


async def test_a_worker_that_is_killed_leaves_no_original_on_its_disk(
    service: RunningService, jobs: JobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    named: list[list[str]] = []
    fetch = media_processing.fetch_original

    async def fetch_and_look(media: Any, path: Path, object_store: Any) -> str:
        sha256 = await fetch(media, path, object_store)
        assert path.stat().st_size == media["content"]["bytes"]
        # What stands here now would stand here after a kill.
        named.append([each.name for each in tmp_path.iterdir()])
        return sha256

    monkeypatch.setattr(media_processing, "fetch_original", fetch_and_look)
    anna = service.client(uuid7().hex)
    media_id = await anna.send(small_photo(14))
    async with service.working():
        assert await anna.wait(media_id) == {media_id: "READY"}
    assert named == [[]]
