"""What the service counts and measures for its operators: Prometheus metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from service.audit_metrics import AuditMetrics
from service.lifecycle import MediaStatus
from service.limit_metrics import LimitMetrics
from service.models import JobKind, Lane, MediaPurpose

_UPLOAD_OUTCOMES = {
    MediaStatus.INITIATED: "created",
    MediaStatus.UPLOADED: "completed",
    MediaStatus.EXPIRED: "expired",
}


class Metrics:
    """Everything counted in one process, in a registry of its own, so that several apps can live in one test."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.http_requests = Counter(
            "media_http_requests", "Answers by route, method, status and operation type.",
            ["route", "method", "status", "operation"], registry=self.registry,
        )  # fmt: skip
        self.http_seconds = Histogram(
            "media_http_request_duration_seconds", "Time to the last byte of an answer.",
            ["route", "operation"], registry=self.registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
        )  # fmt: skip
        self.audit = AuditMetrics(self.registry)
        self._request_series: dict[tuple[str, str, int, str], tuple[Counter, Histogram]] = {}
        self.sockets = Gauge("media_websocket_connections", "Open GraphQL WebSockets.", registry=self.registry)
        self.event_streams = Gauge("media_event_streams", "Open streams of Server-Sent Events.", registry=self.registry)
        self.socket_operations = Counter(
            "media_websocket_operations", "Operations started over WebSockets.", ["operation"], registry=self.registry
        )
        self.uploads = Counter(
            "media_uploads", "Upload sessions by what became of them.", ["purpose", "outcome"], registry=self.registry
        )
        self.jobs = Counter("media_jobs", "Jobs by what became of them.", ["kind", "outcome"], registry=self.registry)
        self.job_seconds = Histogram(
            "media_job_duration_seconds", "Time from claim to commit of a job.", ["kind"], registry=self.registry,
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
        )  # fmt: skip
        self.queue_age = Gauge(
            "media_queue_age_seconds", "For how long the oldest open job could have been begun.",
            ["lane"], registry=self.registry,
        )  # fmt: skip
        self.queue_jobs = Gauge(
            "media_queue_jobs", "Jobs that are not done; 10000 stands for that many or more.",
            ["lane", "state"], registry=self.registry,
        )  # fmt: skip
        self.first_viewable = Histogram(
            "media_time_to_first_viewable_seconds", "From createUploads to READY.", ["purpose"],
            registry=self.registry, buckets=(0.5, 1, 2, 3, 5, 8, 13, 20, 30, 60, 120, 300),
        )  # fmt: skip
        self.statuses = Counter(
            "media_status_entered", "The funnel: media that entered each status.",
            ["status", "purpose"], registry=self.registry,
        )  # fmt: skip

        self.storage_messages = Counter(
            "media_storage_messages", "Deliveries of storage's messages by what became of them.",
            ["outcome"], registry=self.registry,
        )  # fmt: skip
        self.storage_message_age = Histogram(
            "media_storage_message_age_seconds", "From a message's entry into the queue until it was handled.",
            registry=self.registry, buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600),
        )  # fmt: skip
        self.storage_events = Counter(
            "media_storage_events", "Storage events by kind and outcome.", ["kind", "outcome"], registry=self.registry
        )
        self.invalidations = Counter(
            "media_invalidations", "Calls about invalidations of the CDN by what came of them.",
            ["outcome"], registry=self.registry,
        )  # fmt: skip
        self.invalidation_paths = Counter(
            "media_invalidation_paths", "Paths and cache tags that the CDN was asked to forget.", registry=self.registry
        )
        self.invalidation_age = Gauge(
            "media_invalidation_age_seconds", "For how long edges have been due to forget the oldest request.",
            registry=self.registry,
        )  # fmt: skip
        self.limits = LimitMetrics(self.registry)
        self.deletion_checks = Counter(
            "media_deletion_checks", "Looks at deleted media by what came of them.", ["outcome"], registry=self.registry
        )
        self.deletions_unverified = Gauge(
            "media_deletions_unverified",
            "Deletions that could have been verified and are not; 10000 stands for that many or more.",
            registry=self.registry,
        )
        self.deletions_unverified_age = Gauge(
            "media_deletions_unverified_age_seconds", "For how long the oldest could have been.", registry=self.registry
        )
        self.change_stream_lag = Gauge(
            "media_change_stream_lag_seconds", "How long ago the database was as far as what has been heard of it.",
            registry=self.registry,
        )  # fmt: skip
        self.issuer_keys_age = Gauge(
            "media_issuer_keys_age_seconds", "How long ago an issuer's published keys were fetched.",
            ["issuer"], registry=self.registry,
        )  # fmt: skip
        self.webhooks = Counter(
            "media_webhooks", "Attempts to tell a receiver of an event, by what came of them.",
            ["receiver", "outcome"], registry=self.registry,
        )  # fmt: skip
        self.webhooks_waiting = Gauge(
            "media_webhooks_waiting", "Events that a receiver is still to be sent; 10000 stands for that many or more.",
            ["receiver"], registry=self.registry,
        )  # fmt: skip
        self.webhooks_dead = Gauge(
            "media_webhooks_dead", "Events that were given up and can be replayed.",
            ["receiver"], registry=self.registry,
        )  # fmt: skip
        self.webhook_age = Gauge(
            "media_webhook_age_seconds", "For how long the oldest event has waited for its receiver.",
            ["receiver"], registry=self.registry,
        )  # fmt: skip
        self.webhooks_unreadable = Counter(
            "media_webhooks_unreadable", "Documents whose events were put off, as this release cannot read them.",
            registry=self.registry,
        )  # fmt: skip

    def count_request(self, *, route: str, method: str, status: int, operation: str, seconds: float) -> None:
        """Count one HTTP answer. `route` is the pattern, never the raw path; `operation` is `none` off GraphQL."""
        labels = (route, method, status, operation)
        series = self._request_series.get(labels)
        if series is None:
            # As many as the metrics have series: routes, methods and operations are few, statuses ours.
            series = self._request_series[labels] = (
                self.http_requests.labels(route, method, str(status), operation),
                self.http_seconds.labels(route, operation),
            )
        series[0].inc()
        series[1].observe(seconds)

    def count_upload(self, purpose: MediaPurpose, outcome: str) -> None:
        """Count a step of an upload session: `created`, `completed`, `expired`, or `refused` before it began."""
        self.uploads.labels(purpose.value, outcome).inc()

    def count_job(self, kind: JobKind, outcome: str, seconds: float) -> None:
        """Count one attempt at a job.

        Outcomes: `done`, `retried`, `postponed`, `rejected`, `dead`, `superseded`, `released`, `abandoned`.
        """
        self.jobs.labels(kind.value, outcome).inc()
        self.job_seconds.labels(kind.value).observe(seconds)

    def set_queue_age(self, lane: Lane, seconds: float) -> None:
        """Seconds the oldest waiting job of `lane` has waited; 0 for an empty lane."""
        self.queue_age.labels(lane.value).set(seconds)

    def set_queue_jobs(self, lane: Lane, state: str, number: int) -> None:
        """How many jobs of `lane` are `open`, `delayed`, `running` or `dead`."""
        self.queue_jobs.labels(lane.value, state).set(number)

    def observe_first_viewable(self, purpose: MediaPurpose, seconds: float) -> None:
        """Seconds from createUploads to READY, for one media."""
        self.first_viewable.labels(purpose.value).observe(seconds)

    def count_storage_message(self, outcome: str) -> None:
        """Count one delivery of a message from storage's queue.

        Outcomes: `handled`, `failed`, `postponed`, `unreadable`, `released`; also `dead` if it was then moved.
        """
        self.storage_messages.labels(outcome).inc()

    def observe_storage_message_age(self, seconds: float) -> None:
        """Seconds that a message spent between S3's sending it and its being handled."""
        self.storage_message_age.observe(seconds)

    def count_storage_event(self, kind: str, outcome: str) -> None:
        """Count one event: `created` or `removed`; `handled`, `stale`, `unknown` or `lost`."""
        self.storage_events.labels(kind, outcome).inc()

    def count_invalidation(self, outcome: str, *, paths: int = 0) -> None:
        """Count a batch that was `created` with so many paths, `completed`, `postponed`, or `refused`."""
        self.invalidations.labels(outcome).inc()
        self.invalidation_paths.inc(paths)

    def set_invalidation_age(self, seconds: float) -> None:
        """Seconds since the oldest request that edges have not confirmed; 0 without one."""
        self.invalidation_age.set(seconds)

    def count_deletion_check(self, outcome: str) -> None:
        """Count one look at a deleted media.

        Outcomes: `verified`; `awaits_cdn`; `stored` and `served` where something was left in storage or at an edge;
        `unclear`, `refused` and `no_key` where edges did not tell, did not take the signature, or could not be asked;
        `came_back` afterwards.
        """
        self.deletion_checks.labels(outcome).inc()

    def set_deletions_unverified(self, number: int, age_s: float) -> None:
        """How many deletions could have been verified and are not, and for how many seconds the oldest could."""
        self.deletions_unverified.set(number)
        self.deletions_unverified_age.set(age_s)

    def count_webhook(self, receiver: str, outcome: str) -> None:
        """Count an event that was `delivered`, an attempt that `failed`, or an event that is `dead` after its last."""
        self.webhooks.labels(receiver, outcome).inc()

    def count_unreadable_events(self, documents: int) -> None:
        """Count documents whose events stay in them for now; again whenever that was tried again."""
        self.webhooks_unreadable.inc(documents)

    def set_webhooks(self, receiver: str, *, waiting: int, oldest_s: float, dead: int) -> None:
        """What a receiver is still to be sent, for how long the oldest of it has waited, and what was given up."""
        self.webhooks_waiting.labels(receiver).set(waiting)
        self.webhook_age.labels(receiver).set(oldest_s)
        self.webhooks_dead.labels(receiver).set(dead)

    def measure_change_stream(self, lag_s: Callable[[], float]) -> None:
        """Ask `lag_s` at every look how late the change stream is, in seconds."""
        self.change_stream_lag.set_function(lag_s)

    def measure_issuer_keys(self, age_s: Mapping[str, Callable[[], float]]) -> None:
        """Ask at every look how old the published keys of each issuer are, in seconds."""
        for issuer, age in age_s.items():
            self.issuer_keys_age.labels(issuer).set_function(age)

    def count_status(self, status: MediaStatus, purpose: MediaPurpose) -> None:
        """Count one media entering `status`, and what that means for its upload session."""
        self.statuses.labels(status.value, purpose.value).inc()
        if status in _UPLOAD_OUTCOMES:
            self.count_upload(purpose, _UPLOAD_OUTCOMES[status])

    def render(self) -> tuple[bytes, str]:
        """The exposition for `GET /metrics`: body and content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST
