"""The consumer of storage events on a real queue (MiniStack's): nothing lost, nothing deleted too early."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from service.errors import TemporarilyUnavailable
from service.event_consumer import EventConsumer, MessageHandler
from service.message_queue import MessageQueue, QueueMessage
from service.storage_events import UnreadableEvent
from service.telemetry import Metrics
from tests.queues import Queues, eventually, open_queues
from tests.servers import StorageServer

REPOSITORY = Path(__file__).parents[2]

# A process that takes a message, says so, and never comes to an end with it.
STUCK = """
import asyncio, json, sys
from service.event_consumer import EventConsumer
from service.settings import EventsSettings, StorageSettings
from service.message_queue import MessageQueue
from service.telemetry import Metrics

async def handle(body):
    print("taken", flush=True)
    await asyncio.sleep(600)

async def main():
    events = EventsSettings.model_validate_json(sys.argv[1])
    storage = StorageSettings.model_validate_json(sys.argv[2])
    queue = MessageQueue(events.queue_url, events, storage)
    await EventConsumer(events, queue=queue, handle=handle, metrics=Metrics()).run()

asyncio.run(main())
"""


@pytest.fixture
def queues(ministack: StorageServer) -> Iterator[Queues]:
    with open_queues(ministack) as opened:
        yield opened


@pytest.fixture
def redriven(ministack: StorageServer) -> Iterator[Queues]:
    with open_queues(ministack, max_receive_count=2) as opened:
        yield opened


class Recorder:
    """A handler that remembers what it was given, and fails as told: once for each entry of `failures`."""

    def __init__(self, **failures: list[Exception]) -> None:
        self.seen: Counter[str] = Counter()
        self.failures = failures

    async def __call__(self, body: str) -> None:
        self.seen[body] += 1
        if left := self.failures.get(body):
            raise left.pop()


def counted(metrics: Metrics, outcome: str) -> float:
    return metrics.registry.get_sample_value("media_storage_messages_total", {"outcome": outcome}) or 0


@asynccontextmanager
async def consuming(
    queues: Queues, handle: MessageHandler, metrics: Metrics | None = None, *, drain_s: float = 10, **changed: Any
) -> AsyncIterator[EventConsumer]:
    """A consumer for as long as the block lasts."""
    settings = queues.settings(**changed)
    queue = MessageQueue(queues.url, settings, queues.server.settings())
    consumer = EventConsumer(settings, queue=queue, handle=handle, metrics=metrics or Metrics(), drain_s=drain_s)
    running = asyncio.create_task(consumer.run())
    try:
        yield consumer
    finally:
        consumer.stop()
        await running
        await queue.close()


async def test_messages_are_deleted_once_handled(queues: Queues) -> None:
    await queues.send(*(str(number) for number in range(25)))
    handle, metrics = Recorder(), Metrics()
    async with consuming(queues, handle, metrics, visibility_s=30):
        await eventually(queues.is_empty)
    assert handle.seen == {str(number): 1 for number in range(25)}
    assert counted(metrics, "handled") == 25
    assert metrics.registry.get_sample_value("media_storage_message_age_seconds_count") == 25


async def test_no_more_are_taken_than_may_run_at_once(queues: Queues) -> None:
    await queues.send(*(str(number) for number in range(12)))
    running, most, go = 0, 0, asyncio.Event()

    async def handle(_body: str) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await go.wait()
        running -= 1

    async with consuming(queues, handle, concurrency=3, visibility_s=30):

        async def three_run() -> bool:
            return running == 3

        await eventually(three_run)
        # The others are left to other consumers rather than kept waiting here.
        assert await queues.waiting() == (9, 3)
        go.set()
        await eventually(queues.is_empty)
    assert most == 3


async def test_a_failed_message_comes_again_and_holds_up_no_other(queues: Queues) -> None:
    handle, metrics = Recorder(bad=[RuntimeError("a bug"), TemporarilyUnavailable("away")]), Metrics()
    await queues.send("bad", "good", "better")
    async with consuming(queues, handle, metrics):
        await eventually(queues.is_empty)
    assert handle.seen == {"bad": 3, "good": 1, "better": 1}
    assert [counted(metrics, each) for each in ("failed", "postponed", "handled")] == [1, 1, 3]


async def test_pauses_grow_with_deliveries(queues: Queues) -> None:
    times: list[float] = []

    async def handle(_body: str) -> None:
        times.append(time.monotonic())
        if len(times) < 4:
            raise RuntimeError("not yet")

    await queues.send("late")
    async with consuming(queues, handle, retry_s=(0, 1, 2), visibility_s=30):
        await eventually(queues.is_empty)
    pauses = [after - before for before, after in pairwise(times)]
    assert pauses[0] < pauses[2]
    assert pauses[1] >= 0.9
    assert pauses[2] >= 1.9


async def test_a_slow_message_holds_up_nothing_but_its_slot(queues: Queues) -> None:
    """Those received with it are deleted at once, and others take their slots; nothing waits for an extension."""
    seen: Counter[str] = Counter()
    slow_begins, go = asyncio.Event(), asyncio.Event()

    async def handle(body: str) -> None:
        seen[body] += 1
        if body == "slow":
            slow_begins.set()
            await go.wait()
        else:
            # Whatever came with the slow one ends while that is being worked on.
            await slow_begins.wait()

    async def only_the_slow_one_is_left() -> bool:
        return await queues.waiting() == (0, 1)

    # The first extension would be due after 20 s.
    async with consuming(queues, handle, concurrency=2, visibility_s=60):
        await queues.send("slow", *(str(number) for number in range(12)))
        await eventually(only_the_slow_one_is_left, within_s=10)
        assert not go.is_set()
        go.set()
        await eventually(queues.is_empty)
    assert seen == {"slow": 1, **{str(number): 1 for number in range(12)}}


async def test_whatever_is_worked_on_stays_hidden(queues: Queues) -> None:
    """With 1 s of visibility, more than 2 s of work: without an extension each would be taken again, twice."""
    bodies = [str(number) for number in range(12)]
    seen: Counter[str] = Counter()

    async def handle(body: str) -> None:
        seen[body] += 1
        await asyncio.sleep(2.2)

    # More than one call can extend.
    await queues.send(*bodies)
    async with consuming(queues, handle, concurrency=12), consuming(queues, handle, concurrency=12):
        await eventually(queues.is_empty)
    assert seen == dict.fromkeys(bodies, 1)


async def test_what_ends_together_is_deleted_together(queues: Queues, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    delete = MessageQueue.delete

    async def delete_and_count(queue: MessageQueue, messages: list[QueueMessage]) -> None:
        sizes.append(len(messages))
        await delete(queue, messages)

    monkeypatch.setattr(MessageQueue, "delete", delete_and_count)
    taken, go = 0, asyncio.Event()

    async def handle(_body: str) -> None:
        nonlocal taken
        taken += 1
        await go.wait()

    async def all_are_taken() -> bool:
        return taken == 12

    await queues.send(*(str(number) for number in range(12)))
    async with consuming(queues, handle, concurrency=12, visibility_s=30):
        await eventually(all_are_taken)
        go.set()
        await eventually(queues.is_empty)
    assert sizes == [10, 2]


async def test_a_message_whose_consumer_was_killed_goes_to_another(queues: Queues) -> None:
    settings, storage = queues.settings(visibility_s=2, dead_letter_url=queues.dead_url), queues.server.settings()
    shown = storage.model_dump(mode="json") | {"secret_key": storage.secret_key.get_secret_value()}
    command = [sys.executable, "-c", STUCK, settings.model_dump_json(), json.dumps(shown)]
    await queues.send("precious")
    victim = await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE)
    try:
        assert victim.stdout is not None
        assert await asyncio.wait_for(victim.stdout.readline(), 20) == b"taken\n"
    finally:
        victim.kill()
        await victim.wait()
    assert await queues.waiting() == (0, 1)
    # The server may yet answer the last poll of the dead with it: no delivery is the last here, and it comes again.
    handle = Recorder()
    async with consuming(queues, handle):
        await eventually(queues.is_empty)
    assert handle.seen == {"precious": 1}


@pytest.mark.parametrize("failure", [UnreadableEvent("rubbish"), RuntimeError("a bug")])
async def test_the_redrive_policy_takes_what_cannot_be_handled(redriven: Queues, failure: Exception) -> None:
    handle, metrics = Recorder(bad=[failure] * 9), Metrics()
    await redriven.send("bad", "good")
    # A second destination in the settings is not used where the queue knows its own.
    async with consuming(redriven, handle, metrics, dead_letter_url=redriven.dead_url, max_receives=1):
        await eventually(redriven.is_empty)
    assert handle.seen == {"bad": 2, "good": 1}
    assert await redriven.drain(redriven.dead_url) == ["bad"]
    assert counted(metrics, "dead") == 0


async def test_without_a_policy_the_consumer_moves_dead_letters_itself(queues: Queues) -> None:
    failures = {"bad": [RuntimeError("a bug")] * 9, "rubbish": [UnreadableEvent("rubbish") for _ in range(9)]}
    handle, metrics = Recorder(**failures), Metrics()
    await queues.send("bad", "rubbish", "good")
    async with consuming(queues, handle, metrics, dead_letter_url=queues.dead_url, max_receives=3):
        await eventually(queues.is_empty)
    # Reading rubbish again does not help: it goes at once.
    assert handle.seen == {"bad": 3, "rubbish": 1, "good": 1}
    assert sorted(await queues.drain(queues.dead_url)) == ["bad", "rubbish"]
    assert counted(metrics, "dead") == 2


async def test_a_stop_lets_running_messages_finish(queues: Queues) -> None:
    started = asyncio.Event()

    async def handle(_body: str) -> None:
        started.set()
        await asyncio.sleep(0.5)

    await queues.send("last")
    async with consuming(queues, handle, visibility_s=30) as consumer:
        await asyncio.wait_for(started.wait(), 10)
        consumer.stop()
    assert await queues.is_empty()


async def test_a_stop_gives_back_what_outlasts_the_drain_time(queues: Queues) -> None:
    started, metrics = asyncio.Event(), Metrics()

    async def handle(_body: str) -> None:
        started.set()
        await asyncio.sleep(600)

    await queues.send("long")
    async with consuming(queues, handle, metrics, drain_s=0.1, visibility_s=600):
        await asyncio.wait_for(started.wait(), 10)
    assert await queues.waiting() == (1, 0)
    assert counted(metrics, "released") == 1


async def test_a_stop_does_not_wait_for_the_poll(queues: Queues) -> None:
    begun = time.monotonic()
    async with consuming(queues, Recorder(), wait_s=20) as consumer:
        await asyncio.sleep(0.3)
        consumer.stop()
    assert time.monotonic() - begun < 5


async def test_what_a_cancelled_poll_still_brings_is_given_back(
    queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = MessageQueue(queues.url, queues.settings(wait_s=3, visibility_s=600), queues.server.settings())
    hide, given_back = queue._client.change_message_visibility_batch, threading.Event()

    def hide_and_tell(**asked: Any) -> Any:
        answer = hide(**asked)
        given_back.set()
        return answer

    monkeypatch.setattr(queue._client, "change_message_visibility_batch", hide_and_tell)
    poll = asyncio.create_task(queue.receive(1))
    await asyncio.sleep(0.3)
    poll.cancel()
    with pytest.raises(asyncio.CancelledError):
        await poll
    await queues.send("for somebody else")
    assert await asyncio.to_thread(given_back.wait, 10)
    assert await queues.waiting() == (1, 0)
    await queue.close()


async def test_a_queue_that_is_away_is_waited_for(queues: Queues, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.event_consumer.OUTAGE_PAUSES", (0.05,))
    settings, handle, refused = queues.settings(), Recorder(), 0
    queue = MessageQueue(queues.url, settings, queues.server.settings())
    nobody_listens = settings.model_copy(update={"endpoint": "http://127.0.0.1:9"})
    away = MessageQueue(queues.url, nobody_listens, queues.server.settings())
    receive = queue.receive

    async def receive_after_an_outage(limit: int) -> list[QueueMessage]:
        nonlocal refused
        try:
            return await (away.receive if refused < 3 else receive)(limit)
        except TemporarilyUnavailable:
            refused += 1
            raise

    monkeypatch.setattr(queue, "receive", receive_after_an_outage)
    await queues.send("at last")
    consumer = EventConsumer(settings, queue=queue, handle=handle, metrics=Metrics())
    running = asyncio.create_task(consumer.run())
    await eventually(queues.is_empty)
    consumer.stop()
    await running
    assert refused == 3
    assert handle.seen == {"at last": 1}


async def test_an_outage_behind_the_queue_costs_no_message(queues: Queues, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it lasts, and whatever comes in the meantime, nothing goes to the dead letters."""
    monkeypatch.setattr("service.event_consumer.OUTAGE_PAUSES", (0.02,))
    away = [TemporarilyUnavailable("storage is away") for _ in range(6)]
    handle, metrics = Recorder(one=list(away), two=list(away)), Metrics()
    await queues.send("one", "two")
    async with consuming(queues, handle, metrics, dead_letter_url=queues.dead_url, max_receives=2):
        await eventually(queues.is_empty)
    assert handle.seen == {"one": 7, "two": 7}
    assert counted(metrics, "postponed") == 12
    assert await queues.waiting(queues.dead_url) == (0, 0)


async def test_a_queue_that_does_not_exist_ends_nothing(queues: Queues) -> None:
    queue = MessageQueue(f"{queues.url}-elsewhere", queues.settings(), queues.server.settings())
    for call in (queue.receive(1), queue.moves_dead_letters()):
        with pytest.raises(TemporarilyUnavailable):
            await call
    await queue.close()
