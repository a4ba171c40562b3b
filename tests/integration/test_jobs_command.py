"""`jobs list|retry|drain`, and what metrics say of the queue."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock
from uuid import UUID

import orjson
import pytest
from motor.motor_asyncio import AsyncIOMotorCollection
from uuid6 import uuid7

from service.commands.jobs import retry_jobs, show_jobs
from service.dev.environment import environment_of
from service.errors import TemporarilyUnavailable
from service.models import Job, JobKind, JobState, Lane
from service.runtime import Runtime
from service.settings import Settings
from service.stores.audit import AuditStore
from service.stores.audit_reads import AuditReads
from service.stores.job_inspection import JobInspection
from service.transport.operator_routes import measure_queue
from tests.integration.conftest import RunningService
from tests.integration.mutation_scenarios import Stage, uuid_of

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
async def runtime(service: RunningService) -> Runtime:
    """An empty queue."""
    await service.runtime.database.jobs.delete_many({})
    return service.runtime


async def enqueue(
    runtime: Runtime, *, lane: Lane = Lane.STANDARD, kind: JobKind = JobKind.DELETE, delay_s: float = 0
) -> UUID:
    media_id = uuid7()
    await runtime.stores.jobs.enqueue(media_id, kind, lane=lane, delay_s=delay_s)
    return media_id


async def claim(runtime: Runtime) -> Job:
    job = await runtime.stores.jobs.claim(lease_s=600, worker="w1")
    assert job is not None
    return job


async def dead_letter(runtime: Runtime, *, kind: JobKind = JobKind.DELETE, reason: str = "It broke.") -> Job:
    await enqueue(runtime, kind=kind, lane=Lane.FIRST_VISIBLE)
    job = await claim(runtime)
    assert await runtime.stores.jobs.dead_letter(job, reason=reason)
    return job


async def make_old(runtime: Runtime, *, lane: Lane, hours: int = 1) -> None:
    """As if everything in a lane had happened `hours` earlier."""
    fields = ("visible_at", "enqueued_at", "ended_at")
    earlier = {f: {"$dateSubtract": {"startDate": f"${f}", "unit": "hour", "amount": hours}} for f in fields}
    await runtime.database.jobs.update_many({"lane": lane.value}, [{"$set": earlier}])


async def one_of_each(runtime: Runtime) -> None:
    """A job in each state, the open one for an hour; all in the standard lane but the dead one."""
    stores = runtime.stores
    await enqueue(runtime)
    await stores.jobs.complete(await claim(runtime))
    await enqueue(runtime)
    await claim(runtime)
    await enqueue(runtime)
    await make_old(runtime, lane=Lane.STANDARD)
    lease = {"$set": {"visible_at": {"$dateAdd": {"startDate": "$$NOW", "unit": "hour", "amount": 1}}}}
    await runtime.database.jobs.update_one({"claimed_by": "w1", "state": "open"}, [lease])
    await enqueue(runtime, delay_s=3_600)
    await dead_letter(runtime)


async def test_list_counts_every_lane_and_shows_what_is_not_done(
    runtime: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    await one_of_each(runtime)
    shown = {"state": None, "lane": None, "kind": None, "limit": 20}
    assert await show_jobs(runtime.settings, **shown, as_json=True) == 0
    first, *rows = map(orjson.loads, capsys.readouterr().out.splitlines())
    standard, foremost = first["summary"]["standard"], first["summary"]["first_visible"]
    assert {state: standard[state] for state in JobState} == {
        "open": 1, "delayed": 1, "running": 1, "dead": 0, "done": 1,
    }  # fmt: skip
    assert standard["waiting_s"] == pytest.approx(3_600, abs=60)
    assert (foremost["dead"], foremost["waiting_s"]) == (1, 0)
    assert {row["state"] for row in rows} == {"open", "delayed", "running", "dead"}
    [dead] = [row for row in rows if row["state"] == "dead"]
    assert (dead["kind"], dead["attempt"], dead["last_error"]) == ("delete", 1, "It broke.")

    assert await show_jobs(runtime.settings, **shown, as_json=False) == 0
    printed = capsys.readouterr().out
    assert dead["id"] in printed
    assert "It broke." in printed


@pytest.mark.parametrize("state", JobState)
async def test_list_tells_states_apart(runtime: Runtime, state: JobState) -> None:
    await one_of_each(runtime)
    inspection = runtime.stores.job_inspection
    [row] = await inspection.list_jobs(state=state, limit=20)
    assert row.state == state
    assert (row.claimed_by is not None) == (state in {JobState.RUNNING, JobState.DEAD, JobState.DONE})
    assert await inspection.list_jobs(state=state, kind="process", limit=20) == []
    assert await inspection.list_jobs(state=state, lane=Lane.BACKFILL, limit=20) == []


async def test_only_what_could_have_been_begun_has_waited(runtime: Runtime) -> None:
    await one_of_each(runtime)
    await enqueue(runtime, lane=Lane.BACKFILL, delay_s=3_600)

    def gauge(name: str, **labels: str) -> float:
        value = runtime.metrics.registry.get_sample_value(name, labels)
        assert value is not None
        return value

    await measure_queue(runtime)
    assert gauge("media_queue_age_seconds", lane="standard") == pytest.approx(3_600, abs=60)
    assert gauge("media_queue_age_seconds", lane="backfill") == 0
    assert gauge("media_queue_jobs", lane="backfill", state="delayed") == 1
    assert gauge("media_queue_jobs", lane="first_visible", state="dead") == 1
    # A job that is given back for another attempt waits anew, from when it may be begun.
    await runtime.database.jobs.delete_many({"lane": "standard"})
    await enqueue(runtime)
    await make_old(runtime, lane=Lane.STANDARD)
    await runtime.stores.jobs.retry(await claim(runtime), delay_s=60, reason="Not yet.")
    await measure_queue(runtime)
    assert gauge("media_queue_age_seconds", lane="standard") == 0
    assert gauge("media_queue_jobs", lane="standard", state="delayed") == 1


async def test_inspection_is_read_from_its_index(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    now = await runtime.stores.media.server_time()
    rows = [
        {"_id": f"{state}{lane}{n}", "state": state, "lane": lane.value, "visible_at": now, "claimed_by": "w"}
        for state in ("open", "dead", "done")
        for lane in Lane
        for n in range(200)
    ]
    await runtime.database.jobs.insert_many(rows)
    asked: list[Any] = []
    aggregate = AsyncIOMotorCollection.aggregate

    def remember(collection: Any, pipeline: list[Any]) -> Any:
        asked.append(pipeline)
        return aggregate(collection, pipeline)

    monkeypatch.setattr(AsyncIOMotorCollection, "aggregate", remember)
    inspection = JobInspection(runtime.database)
    await inspection.waiting_s()
    await inspection.count([JobState.OPEN, JobState.RUNNING, JobState.DEAD], limit=50)
    for pipeline in asked:
        explained = await runtime.database.handle.command(
            {"explain": {"aggregate": "jobs", "pipeline": pipeline, "cursor": {}}, "verbosity": "executionStats"}
        )
        plan = explained["stages"][0]["$cursor"] if "stages" in explained else explained
        assert "COLLSCAN" not in str(plan["queryPlanner"]["winningPlan"])
        stats = plan["executionStats"]
        assert stats["totalDocsExamined"] <= 50
        assert stats["totalKeysExamined"] <= 51


def said(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    # The API under test logs beside them.
    return [orjson.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith('{"job"')]


async def retry(runtime: Runtime, *ids: str, kind: str | None = None) -> int:
    return await retry_jobs(runtime.settings, ids, kind=kind, as_json=True)


async def test_retry_reopens_a_job_at_a_fence_above_the_old_one(
    runtime: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    dead = await dead_letter(runtime)
    assert await retry(runtime, dead.id, "nonsense") == 1
    assert [(line["job"], line["outcome"]) for line in said(capsys)] == [(dead.id, "reopened"), ("nonsense", "absent")]
    # Whoever held it before it was set aside has no say in it any more.
    assert not await runtime.stores.jobs.complete(dead)
    again = await claim(runtime)
    assert (again.id, again.attempt) == (dead.id, 1)
    assert again.fence > dead.fence + 1
    assert await runtime.stores.jobs.complete(again)
    assert await retry(runtime, dead.id) == 1
    assert (await runtime.stores.job_inspection.list_jobs(limit=9)) == []


async def test_retry_all_keeps_to_its_kind(
    runtime: Runtime, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, other = await dead_letter(runtime), await dead_letter(runtime, kind=JobKind.PROCESS)
    with monkeypatch.context() as away:
        away.setattr(AuditStore, "append", AsyncMock(side_effect=TemporarilyUnavailable("It is away.")))
        assert await retry(runtime, kind="delete") == 1
    dead = await runtime.stores.job_inspection.list_jobs(state=JobState.DEAD, limit=9)
    assert {each.id for each in dead} == {wanted.id, other.id}, "what cannot go on record is not done"
    assert await retry(runtime, kind="delete") == 0
    reads = AuditReads(runtime.database)
    ran = [each async for each in reads.entries(actor="operator") if each["action"] == "operator.command"]
    details = {"command": "jobs retry", "kind": "delete", "jobs": "all"}
    assert [(each["subject"], each["details"]) for each in ran][-1] == ("jobs retry", details)
    assert [line["job"] for line in said(capsys)] == [wanted.id]
    [left] = await runtime.stores.job_inspection.list_jobs(state=JobState.DEAD, limit=9)
    assert left.id == other.id


@pytest.fixture
def stage(service: RunningService) -> Stage:
    return Stage(service, service.client("anna"), "anna")


async def dead_process_job(service: RunningService, stage: Stage, code: str = "STORAGE_UNAVAILABLE") -> tuple[str, str]:
    """A FAILED media and the dead letter of its processing."""
    jobs = service.runtime.stores.jobs
    while (other := await jobs.claim(lease_s=600, worker="tidy")) is not None:
        await jobs.complete(other)
    media_id = await stage.failed_media()
    if code != "STORAGE_UNAVAILABLE":
        failure = {"code": code, "message": "It is broken.", "retryable": False}
        await service.runtime.database.media.update_one({"_id": uuid_of(media_id)}, {"$set": {"failure": failure}})
    job = await claim(service.runtime)
    assert await jobs.dead_letter(job, reason="Storage was away.")
    return media_id, job.id


async def state_of(service: RunningService, media_id: str) -> tuple[str, list[tuple[str, str]]]:
    media = await service.runtime.database.media.find_one({"_id": uuid_of(media_id)})
    jobs = service.runtime.database.jobs.find({"media_id": uuid_of(media_id)}).sort("_id", 1)
    return media["status"], [(job["_id"].rpartition(":")[2], job["state"]) async for job in jobs]


async def test_retry_of_processing_steps_its_media_back_and_it_becomes_ready(
    service: RunningService, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    media_id, job_id = await dead_process_job(service, stage)
    assert await retry(service.runtime, job_id) == 0
    assert said(capsys) == [{"job": job_id, "outcome": "sent_back"}]
    assert await state_of(service, media_id) == ("UPLOADED", [("2", "open")])
    assert await retry(service.runtime, job_id) == 1
    assert [line["outcome"] for line in said(capsys)] == ["absent"]
    async with service.working():
        assert await stage.client.wait(media_id) == {media_id: "READY"}


async def test_retry_that_died_half_way_goes_on(
    service: RunningService, stage: Stage, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    media_id, job_id = await dead_process_job(service, stage)

    async def die(*_: Any) -> None:
        raise SystemError

    with monkeypatch.context() as patch:
        patch.setattr("service.dead_letters.enqueue_processing", die)
        with pytest.raises(SystemError):
            await retry(service.runtime, job_id)
    assert await state_of(service, media_id) == ("UPLOADED", [("1", "dead")])
    assert await retry(service.runtime, job_id) == 0
    assert await state_of(service, media_id) == ("UPLOADED", [("2", "open")])


@pytest.mark.parametrize("fault", ["file", "storage"])
async def test_retry_refuses_what_cannot_help_and_changes_nothing(
    service: RunningService, stage: Stage, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    media_id, job_id = await dead_process_job(
        service, stage, "CORRUPT_FILE" if fault == "file" else "STORAGE_UNAVAILABLE"
    )
    if fault == "storage":
        media = await service.runtime.database.media.find_one({"_id": uuid_of(media_id)})
        await service.runtime.object_store.delete(media["original"]["bucket"], [media["original"]["key"]])
    assert await retry(service.runtime, job_id) == 1
    [line] = said(capsys)
    assert line["outcome"] == "refused"
    assert {"file": "at fault", "storage": "gone from storage"}[fault] in line["why"]
    assert await state_of(service, media_id) == ("FAILED", [("1", "dead")])


async def test_a_letter_that_its_owner_was_faster_with_is_removed(
    service: RunningService, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    media_id, job_id = await dead_process_job(service, stage)
    mutation = "mutation ($i: RetryProcessingInput!) { retryProcessing(input: $i) { media { status } } }"
    await stage.client.run(mutation, i={"idempotencyKey": uuid7().hex, "id": media_id})
    assert await retry(service.runtime, job_id) == 0
    [line] = said(capsys)
    assert line["outcome"] == "superseded"
    assert await state_of(service, media_id) == ("UPLOADED", [("2", "open")])


async def drain(settings: Settings, *words: str, stdout: Any = asyncio.subprocess.PIPE) -> tuple[int, bytes, bytes]:
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "service", "jobs", "drain", *words],
        cwd=REPOSITORY,
        env=environment_of(settings, ("mongo", "storage")),
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out or b"", err


async def test_drain_writes_dead_letters_and_removes_them(runtime: Runtime, tmp_path: Path) -> None:
    young, old = await dead_letter(runtime, reason="young"), await dead_letter(runtime, reason="old\n\x1b[2J")
    await runtime.database.jobs.update_one(
        {"_id": old.id},
        [{"$set": {"ended_at": {"$dateSubtract": {"startDate": "$$NOW", "unit": "hour", "amount": 48}}}}],
    )
    code, out, err = await drain(runtime.settings, "--older-than", "24")
    assert code == 0, err
    [line] = map(orjson.loads, out.splitlines())
    assert (line["id"], line["last_error"], line["kind"]) == (old.id, "old\n\x1b[2J", "delete")
    assert [row.id for row in await runtime.stores.job_inspection.list_jobs(limit=9)] == [young.id]
    file = tmp_path / "letters.jsonl"
    with file.open("wb") as stdout:
        assert (await drain(runtime.settings, stdout=stdout))[0] == 0
    assert orjson.loads(file.read_bytes())["id"] == young.id
    assert await runtime.stores.job_inspection.list_jobs(limit=9) == []


async def test_drain_removes_nothing_that_was_not_taken(runtime: Runtime) -> None:
    dead = await dead_letter(runtime)
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        code, _, err = await drain(runtime.settings, stdout=full)
    finally:
        os.close(full)
    assert code == 1
    assert b"Traceback" not in err
    assert b"still there" in err
    assert [row.id for row in await runtime.stores.job_inspection.list_jobs(limit=9)] == [dead.id]
