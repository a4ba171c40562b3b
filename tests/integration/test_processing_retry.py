"""Processing again what failed: an explicit step back that is recorded, happens once, and survives its helpers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from pymongo.errors import AutoReconnect

from service.access import Viewer
from service.lifecycle import MediaStatus
from service.processing_retry import retry_processing
from service.stores.jobs import JobStore
from service.stores.media import MediaStore
from service.sweeper import sweep
from tests import hostile
from tests.api_client import ApiClient
from tests.integration.conftest import RunningService
from tests.integration.mutation_scenarios import Stage, uuid_of
from tests.photos import small_photo

RETRY = """mutation ($input: RetryProcessingInput!) {
  retryProcessing(input: $input) {
    media { status statusSequence failure { code } statusHistory { status } }
    userErrors { code message field retryable }
  }
}"""


async def retry(client: ApiClient, media_id: str, *, key: str | None = None) -> dict[str, Any]:
    payload: dict[str, Any] = (await client.run(RETRY, input={"idempotencyKey": key or uuid4().hex, "id": media_id}))[
        "retryProcessing"
    ]
    return payload


@pytest.fixture
def stage(service: RunningService) -> Stage:
    return Stage(service, service.client("anna"), "anna")


async def document_of(service: RunningService, media_id: str) -> dict[str, Any]:
    document: dict[str, Any] | None = await service.runtime.database.media.find_one({"_id": uuid_of(media_id)})
    assert document is not None
    return document


async def jobs_of(service: RunningService, media_id: str) -> list[str]:
    found = service.runtime.database.jobs.find({"media_id": uuid_of(media_id), "kind": "process"}).sort("_id", 1)
    return [job["_id"].rpartition(":")[2] async for job in found]


async def test_retried_media_becomes_ready_and_its_history_says_how(service: RunningService, stage: Stage) -> None:
    media_id = await stage.failed_media()
    payload = await retry(stage.client, media_id)
    assert payload["userErrors"] == []
    assert payload["media"]["status"] == "UPLOADED"
    assert payload["media"]["failure"] is None
    statuses = [entry["status"] for entry in payload["media"]["statusHistory"]]
    assert statuses == ["INITIATED", "UPLOADED", "PROCESSING", "FAILED", "UPLOADED"]
    async with service.working():
        assert await stage.client.wait(media_id) == {media_id: "READY"}
    # The job of the first round was still there: its fence is too old to take hold.
    assert await jobs_of(service, media_id) == ["1", "2"]


async def test_repeat_after_a_second_failure_retries_nothing(service: RunningService, stage: Stage) -> None:
    media_id = await stage.failed_media()
    await retry(stage.client, media_id, key="once" + media_id)
    await stage.fail(media_id)
    before = await document_of(service, media_id)
    repeated = await retry(stage.client, media_id, key="once" + media_id)
    assert (repeated["userErrors"], repeated["media"]["status"]) == ([], "FAILED")
    assert await document_of(service, media_id) == before
    assert await jobs_of(service, media_id) == ["1", "2"]
    assert (await retry(stage.client, media_id))["media"]["status"] == "UPLOADED"
    assert await jobs_of(service, media_id) == ["1", "2", "3"]


async def test_twin_that_slept_through_a_second_failure_retries_nothing(
    service: RunningService, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    media_id, stores = await stage.failed_media(), service.runtime.stores
    work, asleep, wake = stores.media.transition, asyncio.Event(), asyncio.Event()

    async def sleeping(*args: Any, **more: Any) -> Any:
        asleep.set()
        await wake.wait()
        return await work(*args, **more)

    async def ask() -> None:
        await retry_processing(
            Viewer("anna"),
            uuid_of(media_id),
            idempotency_key="twin" + media_id,
            stores=stores,
            object_store=service.runtime.object_store,
        )

    with monkeypatch.context() as patch:
        patch.setattr(MediaStore, "transition", staticmethod(sleeping))
        twin = asyncio.create_task(ask())
        await asleep.wait()
    await ask()
    await stage.fail(media_id)
    wake.set()
    await twin
    assert (await document_of(service, media_id))["status"] == "FAILED"
    assert await jobs_of(service, media_id) == ["1", "2"]


async def _ready(stage: Stage) -> str:
    return await stage.ready_media()


async def _quarantined(stage: Stage) -> str:
    failure = {"code": "DECODE_LIMIT_EXCEEDED", "message": "It looks hostile.", "retryable": False}
    return await stage.ready_media(status="QUARANTINED", failure=failure)


async def _file_at_fault(stage: Stage) -> str:
    failure = {"code": "CORRUPT_FILE", "message": "It is damaged.", "retryable": False}
    return await stage.ready_media(status="FAILED", failure=failure)


async def _original_gone(stage: Stage) -> str:
    media_id = await stage.failed_media()
    original = (await document_of(stage.service, media_id))["original"]
    await stage.service.runtime.object_store.delete(original["bucket"], [original["key"]])
    return media_id


@pytest.mark.parametrize("make", [_ready, _quarantined, _file_at_fault, _original_gone])
async def test_what_cannot_be_mended_is_refused(
    service: RunningService, stage: Stage, make: Callable[[Stage], Any]
) -> None:
    media_id = await make(stage)
    before, jobs = await document_of(service, media_id), await jobs_of(service, media_id)
    payload = await retry(stage.client, media_id)
    [error] = payload["userErrors"]
    assert (payload["media"], error["code"], error["retryable"]) == (None, "STATE_CONFLICT", False)
    assert len(error["message"]) > 20
    assert (await document_of(service, media_id), await jobs_of(service, media_id)) == (before, jobs)


async def test_fault_of_ours_may_be_retried_when_its_attempts_are_used_up(stage: Stage) -> None:
    media_id = await stage.failed_media()
    failure = {"code": "INTERNAL", "message": "Processing did not finish.", "retryable": False}
    await stage.service.runtime.database.media.update_one({"_id": uuid_of(media_id)}, {"$set": {"failure": failure}})
    assert (await retry(stage.client, media_id))["media"]["status"] == "UPLOADED"


async def test_refusal_is_remembered_like_any_answer(stage: Stage) -> None:
    media_id = await stage.client.send(small_photo(70))
    [refusal] = (await retry(stage.client, media_id, key="early" + media_id))["userErrors"]
    await stage.fail(media_id)
    assert (await retry(stage.client, media_id, key="early" + media_id))["userErrors"] == [refusal]
    assert (await document_of(stage.service, media_id))["status"] == "FAILED"


async def test_media_of_others_is_not_there(service: RunningService, stage: Stage) -> None:
    media_id = await stage.failed_media()
    before = await document_of(service, media_id)
    [error] = (await retry(service.client("bert"), media_id))["userErrors"]
    assert (error["code"], error["field"]) == ("NOT_FOUND", ["id"])
    assert await document_of(service, media_id) == before
    moderator = service.client("mo", roles=("moderator",))
    assert (await retry(moderator, media_id))["userErrors"] == []


@pytest.mark.parametrize("mended_by", ["repeat", "sweeper"])
async def test_death_between_status_and_queue_is_mended(
    service: RunningService, stage: Stage, monkeypatch: pytest.MonkeyPatch, mended_by: str
) -> None:
    media_id, stores, object_store = await stage.failed_media(), service.runtime.stores, service.runtime.object_store

    async def dying(*_args: Any, **_more: Any) -> None:
        raise AutoReconnect("connection lost")

    async def ask() -> None:
        await retry_processing(
            Viewer("anna"),
            uuid_of(media_id),
            idempotency_key="died" + media_id,
            stores=stores,
            object_store=object_store,
        )

    with monkeypatch.context() as patch:
        patch.setattr(JobStore, "enqueue", dying)
        with pytest.raises(AutoReconnect):
            await ask()
    assert (await document_of(service, media_id))["status"] == "UPLOADED"
    assert await jobs_of(service, media_id) == ["1"]
    if mended_by == "repeat":
        await ask()
    else:
        await sweep(stores=stores, object_store=object_store, grace=timedelta(seconds=-1))
    assert await jobs_of(service, media_id) == ["1", "2"]


async def test_worker_of_the_round_before_cannot_take_hold_again(service: RunningService, stage: Stage) -> None:
    media_id, media = await stage.failed_media(), service.runtime.stores.media
    await retry(stage.client, media_id)
    old_fence, new_fence = (1 << 20) + 3, (2 << 20) + 1
    assert not await media.hold(uuid_of(media_id), old_fence, attempt=5, lane="standard")
    assert (await document_of(service, media_id))["status"] == MediaStatus.UPLOADED
    assert await media.hold(uuid_of(media_id), new_fence, attempt=1, lane="standard")


async def test_hostile_file_is_never_retried(service: RunningService, stage: Stage) -> None:
    async with service.working():
        media_id = await stage.client.send(hostile.many_scans())
        assert await stage.client.wait(media_id) == {media_id: "QUARANTINED"}
    [error] = (await retry(stage.client, media_id))["userErrors"]
    assert error["code"] == "STATE_CONFLICT"
    assert (await document_of(service, media_id))["status"] == "QUARANTINED"
