"""When new work is refused: not for an accident, not before it is needed, and not for ever."""

from __future__ import annotations

import asyncio

import pytest
from pymongo.errors import AutoReconnect, OperationFailure

from service.backpressure import Backpressure, Strain
from service.errors import TemporarilyUnavailable
from service.models import Lane
from service.settings import LimitsSettings


class Stand:
    """A queue whose oldest job is `age` seconds old, in a database that answers after `delay`, or not at all."""

    def __init__(self, **limits: float) -> None:
        self.age = self.delay = self.now = 0.0
        self.is_away = False
        self.told: list[str] = []
        settings = LimitsSettings(**({"max_queue_age_s": 100, "max_database_ms": 1_000} | limits))
        self.pressure = Backpressure(settings, self.waiting, on_held_back=self.told.append, clock=lambda: self.now)

    async def waiting(self) -> dict[Lane, float]:
        self.now += self.delay
        if self.is_away:
            raise AutoReconnect("away")
        # A backlog of any size may wait in the other lanes.
        return {Lane.FIRST_VISIBLE: self.age, Lane.STANDARD: 9_000.0, Lane.BACKFILL: 90_000.0}

    async def sampled(self, times: int = 1) -> tuple[bool, bool]:
        for _ in range(times):
            await self.pressure.sample()
        return self.pressure.is_strained(Strain.QUEUE), self.pressure.is_strained(Strain.DATABASE)


async def test_an_old_job_in_the_foremost_lane_holds_new_work_back_until_half_of_it() -> None:
    stand = Stand()
    stand.age = 101
    assert await stand.sampled() == (False, False)
    assert await stand.sampled() == (True, False)
    stand.age = 60
    assert await stand.sampled(3) == (True, False), "it would be back at once"
    stand.age = 49
    assert await stand.sampled() == (True, False)
    assert await stand.sampled() == (False, False)
    stand.age = 99
    assert await stand.sampled(3) == (False, False)


async def test_a_slow_database_does_and_one_that_does_not_answer() -> None:
    stand = Stand()
    stand.delay = 1.1
    assert await stand.sampled() == (False, False)
    stand.delay = 0.1
    assert await stand.sampled() == (False, False), "one slow answer is an accident"
    stand.delay = 1.1
    assert await stand.sampled(2) == (False, True)
    stand.delay = 0.1
    assert await stand.sampled(2) == (False, False)
    stand.is_away = True
    assert await stand.sampled(2) == (False, True)


async def test_zero_turns_it_off() -> None:
    stand = Stand(max_queue_age_s=0, max_database_ms=0)
    stand.age, stand.delay = 10_000, 10
    assert await stand.sampled(3) == (False, False)
    stand.is_away = True
    assert await stand.sampled(3) == (False, False)
    # The database is not even asked.
    await asyncio.wait_for(stand.pressure.run(), timeout=1)


async def test_what_is_refused_has_not_begun_and_is_asked_for_again_later() -> None:
    stand, begun = Stand(), []

    async def work() -> str:
        begun.append(True)
        return "done"

    assert await stand.pressure.unless(work(), *Strain) == "done"
    stand.age = 200
    await stand.sampled(2)
    begun.clear()
    delays = set()
    for _ in range(20):
        with pytest.raises(TemporarilyUnavailable) as refused:
            await stand.pressure.unless(work(), *Strain)
        delays.add(refused.value.retry_after_ms)
    assert not begun
    assert len(delays) > 5, "they would all come back together"
    assert stand.told == ["queue"] * 20
    assert await stand.pressure.unless(work(), Strain.DATABASE) == "done"


async def test_an_answer_that_nobody_expected_ends_neither_the_sampling_nor_leaves_new_work_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stand = Stand()
    stand.age = 200
    await stand.sampled(2)
    failed, back = 0, asyncio.Event()

    async def waiting() -> dict[Lane, float]:
        nonlocal failed
        if failed < 3:
            raise OperationFailure("hint provided does not correspond to an existing index", 2)
        back.set()
        return dict.fromkeys(Lane, 0.0)

    def count() -> None:
        nonlocal failed
        failed += 1

    pressure = stand.pressure
    monkeypatch.setattr("service.backpressure.SAMPLE_S", 0)
    monkeypatch.setattr(pressure, "_waiting_s", waiting)
    monkeypatch.setattr(pressure, "_on_unsampled", count)
    assert pressure.is_strained(Strain.QUEUE)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        running = group.create_task(pressure.run())
        await back.wait()
        running.cancel()
    assert failed == 3


async def test_what_is_not_looked_at_for_a_minute_holds_nothing_back() -> None:
    stand = Stand()
    stand.age = 200
    assert await stand.sampled(2) == (True, False)
    stand.is_away = True
    stand.now += 59
    assert await stand.sampled(2) == (True, True)
    stand.now += 2
    assert await stand.sampled() == (False, True), "of the queue nothing is known while the database is away"
    stand.is_away = False
    assert await stand.sampled() == (False, True), "decided anew, by two in a row"
    assert await stand.sampled() == (True, False)
