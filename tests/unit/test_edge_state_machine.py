"""The edge's cache against a model of it: any order of writes, requests, waits, outages, lookups and invalidations."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from uuid import uuid4

import hypothesis.strategies as st
import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from service.dev.edge.cache import OVERHEAD_BYTES, EdgeCache, Outcome, Served
from service.dev.edge.freshness import Lifetimes
from service.dev.edge.invalidations import (
    MAX_WILDCARDS_IN_PROGRESS,
    Invalidation,
    InvalidationRefused,
    Invalidations,
)
from service.dev.edge.origin import Answer, Failure, OriginObject, Unchanged
from tests.edge_model import (
    DEFAULT_S,
    DELAY_S,
    ERROR_S,
    KINDS,
    NOT_A_DATE,
    PATHS,
    ROOMY,
    TAGS,
    Asked,
    Kept,
    Read,
    names,
)

ITEM_LISTS = st.lists(st.sampled_from(["/a/1", "/b/*", "#x", "#Y", "/*"]), min_size=1, max_size=2, unique=True)


class EdgeMachine(RuleBasedStateMachine):
    """Bodies are `{version}/{number of the read}`, so each tells where it came from."""

    @initialize(
        capacity=st.sampled_from([ROOMY, OVERHEAD_BYTES + 100]),
        kinds=st.lists(st.sampled_from(list(KINDS)), min_size=len(PATHS), max_size=len(PATHS)),
    )
    def start(self, capacity: int, kinds: list[str | None]) -> None:
        self.loop = asyncio.new_event_loop()
        self.now, self.events, self.capacity = 1_000, 0, capacity
        limits = Lifetimes(default_s=DEFAULT_S, error_s=ERROR_S)
        self.cache = EdgeCache(capacity, limits, clock=lambda: self.now)
        self.invalidations = Invalidations(self.cache.forget, delay_s=DELAY_S, clock=lambda: self.now)
        self.kinds: dict[bytes, str | None] = {}
        self.objects: dict[str, tuple[bytes, str | None]] = {}
        self.is_up, self.gate = True, asyncio.Event()
        self.gate.set()
        self.reads: list[Read] = []
        self.asked: list[Asked] = []
        self.kept: dict[str, Kept] = {}
        self.grace: dict[bytes, float] = {}
        self.created: list[Invalidation] = []
        self.completed: list[tuple[int, Invalidation]] = []
        self.given: set[bytes] = set()
        for path, kind in zip(PATHS, kinds, strict=True):
            self.write(path, kind)

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.gate.set()
            self.run()
            assert not self.asked
            self.loop.close()

    # What happens outside.

    @rule(path=st.sampled_from(PATHS), kind=st.sampled_from(list(KINDS)))
    def write(self, path: str, kind: str | None) -> None:
        version = b"%d" % self.tick()
        self.kinds[version] = kind
        self.objects[path] = (version, kind)

    @rule(path=st.sampled_from(PATHS))
    def delete(self, path: str) -> None:
        self.objects.pop(path, None)

    @rule(seconds=st.sampled_from([5, 1, 3, 2, 12]))
    def wait_and_request(self, seconds: int) -> None:
        self.now += seconds
        for path in PATHS:
            self.request(path, 1)

    @rule(seconds=st.sampled_from([5, 15, ERROR_S]))
    def lose_origin_for_a_while(self, seconds: int) -> None:
        self.is_up = False
        self.wait_and_request(seconds)
        self.is_up = True

    @precondition(lambda self: len(self.completed) < len(self.created))
    @rule()
    def wait_for_invalidations(self) -> None:
        self.now += DELAY_S
        self.settle()

    @rule()
    def stall_origin(self) -> None:
        self.gate.clear()

    @precondition(lambda self: not self.gate.is_set())
    @rule()
    def let_origin_answer(self) -> None:
        self.gate.set()
        self.run()

    @rule(path=st.sampled_from(PATHS), items=ITEM_LISTS, is_asked_meanwhile=st.booleans())
    def overtake_a_fetch(self, path: str, items: list[str], is_asked_meanwhile: bool) -> None:
        """An invalidation begins and completes between the origin's answer and its arrival."""
        self.stall_origin()
        self.request(path, 1)
        self.invalidate(items)
        self.now += DELAY_S
        self.settle()
        if is_asked_meanwhile:
            self.request(path, 1)
        self.let_origin_answer()
        self.request(path, 1)

    # What clients do.

    @rule(path=st.sampled_from(PATHS), crowd=st.integers(1, 3))
    def request(self, path: str, crowd: int) -> None:
        self.settle()
        for _ in range(crowd):
            task = self.loop.create_task(self.cache.get(path, self.origin(path)))
            self.asked.append(Asked(path, self.tick(), task))
        self.run()

    @rule(items=ITEM_LISTS)
    def invalidate(self, items: list[str]) -> None:
        self.settle()
        under_way = [item for each in self.created if not each.is_completed for item in each.items]
        is_too_much = sum(item.endswith("*") for item in (*under_way, *items)) > MAX_WILDCARDS_IN_PROGRESS
        with pytest.raises(InvalidationRefused) if is_too_much else nullcontext():
            self.created.append(self.invalidations.create(uuid4().hex, items))

    @precondition(lambda self: self.created)
    @rule()
    def look_at_invalidations(self) -> None:
        self.settle()
        for each in self.created:
            assert self.invalidations.get(each.id).is_completed is (each.due_at <= self.now)

    @invariant()
    def never_holds_more_than_it_may(self) -> None:
        if hasattr(self, "cache"):
            assert 0 <= self.cache.stored_bytes <= min(self.capacity, len(PATHS) * (OVERHEAD_BYTES + 20))

    # How it is followed.

    def tick(self) -> int:
        self.events += 1
        return self.events

    def settle(self) -> None:
        """Note which invalidations completed: from here on, nothing read before may be served."""
        self.invalidations.settle()
        known = {each.id for _, each in self.completed}
        for each in self.created:
            if each.is_completed and each.id not in known:
                self.completed.append((self.tick(), each))
                for path in [path for path in self.kept if names(each.items, path)]:
                    del self.kept[path]

    def forgotten_at(self, path: str, before: int) -> int:
        """The number of the last completion about `path` that came before event `before`; 0 if none did."""
        return max((at for at, each in self.completed if at < before and names(each.items, path)), default=0)

    def origin(self, path: str) -> Callable[[str | None], asyncio.Future[Answer]]:
        async def answer(known_etag: str | None) -> Answer:
            read = Read(path, self.tick(), self.say(path, known_etag))
            self.check_single_flight(read)
            self.reads.append(read)
            # What it will say is settled by now: the worst that an invalidation can meet.
            await self.gate.wait()
            read.is_done = True
            return read.answer

        return answer  # type: ignore[return-value]

    def say(self, path: str, known_etag: str | None) -> Answer:
        if not self.is_up:
            return Failure.UNREACHABLE
        if path not in self.objects:
            return Failure.MISSING
        version, kind = self.objects[path]
        if known_etag == version.decode():
            return Unchanged.UNCHANGED
        body = version + b"/%d" % self.events
        return OriginObject(body, "image/webp", version.decode(), NOT_A_DATE, kind, tags=frozenset({TAGS[path]}))

    def check_single_flight(self, read: Read) -> None:
        """While one fetch is on its way another may start only because an invalidation has disowned the first."""
        for other in self.reads:
            if other.path == read.path and not other.is_done:
                disowned = [
                    each
                    for at, each in self.completed
                    if at > other.number and (names(each.items, read.path) or any("#" in item for item in each.items))
                ]
                assert disowned or not self.is_shared(read.path), (other, read)

    def is_shared(self, path: str) -> bool:
        """Whether those who waited for the last answer may all be given it."""
        last = [read for read in self.reads if read.path == path and read.is_done][-1:]
        return not any(self.seconds(read.answer) == 0 for read in last)

    def seconds(self, answer: Answer) -> int:
        if isinstance(answer, OriginObject):
            return KINDS[answer.cache_control][0]
        return ERROR_S if isinstance(answer, Failure) else 0

    def run(self) -> None:
        async def settle_down() -> None:
            for _ in range(8):
                await asyncio.sleep(0)

        self.loop.run_until_complete(settle_down())
        done = [each for each in self.asked if each.task.done()]
        self.asked = [each for each in self.asked if not each.task.done()]
        # Who asked the origin comes before those who found what it said.
        for each in sorted(done, key=lambda each: each.task.result().outcome is Outcome.HIT):
            self.check(each, each.task.result())

    def check(self, asked: Asked, served: Served) -> None:
        entry, last_forgotten = served.entry, self.forgotten_at(asked.path, asked.number)
        kept = self.kept.get(asked.path)
        if isinstance(entry.answer, Failure):
            assert any(
                read.path == asked.path and read.answer is entry.answer and read.number > last_forgotten
                for read in self.reads
            )
            assert self.now - entry.fetched_at < max(ERROR_S, 1)
            self.kept.pop(asked.path, None)
            return
        body = entry.answer.body
        version, _, number = body.partition(b"/")
        seconds, is_kept = KINDS[self.kinds[version]]
        assert int(number) > last_forgotten, "forgotten, and served again"
        if seconds == 0 and served.outcome is Outcome.MISS:
            assert body not in self.given, "made for one, and given to another"
            self.given.add(body)
        assert is_kept or served.outcome is Outcome.MISS
        if served.outcome is Outcome.HIT:
            assert kept is None or (kept.body, kept.vouched_at) == (body, entry.fetched_at)
            assert self.now < max(entry.fetched_at + seconds, self.grace.get(body, 0))
            return
        if kept is not None and kept.number < asked.number and self.capacity == ROOMY:
            known = kept.body.partition(b"/")[0]
            assert self.now >= kept.vouched_at + KINDS[self.kinds[known]][0], "fresh, and not served"
            assert served.outcome is Outcome.REFRESH_HIT or seconds == 0 or known != version, (
                "unchanged, and sent again"
            )
        if served.outcome is Outcome.REFRESH_HIT and entry.fetched_at < self.now:
            assert self.kinds[version] not in {"no-cache", "max-age=5, must-revalidate"}
            self.grace[body] = self.now + ERROR_S
            return
        overtaken = any(
            at > asked.number and (names(each.items, asked.path) or any("#" in item for item in each.items))
            for at, each in self.completed
        )
        if is_kept and not overtaken:
            self.kept[asked.path] = Kept(body, entry.fetched_at, self.tick())
        elif not overtaken:
            self.kept.pop(asked.path, None)


TestEdge = EdgeMachine.TestCase
# What a failure means is plain from its steps; explaining it takes longer than finding it.
PHASES = [phase for phase in Phase if phase is not Phase.explain]
TestEdge.settings = settings(max_examples=100, stateful_step_count=30, deadline=None, phases=PHASES)
