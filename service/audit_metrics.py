"""The audit chains as metrics: what goes in, and what waits outside."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class AuditMetrics:
    """Registers itself where the other metrics are."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._appended = Counter(
            "media_audit_appended", "Entries that this process has appended to the audit chains.", registry=registry
        )
        self._waiting = Gauge(
            "media_audit_waiting",
            "Documents whose entries are not in the audit chains yet; 10000 stands for that many or more.",
            registry=registry,
        )
        self._oldest = Gauge(
            "media_audit_oldest_waiting_seconds",
            "For how long the oldest entry has waited to be appended.",
            registry=registry,
        )

    def count_appended(self, number: int) -> None:
        """So many entries were appended together."""
        self._appended.inc(number)

    def set_backlog(self, waiting: int, oldest_s: float) -> None:
        """What waits after a sweep has appended all that it found."""
        self._waiting.set(waiting)
        self._oldest.set(oldest_s)
