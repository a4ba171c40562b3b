"""Every knob, as one frozen class read from `MEDIA_*` variables; refuses what must not go live."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.failpoints import Failpoint
from service.models import Lane
from service.settings.audit import AuditSettings as AuditSettings
from service.settings.auth import AuthSettings as AuthSettings
from service.settings.auth import IssuerSettings as IssuerSettings
from service.settings.delivery import CdnSettings as CdnSettings
from service.settings.delivery import DeliverySettings as DeliverySettings
from service.settings.delivery import SigningKey as SigningKey
from service.settings.delivery import TrustedKey as TrustedKey
from service.settings.group import Group
from service.settings.limits import LimitsSettings as LimitsSettings
from service.settings.limits import PerOwner as PerOwner
from service.settings.limits import PerRole as PerRole
from service.settings.retention import RetentionSettings as RetentionSettings
from service.settings.webhooks import ReceiverSettings as ReceiverSettings
from service.settings.webhooks import WebhookSettings as WebhookSettings


class Environment(enum.StrEnum):
    DEVELOPMENT = "development"
    PRODUCTION = "production"


class MongoSettings(Group):
    uri: SecretStr = SecretStr("mongodb://127.0.0.1:27017/?replicaSet=rs0")
    database: str = "media"
    timeout_ms: int = Field(default=5_000, gt=0, description="Deadline of one operation, in milliseconds")


class StorageSettings(Group):
    """S3 and the two buckets. Empty keys mean boto3's own credential chain (instance role, profile)."""

    endpoint: str | None = Field(default=None, description="None for AWS; the address of any other S3 server")
    public_endpoint: str | None = Field(default=None, description="Where clients reach storage, if not `endpoint`")
    region: str = "us-east-1"
    access_key: str = ""
    secret_key: SecretStr = SecretStr("")
    upload_bucket: str = "media-uploads"
    media_bucket: str = "media-renditions"
    kms_key_id: str = Field(default="", description="Encrypts both buckets (SSE-KMS); empty for S3's own keys")
    allowed_origins: tuple[str, ...] = ()
    event_token: SecretStr = Field(
        default=SecretStr(""), description="Bearer token of POST /events/storage; empty turns the route off"
    )


class HttpSettings(Group):
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    allowed_origins: tuple[str, ...] = ()
    graphiql: bool = False
    demo: bool = False
    introspection: bool = False
    max_body_bytes: int = Field(default=256 * 1024, gt=0)
    max_query_tokens: int = Field(default=2_000, gt=0)
    max_query_depth: int = Field(default=16, gt=0, description="Fields inside one another; introspection needs 15")
    max_query_cost: int = Field(default=20_000, gt=0, description="Fields an answer may hold, page sizes multiplied in")
    max_root_fields: int = Field(default=20, gt=0, description="Root fields of one operation, every alias counted")
    trusted_documents: Path | None = Field(
        default=None, description="A manifest of registered documents, or a folder of manifests and .graphql files"
    )
    trusted_only: bool = Field(default=False, description="Run registered documents and nothing else")
    persisted_queries: bool = Field(default=True, description="Let clients name a valid document they sent by its hash")
    compression: bool = Field(default=True, description="Compress answers for clients that accept it")
    first_pages: int = Field(
        default=100,
        ge=0,
        description="First pages of feeds that a process keeps, and may show for milliseconds after a change; 0: none",
    )
    media_in_memory: int = Field(
        default=2_000, ge=0, description="Media of pages that a process keeps in memory, about 10 kB each; 0: none"
    )
    max_sockets: int = Field(
        default=10_000,
        gt=0,
        description="WebSockets at once in one process, and as many event streams; more are refused",
    )
    max_socket_operations: int = Field(default=50, gt=0, description="Operations at once on one WebSocket")
    socket_init_timeout_s: float = Field(default=10, gt=0)
    drain_s: float = Field(default=10, ge=0)

    @model_validator(mode="after")
    def _trusts_something(self) -> HttpSettings:
        if self.trusted_only and self.trusted_documents is None:
            raise ValueError("trusted_only without trusted_documents would refuse every request: name a manifest")
        return self


class WorkerSettings(Group):
    concurrency: int = Field(
        default=0, ge=0, description="Jobs at once, and as many more that somebody waits for; 0: by cores and memory"
    )
    lease_s: float = Field(default=30, ge=1)
    poll_s: float = Field(default=0.5, gt=0)
    max_attempts: int = Field(default=5, ge=1)
    backoff_s: tuple[float, ...] = Field(default=(2, 15, 60, 300), min_length=1)
    outage_retry_s: float = Field(
        default=15, gt=0, description="When a job is tried again while storage does not answer"
    )
    jail_memory_bytes: int = Field(default=1_500_000_000, gt=0)
    jail_cpu_s: int = Field(default=20, gt=0, description="CPU seconds that a picture may take")
    jail_clip_cpu_s: int = Field(default=300, gt=0, description="CPU seconds that a clip may take")
    base_cache_bytes: int = Field(
        default=64_000_000, ge=0, description="Decoded pictures kept for the job that makes the rest of them; 0: none"
    )
    drain_s: float = Field(default=10, ge=0, description="How long a stopping worker waits for its jobs")
    sweep_s: float = Field(default=30, gt=0, description="How often the sweeper looks for what events missed")
    metrics_port: int | None = Field(default=None, description="Where the worker serves /metrics and /healthz")


