"""Jobs on Lambda: batches of hints, done in one container, each message answered for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from uuid6 import uuid7

from service import lambda_handler, worker_process
from service.dev.environment import environment_of
from service.errors import ConfigurationError, StorageRefused
from service.job_hints import hint_at
from service.models import Job, JobKind, Lane
from service.processing.fork_client import ForkClient
from service.settings import Settings
from service.stores.invalidations import InvalidationStore
from service.stores.job_inspection import JobRow
from service.stores.jobs import job_id
from tests.hint_stand import Stand, open_stand
from tests.lambda_stand import LambdaContext, in_container
from tests.queues import eventually
from tests.servers import StorageServer

GROUPS = ("mongo", "storage", "worker", "jobs")


@pytest.fixture(scope="module")
async def opened(settings: Settings, ministack: StorageServer) -> AsyncIterator[Stand]:
    async with open_stand(settings, ministack) as stand:
        yield stand


@pytest.fixture
async def stand(opened: Stand, monkeypatch: pytest.MonkeyPatch) -> Stand:
    """Whose deletion jobs only count."""
    await opened.clear()

    async def count(job: Job, **_: Any) -> None:
        await opened.do(job)

    monkeypatch.setattr(worker_process, "remove_unless_kept", count)
    return opened


@pytest.fixture(autouse=True)
def in_lambda(stand: Stand) -> Iterator[None]:
    with in_container(environment_of(stand.settings, GROUPS)):
        yield


async def invoke(context: LambdaContext | None = None, **bodies: str) -> list[str]:
    """The messages that are to be delivered again; the handler is called from outside any event loop."""
    records = [{"messageId": name, "body": body, "eventSource": "aws:sqs"} for name, body in bodies.items()]
    event = {"Records": records}
    answer = await asyncio.to_thread(lambda_handler.process_jobs, event, context or LambdaContext())
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


async def enqueue(stand: Stand) -> tuple[Any, str]:
    media_id = await stand.enqueue(lane=Lane.BACKFILL, kind=JobKind.DELETE)
    return media_id, hint_at(job_id(media_id, JobKind.DELETE, 1))


async def test_a_batch_is_done_and_only_what_failed_comes_again(stand: Stand) -> None:
    assert await invoke(warm="rubbish") == ["warm"]
    running, hint_at_running = await enqueue(stand)
    assert await stand.runtime.stores.jobs.claim(lease_s=5, worker="another") is not None
    wanted, hint = await enqueue(stand)
    await stand.announced()
    await stand.queues[Lane.BACKFILL].drain()
    assert await invoke(good=hint, twin=hint, bad="rubbish", busy=hint_at_running) == ["bad"]
    assert stand.done == {wanted: 1}
    # The same container, with what SQS delivered twice.
    assert await invoke(good=hint) == []
    assert stand.done == {wanted: 1}
    # Whoever was at it may have died: the hint comes again once its lease is over.
    bodies: list[str] = []

    async def has_come() -> bool:
        bodies.extend(await stand.queues[Lane.BACKFILL].drain())
        return hint_at_running in bodies

    await eventually(has_come)
    assert await invoke(again=hint_at_running) == []
    assert stand.done == {wanted: 1, running: 1}


async def test_a_job_that_fails_is_announced_for_its_next_attempt(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(job: Job, **_: Any) -> None:
        raise StorageRefused("Not this time.")

    monkeypatch.setattr(worker_process, "remove_unless_kept", fail)
    media_id, hint = await enqueue(stand)
    await stand.announced()
    await stand.queues[Lane.BACKFILL].drain()
    assert await invoke(failing=hint) == []
    [row] = await stand.runtime.stores.job_inspection.list_jobs(limit=9)
    assert (row.media_id, row.state, row.attempt) == (media_id, "delayed", 1)

    async def has_come() -> bool:
        return await stand.queues[Lane.BACKFILL].drain() == [hint]

    await eventually(has_come)


async def jobs_of(stand: Stand) -> list[JobRow]:
    return await stand.runtime.stores.job_inspection.list_jobs(limit=9)


async def test_what_outlasts_the_invocation_has_failed_and_does_not_come_for_ever(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Job] = []

    async def never_end(job: Job, **_: Any) -> None:
        begun.append(job)
        await asyncio.sleep(600)

    monkeypatch.setattr(worker_process, "remove_unless_kept", never_end)
    # Opening the container would take up the time there is.
    assert await invoke(warm="rubbish") == ["warm"]
    media_id, hint = await enqueue(stand)
    assert await invoke(LambdaContext(remaining_ms=3_300), late=hint) == []
    [row] = await jobs_of(stand)
    assert (row.media_id, row.state, row.attempt) == (media_id, "delayed", 1)
    assert row.last_error == "Processing did not finish in the time there was."
    await stand.make_last_attempt()
    assert await invoke(LambdaContext(remaining_ms=3_300), late=hint) == []
    [row] = await jobs_of(stand)
    assert (row.media_id, row.state) == (media_id, "dead")
    assert await invoke(late=hint) == []
    assert (len(begun), stand.done) == (2, {})


async def test_what_there_is_no_time_to_begin_costs_no_attempt(stand: Stand) -> None:
    assert await invoke(warm="rubbish") == ["warm"]
    media_id, hint = await enqueue(stand)
    assert await invoke(LambdaContext(remaining_ms=2_500), late=hint) == ["late"]
    [row] = await jobs_of(stand)
    assert (row.media_id, row.state, row.attempt) == (media_id, "open", 0)
    assert await invoke(late=hint) == []
    assert stand.done == {media_id: 1}


async def test_nothing_is_decoded_or_claimed_where_nothing_can_be_confined(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cannot(*_: Any) -> ForkClient:
        raise ConfigurationError("This system cannot confine decoders.")

    monkeypatch.setattr(ForkClient, "start", cannot)
    media_id, hint = await enqueue(stand)
    with pytest.raises(ConfigurationError, match="cannot confine"):
        await invoke(hint=hint)
    assert stand.done == {}
    [row] = await stand.runtime.stores.job_inspection.list_jobs(limit=9)
    assert (row.media_id, row.state, row.attempt) == (media_id, "open", 0)


async def test_a_scheduled_sweep_announces_what_was_lost(stand: Stand) -> None:
    _, hint = await enqueue(stand)
    await stand.announced()
    await stand.queues[Lane.BACKFILL].drain()
    await stand.make_old()
    await asyncio.to_thread(lambda_handler.sweep_storage, {}, LambdaContext())
    assert await stand.queues[Lane.BACKFILL].drain() == [hint]


async def test_a_scheduled_sweep_carries_invalidations_on(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIA_CDN__DISTRIBUTION_ID", "NONE")
    # Nobody listens there: what is asked for waits, and is not lost.
    monkeypatch.setenv("MEDIA_CDN__ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("MEDIA_CDN__CACHE_TAGS", "false")
    invalidations = InvalidationStore(stand.runtime.database)
    await invalidations.plan("job", uuid7(), ["medical/raw/x.jpg"])
    await invalidations.release("job")
    await asyncio.to_thread(lambda_handler.sweep_storage, {}, LambdaContext())
    [batch] = await stand.runtime.database.handle["invalidation_batches"].find({}).to_list(None)
    assert (batch["paths"], batch["state"], batch["failures"]) == (["/medical/raw/x.jpg"], "open", 1)
