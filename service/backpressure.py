"""When the service takes on no more work: while workers are far behind, or the database is slow.

Reads go on, and so does all that ends something or makes room: completing, aborting, deleting, changing who may see
what. What is refused is what makes more work, and comes with a delay after which to ask again.
"""

from __future__ import annotations

import asyncio
import enum
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, TypeVar

import structlog

from service.errors import TemporarilyUnavailable
from service.models import Lane
from service.settings import LimitsSettings
from service.stores.database import OUTAGE_ERRORS

log = structlog.get_logger(__name__)

SAMPLE_S: Final = 5.0
# The database's own deadline is shorter; whatever else may hang must not end the sampling.
_ANSWER_S: Final = 30.0
# Nothing is refused for what was seen longer ago.
STALE_S: Final = 60.0
# So many samples in a row decide: one slow answer is an accident.
_IN_A_ROW: Final = 2
# It ends at half of what it begins at, so that what is let in then does not bring it back at once.
_ENDS_AT: Final = 0.5
_RETRY_MS: Final = (10_000, 30_000)
_NO_ANSWER: tuple[type[Exception], ...] = (*OUTAGE_ERRORS, TimeoutError)

T = TypeVar("T")
Waiting = Callable[[], Awaitable[Mapping[Lane, float]]]


class Strain(enum.StrEnum):
    """What is overloaded. QUEUE: somebody's picture has waited too long for a worker."""

    QUEUE = "queue"
    DATABASE = "database"


_SENTENCES: Mapping[Strain, str] = {
    Strain.QUEUE: "More pictures are waiting than can be processed at present; send the same request again later.",
    Strain.DATABASE: "The service is slower than usual and takes on no more work; send the same request again later.",
}


class _Gauge:
    """Whether a value is too high, decided with hysteresis. `limit` 0: never."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self.is_limited = limit > 0
        self._in_a_row = 0
        self.is_strained = False

    def add(self, value: float) -> bool:
        """Take a sample; whether that has changed the decision."""
        if not self.is_limited:
            return False
        contradicts = value < self._limit * _ENDS_AT if self.is_strained else value > self._limit
        self._in_a_row = self._in_a_row + 1 if contradicts else 0
        if self._in_a_row < _IN_A_ROW:
            return False
        self._in_a_row, self.is_strained = 0, not self.is_strained
        return True

    def forget(self) -> None:
        self._in_a_row, self.is_strained = 0, False


class Backpressure:
    """Samples how long jobs have waited and how long the database takes to say so.

    `waiting_s` asks the database for the age of each lane's oldest job. `on_held_back` is told of each refusal,
    `on_unsampled` of each sample that failed otherwise than by an outage.
    """

    def __init__(
        self,
        settings: LimitsSettings,
        waiting_s: Waiting,
        *,
        on_held_back: Callable[[str], None] = lambda _reason: None,
        on_unsampled: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._waiting_s = waiting_s
        self._on_held_back = on_held_back
        self._on_unsampled = on_unsampled
        self._clock = clock
        self._slowest_s = settings.max_database_ms / 1_000
        self._gauges = {Strain.QUEUE: _Gauge(settings.max_queue_age_s), Strain.DATABASE: _Gauge(self._slowest_s)}
        self._sampled_at = dict.fromkeys(Strain, clock())

    async def run(self) -> None:
        """Sample until cancelled, whatever comes of it; not at all where nothing is ever refused."""
        while any(gauge.is_limited for gauge in self._gauges.values()):
            await asyncio.sleep(SAMPLE_S)
            try:
                await self.sample()
            except Exception:
                log.exception("how much is waiting cannot be asked; what was seen before holds for a minute")
                self._on_unsampled()

    async def sample(self) -> None:
        """Look once. That the database does not answer is its strain; of the queue nothing is known then."""
        started = self._clock()
        try:
            async with asyncio.timeout(_ANSWER_S):
                waiting = await self._waiting_s()
        except _NO_ANSWER:
            self._add(Strain.DATABASE, max(self._clock() - started, self._slowest_s + 1))
            return
        self._add(Strain.DATABASE, self._clock() - started)
        # Other lanes are there to wait: nobody looks at what they make.
        self._add(Strain.QUEUE, waiting[Lane.FIRST_VISIBLE])

    def is_strained(self, strain: Strain) -> bool:
        """Whether work is refused for it; never for what has not been looked at for a minute."""
        return self._gauges[strain].is_strained and self._clock() < self._sampled_at[strain] + STALE_S

    def require(self, *strains: Strain) -> None:
        """Raise TemporarilyUnavailable if one of `strains` is there."""
        for strain in strains:
            if self.is_strained(strain):
                self._on_held_back(strain.value)
                # Those who are refused together must not come back together.
                delay_ms = random.randint(*_RETRY_MS)  # noqa: S311 - spreads retries, no secret
                raise TemporarilyUnavailable(_SENTENCES[strain], retry_after_ms=delay_ms)

    async def unless(self, work: Coroutine[Any, Any, T], *strains: Strain) -> T:
        """The outcome of `work`, not begun if one of `strains` is there: raises TemporarilyUnavailable."""
        try:
            self.require(*strains)
        except TemporarilyUnavailable:
            work.close()
            raise
        return await work

    def _add(self, strain: Strain, value: float) -> None:
        now = self._clock()
        if now >= self._sampled_at[strain] + STALE_S:
            self._gauges[strain].forget()
        self._sampled_at[strain] = now
        if self._gauges[strain].add(value):
            log.warning(
                "new work is refused" if self._gauges[strain].is_strained else "new work is taken on again",
                reason=strain.value,
                seconds=round(value, 3),
            )
