"""Budgets: what is admitted, by whom it is counted, and what is said when one is used up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits.aio.storage import MemoryStorage

from service.access import ANONYMOUS, Viewer
from service.errors import RateLimited
from service.rate_limits import Budget, RateLimiter, Standing, StoreAway
from service.settings import PerRole
from service.stores.rate_limits import SharedWindows
from service.transport.admission import widest


class OneWindow:
    """A store whose window ends when it is told to."""

    def __init__(self, window_s: float = 60) -> None:
        self.now = 1_000.0
        self.window_s = window_s
        self.taken: dict[str, int] = {}
        self.begun = self.now
        self.asked = 0
        self.away = False

    def clock(self) -> float:
        return self.now

    def _turn(self) -> None:
        if self.now >= self.begun + self.window_s:
            self.begun, self.taken = self.now, {}

    async def standing(self, key: str, *, limit: int, window_s: int) -> Standing:
        self.asked += 1
        if self.away:
            raise StoreAway("away")
        self._turn()
        taken = self.taken.get(key, 0)
        return Standing(limit - taken, self.begun + self.window_s - self.now, taken)

    async def take(self, key: str, amount: int, *, limit: int, window_s: int) -> bool:
        if self.away:
            raise StoreAway("away")
        self._turn()
        if self.taken.get(key, 0) + amount > limit:
            return False
        self.taken[key] = self.taken.get(key, 0) + amount
        return True


def limiter_over(store: OneWindow) -> RateLimiter:
    return RateLimiter(store, window_s=60, clock=store.clock)


async def admitted(limiter: RateLimiter, cost: int, *, limit: int, times: int = 10_000) -> int:
    """How much of a budget is admitted until it is used up."""
    spent = 0
    for _ in range(times):
        if limiter.spend(Budget.READS, "viewer:a", cost) is None:
            try:
                await limiter.take(Budget.READS, "viewer:a", cost, limit=limit)
            except RateLimited:
                break
        spent += cost
    return spent


async def test_a_budget_is_admitted_to_its_end_and_the_store_is_seldom_asked() -> None:
    store = OneWindow()
    limiter = limiter_over(store)
    assert await admitted(limiter, 1, limit=1_000) == 1_000
    assert store.asked < 40
    asked = store.asked
    with pytest.raises(RateLimited) as refused:
        await limiter.take(Budget.READS, "viewer:a", 1, limit=1_000)
    assert 59_000 <= (refused.value.retry_after_ms or 0) <= 66_001
    assert store.asked == asked, "who has nothing left costs the store nothing"
    # Others, and other budgets, have theirs.
    await limiter.take(Budget.READS, "viewer:b", 1, limit=1_000)
    await limiter.take(Budget.WRITES, "viewer:a", 1, limit=1_000)
    store.now += 61
    assert await admitted(limiter, 7, limit=1_000) == 994


async def test_what_a_portion_has_left_lapses_with_its_window() -> None:
    store = OneWindow()
    idle, busy = limiter_over(store), limiter_over(store)
    await idle.take(Budget.READS, "viewer:a", 1, limit=1_600)
    store.now += 59.9
    assert await admitted(busy, 1, limit=1_600) == 1_500
    store.now += 0.2
    assert idle.spend(Budget.READS, "viewer:a", 1) is None, "it counts in the window before"
    assert await admitted(busy, 1, limit=1_600) + await admitted(idle, 1, limit=1_600) == 1_600


@given(
    limit=st.integers(1, 400),
    steps=st.lists(
        st.tuples(st.integers(0, 3), st.integers(1, 90), st.sampled_from((0.0, 0.0, 1.0, 31.0))), max_size=60
    ),
)
async def test_processes_never_admit_more_than_the_limit_in_a_window(
    limit: int, steps: list[tuple[int, int, float]]
) -> None:
    store = OneWindow()
    processes = [limiter_over(store) for _ in range(4)]
    windows: dict[float, int] = {}
    for process, cost, pause in steps:
        store.now += pause
        limiter = processes[process]
        if limiter.spend(Budget.READS, "viewer:a", cost) is None:
            try:
                await limiter.take(Budget.READS, "viewer:a", cost, limit=limit)
            except RateLimited:
                continue
        windows[store.begun] = windows.get(store.begun, 0) + min(cost, limit)
    assert all(total <= limit for total in windows.values())


async def test_an_operation_dearer_than_the_budget_takes_all_of_it() -> None:
    store = OneWindow()
    limiter = limiter_over(store)
    await limiter.take(Budget.READS, "viewer:a", 5_000, limit=100)
    with pytest.raises(RateLimited):
        await limiter.take(Budget.READS, "viewer:a", 1, limit=100)


async def test_while_the_store_is_away_a_process_counts_by_itself_and_leaves_it_alone() -> None:
    store = OneWindow()
    failures: list[bool] = []
    limiter = RateLimiter(store, window_s=60, clock=store.clock, on_away=lambda: failures.append(True))
    store.away = True
    assert await admitted(limiter, 1, limit=50) == 50
    assert (store.asked, len(failures)) == (1, 1)
    for _ in range(3):
        store.away = False
        store.now += 6
        assert await admitted(limiter, 1, limit=50) == 0, "what was spent alone is taken from what all may"
        store.away = True
        assert await admitted(limiter, 1, limit=50) == 0
    assert store.taken == {"reads:viewer:a": 50}
    store.now += 61
    assert await admitted(limiter, 1, limit=50) == 50


async def test_a_slow_answer_gives_nobody_a_new_budget() -> None:
    store = OneWindow()
    here, there = limiter_over(store), limiter_over(store)
    await here.take(Budget.READS, "viewer:a", 1, limit=160)
    assert await admitted(there, 1, limit=160, times=40) == 40
    await here.take(Budget.READS, "viewer:used-up", 160, limit=160)
    left = 160 - store.taken["reads:viewer:a"]
    store.away = True
    # Its own portion, and what was left for all when it last asked; nothing where that was nothing.
    alone = await admitted(here, 1, limit=160)
    assert alone == 159, "it does not know what others took since"
    with pytest.raises(RateLimited):
        await here.take(Budget.READS, "viewer:used-up", 1, limit=160)
    store.away = False
    store.now += 6
    assert await admitted(here, 1, limit=160) == 0
    assert store.taken["reads:viewer:a"] == 160
    assert left > 0
    # What others hold already they may spend, and nothing more.
    assert await admitted(there, 1, limit=160) <= 160 // 16
    store.now += 61
    assert await admitted(here, 1, limit=160) == 160


async def test_what_was_not_spent_alone_is_not_owed() -> None:
    store = OneWindow()
    limiter = limiter_over(store)
    store.away = True
    await limiter.take(Budget.READS, "viewer:a", 10, limit=50)
    store.away = False
    store.now += 6
    assert await admitted(limiter, 1, limit=50) == 40


async def test_those_forgotten_first_are_those_who_asked_for_nothing_lately(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.rate_limits.MOST_REMEMBERED", 2)
    limiter = limiter_over(OneWindow())
    for key in ("busy", "idle"):
        await limiter.take(Budget.READS, key, 1, limit=160)
    assert limiter.spend(Budget.READS, "busy", 1)
    await limiter.take(Budget.READS, "new", 1, limit=160)
    assert limiter.spend(Budget.READS, "busy", 1)
    assert limiter.spend(Budget.READS, "idle", 1) is None


async def test_any_storage_of_the_library_counts_the_same() -> None:
    store = SharedWindows(MemoryStorage())
    assert await store.standing("k", limit=100, window_s=3_600) == Standing(100, pytest.approx(1_800, abs=1_800))
    limiters = [RateLimiter(store, window_s=3_600) for _ in range(3)]
    assert sum([await admitted(limiter, 1, limit=100) for limiter in limiters]) == 100
    assert (await store.standing("reads:viewer:a", limit=100, window_s=3_600)).left == 0


def test_whoever_has_several_roles_has_the_widest_limit() -> None:
    limits = PerRole(anonymous=1, user=10, moderator=100, service=0)
    assert widest(limits, ANONYMOUS) == 1
    assert widest(limits, Viewer("a")) == 10
    assert widest(limits, Viewer("a", frozenset({"moderator"}))) == 100
    assert widest(limits, Viewer("a", frozenset({"moderator", "service"}))) == 0
    assert widest(limits, Viewer("a", frozenset({"editor"}))) == 10
