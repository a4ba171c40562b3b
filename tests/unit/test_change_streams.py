"""A change stream survives whatever it meets, and knows whether it has caught up."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest
from bson.errors import InvalidBSON
from bson.timestamp import Timestamp
from pymongo.errors import AutoReconnect, InvalidOperation, OperationFailure, ProtocolError
from structlog.testing import capture_logs
from uuid6 import uuid7

from service import change_feed, coalesced_reads
from service.change_feed import MAX_LAG_S, READY, ChangeFeed
from service.coalesced_reads import CoalescedReads
from service.stores import change_streams
from service.stores.change_streams import Signal, Told, watch
from service.stores.changes import Change
from tests.in_memory import in_memory_database


class Looks:
    """A database whose stream answers what a test has listed: an event, None, or an error; then None for ever.

    Each look is `(event, place, reached)`: where the stream and the database are after it, in seconds.
    """

    def __init__(self, *looks: Any) -> None:
        self._looks: Iterator[Any] = iter(looks)
        self.client = self
        self.operation_time = Timestamp(0, 1)
        self.resume_token: dict[str, str] | None = None
        self.alive = True
        self.resumed: list[Any] = []

    def start_session(self, **_: Any) -> Looks:
        return self

    async def watch(self, _pipeline: Any, *, resume_after: Any, **_: Any) -> Looks:
        self.resumed.append(resume_after)
        return self

    async def __aenter__(self) -> Looks:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def try_next(self) -> Any:
        await asyncio.sleep(0)
        event, place, reached = next(self._looks, (None, 99, 99))
        if isinstance(event, Exception):
            raise event
        self.resume_token = {"_data": f"82{place:08X}000000012B"}
        self.operation_time = Timestamp(reached, 1)
        return event


async def heard(looks: Looks, count: int) -> list[Any]:
    told: list[Any] = []
    async with aclosing(watch(looks, [])) as events:  # type: ignore[arg-type]
        while len(told) < count:
            event = await anext(events)
            told.append(Told if isinstance(event, Told) else event)
    return told


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change_streams, "_RETRY_S", 0)


@pytest.mark.parametrize(
    "error",
    [InvalidBSON(), ProtocolError(), InvalidOperation(), KeyError("_id"), OSError(24, "Too many open files")],
    ids=lambda error: type(error).__name__,
)
async def test_what_nobody_expected_is_logged_and_passed_over(error: Exception) -> None:
    looks = Looks((None, 1, 1), (error, 1, 1), ({"a": 1}, 2, 2))
    with capture_logs() as logs:
        told = await heard(looks, 5)
    assert told == [Signal.BEGUN, Told, Signal.INTERRUPTED, Signal.BEGUN, {"a": 1}]
    assert looks.resumed == [None, None]
    assert [(line["log_level"], line["exc_info"]) for line in logs] == [("error", True)]


@pytest.mark.parametrize(
    ("error", "then"), [(AutoReconnect(), Signal.RESUMED), (OperationFailure("", 286), Signal.BEGUN)]
)
async def test_an_outage_is_resumed_from_and_a_lost_history_is_not(error: Exception, then: Signal) -> None:
    told = await heard(Looks((None, 1, 1), (error, 1, 1)), 4)
    assert told == [Signal.BEGUN, Told, Signal.INTERRUPTED, then]


async def test_neither_late_events_nor_empty_answers_pass_for_having_caught_up(monkeypatch: pytest.MonkeyPatch) -> None:
    looks, looked = (
        Looks((None, 1, 50), ("a", 2, 50), (None, 20, 50), ("b", 50, 50), (None, 50, 50), (None, 50, 50)),
        -1,
    )

    def count() -> float:
        nonlocal looked
        looked += 1
        return float(looked)

    # Asked the time once when the stream is opened and once for each look: a look's time is its number.
    monkeypatch.setattr(change_streams, "time", SimpleNamespace(monotonic=count))
    async with aclosing(watch(looks, [])) as events:  # type: ignore[arg-type]
        told = [await anext(events) for _ in range(6)]
    # The first answer says that the database is at 50: until the stream has all of that, nothing later counts.
    assert told == [Signal.BEGUN, Told(0), "a", "b", Told(3), Told(5)]


async def test_the_feed_is_live_while_it_has_caught_up_and_says_once_when_it_has_again(clock: SimpleNamespace) -> None:
    feed, told = ChangeFeed(in_memory_database()), list[Change | None]()
    feed.listen(told.append)
    await feed._hear_signal(Signal.BEGUN)
    assert feed.is_live()
    assert told == [None]
    clock.now += MAX_LAG_S
    # Changes that come now are late: that they come does not make it live.
    late = Change("media", uuid7(), frozenset({"title"}), None)
    await feed._hear_change(late)
    feed._hear_told(clock.now - 2 * MAX_LAG_S)
    assert not feed.is_live()
    assert told == [None, late]
    for _ in range(2):
        feed._hear_told(clock.now - MAX_LAG_S / 2)
        assert feed.is_live()
    assert told == [None, late, None]
    assert feed.lag_s() == MAX_LAG_S / 2
    await feed._hear_signal(Signal.INTERRUPTED)
    assert not feed.is_live()


async def test_followers_of_one_media_are_woken_and_answered_in_slices() -> None:
    count, store = 450, Store()
    feed, media_id = ChangeFeed(in_memory_database()), uuid7()
    feed._reads = CoalescedReads(cast(Any, store))
    rounds = Counter[int]()
    turn = 0

    async def follow() -> None:
        with feed.follow([READY]) as follower:
            assert await follower.changes() == {media_id}
            rounds[-turn] += 1
            await feed.read([media_id], frozenset())
            rounds[turn] += 1

    async def others() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    following = [asyncio.create_task(follow()) for _ in range(count)]
    ticking = asyncio.create_task(others())
    await asyncio.sleep(0)
    await feed._hear_change(Change("media", media_id, None, "READY"))
    await asyncio.gather(*following)
    ticking.cancel()
    assert sum(rounds.values()) == 2 * count
    assert max(rounds.values()) <= 200
    # Queries are few all the same.
    assert store.queries <= 5


async def test_who_is_answered_late_is_given_what_is_there_by_then(clock: SimpleNamespace) -> None:
    store, media_id = Store(), uuid7()
    reads = CoalescedReads(cast(Any, store))

    async def read() -> Any:
        found = await reads.read([media_id], frozenset())
        clock.now += 0.001
        return cast(Any, found[media_id])["title"]

    titles = await asyncio.gather(*(read() for _ in range(100)))
    assert titles == ["1"] * 50 + ["2"] * 50


class Store:
    """Every media exists; each query's number is its title."""

    def __init__(self) -> None:
        self.queries = 0

    async def get_many(self, ids: list[UUID], **_: Any) -> dict[UUID, Any]:
        self.queries += 1
        return {each: {"_id": each, "title": str(self.queries)} for each in ids}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The time as the feed sees it: `now`, in seconds."""
    clock = SimpleNamespace(now=1000.0)
    for module in (change_feed, coalesced_reads):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock
