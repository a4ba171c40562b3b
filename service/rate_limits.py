"""Rate limits that hold across processes and cost a request nothing but memory.

Each viewer has a budget of cost for a window of time, counted by a store that all processes share. A process takes it
in portions and spends them by itself, so that the store is asked once in many requests. What a portion has left when
its window ends lapses: all processes together admit never more than the limit, and less by what idle ones still hold.
A portion is a sixteenth of the budget at first and at most a quarter of what is left of it later on, so that at its
end, where it matters, next to nothing lies idle.
"""

from __future__ import annotations

import asyncio
import enum
import random
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from service.errors import RateLimited

log = structlog.get_logger(__name__)

# Viewers remembered at once; one that is forgotten takes its next portion a little early.
MOST_REMEMBERED = 50_000

_LARGEST_PART = 16
_LATER_PART = 4
# How often another process may be faster with what was left.
_MOST_TRIES = 6
# The store has so long to answer; reads wait for it, seldom.
STORE_TIMEOUT_S = 0.5
# A store that is away is left alone for so long.
_AWAY_S = 5.0


class Budget(enum.StrEnum):
    """What is counted apart from all else."""

    READS = "reads"
    WRITES = "writes"
    LIVE = "live"
    FAILED_AUTHENTICATIONS = "failed_authentications"


@dataclass(frozen=True, slots=True)
class Standing:
    """A budget as the store has it: what may still be taken, how many seconds its window goes on for, and what weighs.

    `current` and `previous` are what was taken in this window and in the one before, whose weight fades away.
    """

    left: int
    window_ends_s: float
    current: int = 0
    previous: int = 0


def key_of_viewer(viewer_id: str) -> str:
    """Under which a signed-in viewer's budgets are counted."""
    return f"viewer:{viewer_id}"


def keys_of_viewer(viewer_id: str) -> list[str]:
    """Every key under which a store counts a signed-in viewer."""
    return [_name(budget, key_of_viewer(viewer_id)) for budget in Budget]


def _name(budget: Budget, key: str) -> str:
    return f"{budget.value}:{key}"


class StoreAway(Exception):
    """The store did not answer, or not in time."""


class RateLimitStore(Protocol):
    """What counts, for all processes, in a time of its own. Both raise StoreAway."""

    async def standing(self, key: str, *, limit: int, window_s: int) -> Standing: ...

    async def take(self, key: str, amount: int, *, limit: int, window_s: int) -> bool:
        """Take all of `amount`, or nothing where it would pass the limit."""
        ...


@dataclass(slots=True)
class Portion:
    """What this process may still admit of one budget by itself, until `ends_at` in its own monotonic time.

    `shared` was left for everybody when it was taken. `refused_from`: whatever costs as much is refused until
    `refused_until`, without asking anybody. `alone`: the store is away, and `borrowed` is the part of it that nobody
    else knows of. `owed`: what was spent of that, to be taken from the store before anything else, until `owed_until`.
    """

    left: int = 0
    ends_at: float = 0.0
    shared: int = 0
    alone: bool = False
    borrowed: int = 0
    owed: int = 0
    owed_until: float = 0.0
    refused_from: int = 0
    refused_until: float = 0.0
    taking: asyncio.Lock = field(default_factory=asyncio.Lock)


class RateLimiter:
    """Budgets by name and key. `on_refused` and `on_away` are told of each refusal, and of each failure of the store.

    While the store is away every process goes on by itself with what was left for everybody when it last asked, or with
    a whole budget where it knows of none in this window: an outage of what counts must not become one of all that is
    counted. What was spent alone is taken from the store when it is back, so that it may be away as often as it likes:
    no viewer gets more than the limit times the number of processes.
    """

    def __init__(
        self,
        store: RateLimitStore,
        *,
        window_s: int,
        on_refused: Callable[[Budget], None] = lambda _budget: None,
        on_away: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._window_s = window_s
        self._on_refused = on_refused
        self._on_away = on_away
        self._clock = clock
        self._portions: OrderedDict[tuple[Budget, str], Portion] = OrderedDict()
        self._away_until = 0.0

    def spend(self, budget: Budget, key: str, cost: int) -> Portion | None:
        """Spend `cost` of what this process has taken already; None if `take` has to be asked."""
        name = (budget, key)
        portion = self._portions.get(name)
        if portion is None or portion.left < cost or self._clock() >= portion.ends_at:
            return None
        portion.left -= cost
        self._portions.move_to_end(name)
        return portion

    async def take(self, budget: Budget, key: str, cost: int, *, limit: int) -> Portion:
        """The same, taking another portion where that is needed. Raises RateLimited.

        An operation that costs more than the whole budget takes all of it.
        """
        cost = min(cost, limit)
        portion = self._portion(budget, key)
        async with portion.taking:
            # Another request may just have taken enough for both.
            if self.spend(budget, key, cost) is not None:
                return portion
            now = self._clock()
            if now >= portion.ends_at:
                portion.left = 0
            if cost >= portion.refused_from and now < portion.refused_until:
                raise self.refused(budget, portion.refused_until - now)
            await self._enlarge(portion, budget, key, cost, limit)
            portion.left -= cost
            return portion

    def refused_for_s(self, budget: Budget, key: str, cost: int, *, limit: int) -> float:
        """For how many more seconds this process knows that `cost` would not be admitted; 0: not known."""
        portion = self._portions.get((budget, key))
        if portion is None or portion.refused_from > min(cost, limit):
            return 0.0
        return max(0.0, portion.refused_until - self._clock())

    def ends_in_s(self, portion: Portion) -> int:
        """Whole seconds until the window of a portion ends, rounded up."""
        return max(0, -int(-(portion.ends_at - self._clock()) // 1))

    def _portion(self, budget: Budget, key: str) -> Portion:
        portion = self._portions.get((budget, key))
        if portion is None:
            portion = self._portions[budget, key] = Portion()
            if len(self._portions) > MOST_REMEMBERED:
                self._portions.popitem(last=False)
        else:
            self._portions.move_to_end((budget, key))
        return portion

    async def _enlarge(self, portion: Portion, budget: Budget, key: str, cost: int, limit: int) -> None:
        if self._clock() < self._away_until:
            self._count_alone(portion, budget, cost, limit)
            return
        try:
            await self._take_shared(portion, budget, key, cost, limit)
        except StoreAway as away:
            log.warning("rate limits are not shared: their store does not answer", error=str(away))
            self._on_away()
            self._away_until = self._clock() + _AWAY_S
            self._count_alone(portion, budget, cost, limit)

    async def _take_shared(self, portion: Portion, budget: Budget, key: str, cost: int, limit: int) -> None:
        name = _name(budget, key)
        for _ in range(_MOST_TRIES):
            # Before anything is asked: this clock never ends a window later than the store's does.
            asked_at = self._clock()
            # And before anything is taken: what is counted after the window's end is spent before it, or lapses.
            standing = await self._store.standing(name, limit=limit, window_s=self._window_s)
            _come_back(portion, asked_at)
            ends_at = asked_at + standing.window_ends_s
            # Whoever owes something still, after this, has nothing left.
            if paid := min(portion.owed, standing.left):
                if await self._store.take(name, paid, limit=limit, window_s=self._window_s):
                    portion.owed -= paid
                continue
            portion.ends_at = min(ends_at, portion.ends_at) if portion.left else ends_at
            portion.shared = standing.left
            need = cost - portion.left
            if need > standing.left:
                wait = _seconds_until(need, standing, limit=limit, window_s=self._window_s)
                if portion.owed:
                    wait = min(wait, portion.owed_until - asked_at)
                portion.refused_from, portion.refused_until = cost, asked_at + wait
                raise self.refused(budget, wait)
            amount = max(need, min(limit // _LARGEST_PART, standing.left // _LATER_PART))
            if await self._store.take(name, amount, limit=limit, window_s=self._window_s):
                portion.left += amount
                portion.shared, portion.refused_until = standing.left - amount, 0.0
                return
        raise self.refused(budget, 1.0)

    def _count_alone(self, portion: Portion, budget: Budget, cost: int, limit: int) -> None:
        now = self._clock()
        if now >= portion.ends_at:
            portion.left = portion.borrowed = limit - (portion.owed if now < portion.owed_until else 0)
            portion.ends_at = now + self._window_s
        elif not portion.alone:
            portion.left += portion.shared
            portion.borrowed = portion.shared
        portion.shared, portion.alone = 0, True
        if portion.left < cost:
            raise self.refused(budget, portion.ends_at - now)

    def refused(self, budget: Budget, wait_s: float) -> RateLimited:
        """A refusal, counted."""
        self._on_refused(budget)
        # So that those who were refused together do not come back together.
        wait_ms = max(1, round(wait_s * 1_000 * random.uniform(1.0, 1.1)))  # noqa: S311 - spreads retries, no secret
        return RateLimited(_SENTENCES[budget].format(seconds=-(-wait_ms // 1_000)), retry_after_ms=wait_ms)


_SENTENCES = {
    Budget.READS: "You have asked for more than one viewer may; ask again in {seconds} s, or for less.",
    Budget.WRITES: "You have changed more than one viewer may; send it again in {seconds} s.",
    Budget.LIVE: "You have begun more subscriptions than one viewer may; begin it again in {seconds} s.",
    Budget.FAILED_AUTHENTICATIONS: "Too many tokens from this address did not hold; try again in {seconds} s.",
}


def _come_back(portion: Portion, now: float) -> None:
    """The store answers again, if it was away: what was spent without it is owed, what was not is nobody's."""
    if now >= portion.owed_until:
        portion.owed = 0
    if portion.alone and now < portion.ends_at:
        portion.owed += max(0, portion.borrowed - portion.left)
        portion.owed_until = portion.ends_at
        portion.left = max(0, portion.left - portion.borrowed)
    if now >= portion.ends_at:
        portion.left = 0
    portion.alone, portion.borrowed = False, 0


def _seconds_until(need: int, standing: Standing, *, limit: int, window_s: int) -> float:
    """When `need` will be left, if nobody takes anything meanwhile.

    The count is what was taken in this window and a share of what was in the last, by how much of this one is left.
    """
    ends, room = standing.window_ends_s, limit - need
    if standing.current <= room and standing.previous:
        still_weighs = (room - standing.current) / standing.previous * window_s
        return max(0.001, ends - still_weighs)
    if standing.current <= room or not standing.current:
        return max(0.001, ends)
    return max(0.001, ends + window_s * (1 - room / standing.current))
