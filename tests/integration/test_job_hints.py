"""Jobs by hints alone: real queues (MiniStack's), a real database, and nobody who polls it."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from uuid import UUID

import pytest
from uuid6 import uuid7

from service import hinted_jobs
from service.dev.environment import environment_of
from service.errors import StorageRefused
from service.job_hints import hint_at
from service.message_queue import MessageQueue, QueueMessage
from service.models import Job, JobKind, Lane, Workload
from service.settings import Settings
from service.stores.jobs import job_id
from service.upkeep import sweep_once
from tests.hint_stand import CONCURRENCY, Stand, open_stand
from tests.queues import eventually
from tests.servers import StorageServer

REPOSITORY = Path(__file__).parents[2]
GROUPS = ("mongo", "storage", "worker", "jobs")


@pytest.fixture(scope="module")
async def opened(settings: Settings, ministack: StorageServer) -> AsyncIterator[Stand]:
    async with open_stand(settings, ministack) as stand:
        yield stand


@pytest.fixture
async def stand(opened: Stand) -> Stand:
    await opened.clear()
    return opened


async def test_jobs_flow_by_hints_alone(stand: Stand) -> None:
    async with stand.working():
        expected = [await stand.enqueue(lane=lane) for lane in Lane for _ in range(5)]
        await eventually(stand.is_over)
    assert stand.done == dict.fromkeys(expected, 1)


async def test_without_a_hint_nothing_is_done_until_it_is_announced_anew(stand: Stand) -> None:
    media_id = await stand.enqueue()
    await stand.announced()
    assert len(await stand.queues[Lane.STANDARD].drain()) == 1
    # Every queue is looked into, and one is waited at.
    assert await stand.source().next(frozenset(Lane), {Workload.PICTURES}) is None
    # Not at once: its hint may be on its way to a worker.
    await sweep_once(stand.runtime)
    await stand.announced()
    assert await stand.queues[Lane.STANDARD].is_empty()
    await stand.make_old()
    async with stand.working():
        await sweep_once(stand.runtime)
        await eventually(stand.is_over)
    assert stand.done == {media_id: 1}


async def test_overlooked_jobs_are_announced_once_however_many_look(stand: Stand) -> None:
    ids = {job_id(await stand.enqueue(lane=Lane.BACKFILL), JobKind.RENDER, 1) for _ in range(25)}
    done = await stand.runtime.stores.jobs.claim(lease_s=600, worker="w")
    assert done is not None
    await stand.announced()
    await stand.queues[Lane.BACKFILL].drain()
    await stand.make_old()
    await stand.runtime.stores.jobs.complete(done)
    hints = stand.runtime.hints
    assert hints is not None
    assert await hints.announce_overlooked(stand.runtime.stores.job_inspection) == 24
    assert await hints.announce_overlooked(stand.runtime.stores.job_inspection) == 0
    bodies = await stand.queues[Lane.BACKFILL].drain()
    assert sorted(bodies) == sorted(hint_at(each) for each in ids - {done.id})


async def test_duplicates_stale_hints_and_rubbish_change_nothing(stand: Stand) -> None:
    media_id = await stand.enqueue()
    twin = hint_at(job_id(media_id, JobKind.RENDER, 1))
    await stand.queues[Lane.STANDARD].send(twin, twin, "rubbish", "[]", hint_at(f"{uuid7()}:render:1"))
    async with stand.working():
        await eventually(stand.is_over)
        await stand.queues[Lane.STANDARD].send(twin, twin)
        await eventually(stand.is_over)
    assert stand.done == {media_id: 1}


async def test_a_job_that_failed_comes_again_after_its_pause(stand: Stand) -> None:
    times: list[float] = []

    async def fail_first(job: Job) -> None:
        times.append(asyncio.get_running_loop().time())
        if len(times) == 1:
            raise StorageRefused("Not this time.")

    await stand.enqueue()
    async with stand.working(fail_first):
        await eventually(stand.is_over)
    assert len(times) == 2
    assert times[1] - times[0] >= 1


async def test_a_hint_at_a_job_that_is_not_due_waits_in_the_queue(stand: Stand) -> None:
    media_id = await stand.enqueue(delay_s=2)
    await stand.queues[Lane.STANDARD].send(hint_at(job_id(media_id, JobKind.RENDER, 1)))

    async def hidden() -> bool:
        return (await stand.queues[Lane.STANDARD].waiting())[1] >= 1

    async with stand.working():
        await eventually(hidden)
        assert stand.done == {}
        await eventually(stand.is_over)
    assert stand.done == {media_id: 1}


async def test_whoever_is_waited_for_has_a_place_of_its_own(stand: Stand) -> None:
    go, begun = asyncio.Event(), Counter[Lane]()

    async def handle(job: Job) -> None:
        begun[job.lane] += 1
        if job.lane is not Lane.FIRST_VISIBLE:
            await go.wait()
        await stand.do(job)

    async def has_no_place() -> bool:
        return begun[Lane.BACKFILL] == CONCURRENCY

    async with stand.working(handle):
        for _ in range(6):
            await stand.enqueue(lane=Lane.BACKFILL)
        await eventually(has_no_place)
        waited_for = await stand.enqueue(lane=Lane.FIRST_VISIBLE)

        async def is_done() -> bool:
            return stand.done[waited_for] == 1

        await eventually(is_done, within_s=5)
        assert sum(stand.done.values()) == 1
        assert begun == {Lane.BACKFILL: CONCURRENCY, Lane.FIRST_VISIBLE: 1}
        go.set()
        await eventually(stand.is_over)


async def test_a_job_longer_than_its_hints_visibility_runs_once(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, begun, hide = Counter[str](), Counter[UUID](), MessageQueue.hide

    async def count(queue: MessageQueue, messages: Mapping[QueueMessage, int]) -> None:
        await hide(queue, messages)
        hidden.update(message.id for message in messages)

    async def was_visible_but_for_that() -> bool:
        # At every third of its time: at the fourth, that of the first has run out.
        return max(hidden.values(), default=0) >= 4

    async def slow(job: Job) -> None:
        begun[job.media_id] += 1
        await eventually(was_visible_but_for_that)
        await stand.do(job)

    monkeypatch.setattr(MessageQueue, "hide", count)
    media_id = await stand.enqueue()
    async with stand.working(slow), stand.working(slow):
        await eventually(stand.is_over)
    assert begun == stand.done == {media_id: 1}


STUCK = """
import asyncio
from service import worker_process
from service.models import Role
from service.production import load_settings

