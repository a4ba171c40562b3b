"""What limits refuse, as metrics: whom they hold back, and whether they still can."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge

from service.rate_limits import Budget


class LimitMetrics:
    """Registers itself where the other metrics are."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._refused = Counter(
            "media_rate_limited",
            "Requests that were refused because a budget was used up.",
            ["budget"],
            registry=registry,
        )
        self._uncounted = Counter(
            "media_rate_limit_store_failures",
            "Times that what counts rate limits did not answer; this process then counted by itself.",
            registry=registry,
        )
        self._pressed = Gauge(
            "media_backpressure", "1 while new work is refused for this reason.", ["reason"], registry=registry
        )
        self._pressure_refused = Counter(
            "media_backpressure_refused", "Mutations that were refused because of it.", ["reason"], registry=registry
        )
        self._unsampled = Counter(
            "media_backpressure_sample_failures",
            "Times that how much is waiting could not be asked, other than for an outage of the database.",
            registry=registry,
        )

    def count_refused(self, budget: Budget) -> None:
        self._refused.labels(budget.value).inc()

    def count_uncounted(self) -> None:
        self._uncounted.inc()

    def count_held_back(self, reason: str) -> None:
        self._pressure_refused.labels(reason).inc()

    def count_unsampled(self) -> None:
        self._unsampled.inc()

    def measure_pressure(self, reason: str, pressed: Callable[[], float]) -> None:
        """Have `pressed` asked for whenever metrics are."""
        self._pressed.labels(reason).set_function(pressed)