class QueueSettings(Group):
    """How SQS is asked. Region and keys are those of storage."""

    endpoint: str | None = Field(default=None, description="None for AWS; the address of any other SQS server")
    wait_s: int = Field(default=20, ge=0, le=20, description="How long one poll waits for a message")
    visibility_s: int = Field(default=30, ge=1, le=43_200, description="After this silence a message comes again")


class EventsSettings(QueueSettings):
    """The SQS queue of S3's notifications; without one nothing is read."""

    queue_url: str | None = None
    concurrency: int = Field(default=10, ge=1, le=1_000, description="Messages at once")
    retry_s: tuple[Annotated[int, Field(ge=0, le=43_200)], ...] = Field(default=(5, 30, 120, 600), min_length=1)
    dead_letter_url: str | None = Field(default=None, description="Used only where the queue has no redrive policy")
    max_receives: int = Field(default=10, ge=1, le=1_000, description="Deliveries before `dead_letter_url`")


class ScannerSettings(Group):
    """Where originals are scanned for malware before they are decoded; without an address none is."""

    address: str = Field(default="", description="Of clamd: tcp://HOST:PORT or unix:///PATH")
    timeout_s: float = Field(
        default=150, gt=0, description="For one file; longer than clamd's MaxScanTime, two minutes"
    )
    max_bytes: int = Field(default=100 * 1024 * 1024, gt=0, description="clamd's StreamMaxLength and MaxFileSize")

    @property
    def largest_file(self) -> int | None:
        """The bytes of the largest file that can be scanned; None where none is scanned."""
        return self.max_bytes if self.address else None


class AnnotatorSettings(Group):
    """What looks at media once they are READY."""

    enabled: tuple[str, ...] | None = Field(
        default=None, description="Names of annotators; None for all whose tools are installed"
    )
    languages: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")], ...] = Field(
        default=("eng",), min_length=1, description="What labels are written in, as Tesseract names languages"
    )
    ocr_timeout_s: float = Field(default=30, gt=0, description="How long one picture may be read")


class VectorSettings(Group):
    """How the nearest of all embeddings are found."""

    engine: Literal["scan", "atlas"] = Field(
        default="scan", description="scan: all of a model's, held in memory; atlas: MongoDB's $vectorSearch"
    )
    memory_bytes: int = Field(
        default=256 * 1024 * 1024, ge=0, description="What scanned embeddings take in a process; 0: nothing is searched"
    )
    index: str = Field(
        default="embeddings", min_length=1, description="Atlas' indexes are called this, `_` and the dimensions"
    )


class LookAlikeSettings(Group):
    """How perceptual hashes are compared; the database does it where memory may not."""

    hashes_in_memory: int = Field(
        default=0, ge=0, description="Perceptual hashes that an API process holds at most, 8 bytes each; 0: none"
    )


class JobsSettings(QueueSettings):
    """SQS queues that bring hints at jobs, one for each lane; without them workers ask MongoDB."""

    queue_urls: dict[Lane, str] = Field(default={})

    @field_validator("queue_urls")
    @classmethod
    def _all_lanes(cls, value: dict[Lane, str]) -> dict[Lane, str]:
        if value and (missing := ", ".join(lane for lane in Lane if lane not in value)):
            raise ValueError(f"name a queue for every lane, also for {missing}")
        return value


class Settings(BaseSettings):
    """All settings; nested names join with two underscores, e.g. `MEDIA_MONGO__URI`. Lists and objects are JSON."""

    model_config = SettingsConfigDict(
        env_prefix="MEDIA_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        nested_model_default_partial_update=True,
    )

    environment: Environment = Environment.PRODUCTION
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    failpoint: Failpoint | None = Field(default=None, description="Where this process dies, as tests of recovery need")
    mongo: MongoSettings = MongoSettings()
    storage: StorageSettings = StorageSettings()
    delivery: DeliverySettings = DeliverySettings()
    cdn: CdnSettings = CdnSettings()
    auth: AuthSettings = AuthSettings()
    http: HttpSettings = HttpSettings()
    worker: WorkerSettings = WorkerSettings()
    events: EventsSettings = EventsSettings()
    jobs: JobsSettings = JobsSettings()
    scanner: ScannerSettings = ScannerSettings()
    annotators: AnnotatorSettings = AnnotatorSettings()
    vectors: VectorSettings = VectorSettings()
    look_alikes: LookAlikeSettings = LookAlikeSettings()
    limits: LimitsSettings = LimitsSettings()
    retention: RetentionSettings = RetentionSettings()
    webhooks: WebhookSettings = WebhookSettings()
    audit: AuditSettings = AuditSettings()