async def stuck(*_args, **_more):
    print("begun", flush=True)
    await asyncio.sleep(600)

worker_process.remove_unless_kept = stuck
asyncio.run(worker_process.run_worker(load_settings(Role.WORKER)))
"""


async def test_a_job_whose_worker_was_killed_is_resumed_by_its_own_hint(stand: Stand) -> None:
    media_id = await stand.enqueue(kind=JobKind.DELETE)
    victim = await asyncio.create_subprocess_exec(
        *[sys.executable, "-c", STUCK],
        cwd=REPOSITORY,
        env=environment_of(stand.settings, GROUPS),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert victim.stdout is not None
        assert await asyncio.wait_for(victim.stdout.readline(), 30) == b"begun\n"
    finally:
        victim.kill()
        await victim.wait()
    async with stand.working():
        await eventually(stand.is_over)
    assert stand.done == {media_id: 1}


async def test_a_queue_that_is_away_costs_nobody_a_request(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    hints = stand.runtime.hints
    assert hints is not None
    settings = stand.settings.jobs.model_copy(update={"endpoint": "http://127.0.0.1:9"})
    nobody = MessageQueue(stand.queues[Lane.STANDARD].url, settings, stand.settings.storage)
    with monkeypatch.context() as patch:
        patch.setattr(hints.queues[Lane.STANDARD], "_client", nobody._client)
        media_id = await stand.enqueue()
        await stand.announced()
    assert (await stand.runtime.stores.job_inspection.list_jobs(limit=9))[0].media_id == media_id
    await stand.make_old()
    async with stand.working():
        await sweep_once(stand.runtime)
        await eventually(stand.is_over)
    assert stand.done == {media_id: 1}


async def test_clips_that_hang_hold_up_neither_pictures_nor_deletions(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Those that find no place are announced anew within the test's time.
    monkeypatch.setattr(hinted_jobs, "_FULL_S", 1)
    go = asyncio.Event()

    async def handle(job: Job) -> None:
        if job.workload is Workload.CLIPS:
            await go.wait()
        await stand.do(job)

    async def are_done() -> bool:
        return set(stand.done) >= {picture, deleted}

    async with stand.working(handle):
        moving = {await stand.enqueue(moves=True) for _ in range(8)}
        picture, deleted = await stand.enqueue(), await stand.enqueue(kind=JobKind.DELETE)
        await eventually(are_done)
        assert not moving & set(stand.done)
        go.set()
        await eventually(stand.is_over)
    assert stand.done == dict.fromkeys(moving | {picture, deleted}, 1)
