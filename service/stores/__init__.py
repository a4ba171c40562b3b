"""The only MongoDB queries. Each store knows one collection and speaks in documents and domain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType

from service.models import MediaPurpose
from service.stores.annotation_rows import AnnotationRowStore
from service.stores.annotations import AnnotationStore
from service.stores.audit import AuditStore
from service.stores.audit_reads import AuditReads
from service.stores.blocked_deletions import BlockedDeletionStore
from service.stores.certificates import CertificateStore
from service.stores.contents import ContentStore
from service.stores.database import Database
from service.stores.dead_letters import DeadLetterStore
from service.stores.deletion_proofs import DeletionProofStore
from service.stores.deletions import DeletionStore
from service.stores.embeddings import EmbeddingStore
from service.stores.erasures import ErasureStore
from service.stores.event_outbox import NOTHING, stage_noted
from service.stores.holds import HoldStore
from service.stores.idempotency import IdempotencyStore
from service.stores.invalidations import InvalidationStore
from service.stores.job_inspection import JobInspection
from service.stores.jobs import Announcer, JobStore
from service.stores.label_counts import LabelCountStore
from service.stores.look_alikes import LookAlikeStore
from service.stores.media import MediaStore, StatusCounter
from service.stores.migrations import MigrationStore
from service.stores.moderation import ModerationStore
from service.stores.owner_data import OwnerDataStore
from service.stores.quotas import QuotaStore
from service.stores.renditions import RenditionStore
from service.stores.retention import RetentionStore
from service.stores.uploads import UploadStore
from service.stores.webhooks import WebhookStores, bind_webhooks


@dataclass(frozen=True, slots=True)
class Stores:
    """The stores of one database. `invalidations`: None where there is no CDN to tell."""

    media: MediaStore
    annotations: AnnotationStore
    annotation_rows: AnnotationRowStore
    label_counts: LabelCountStore
    look_alikes: LookAlikeStore
    renditions: RenditionStore
    moderation: ModerationStore
    uploads: UploadStore
    contents: ContentStore
    jobs: JobStore
    job_inspection: JobInspection
    dead_letters: DeadLetterStore
    deletions: DeletionStore
    deletion_proofs: DeletionProofStore
    certificates: CertificateStore
    idempotency: IdempotencyStore
    quotas: QuotaStore
    embeddings: EmbeddingStore
    migrations: MigrationStore
    audit: AuditStore
    audit_reads: AuditReads
    webhooks: WebhookStores
    holds: HoldStore
    blocked_deletions: BlockedDeletionStore
    retention: RetentionStore
    erasures: ErasureStore
    owner_data: OwnerDataStore
    invalidations: InvalidationStore | None = None


def bind_stores(
    database: Database,
    *,
    count_status: StatusCounter | None = None,
    announce: Announcer | None = None,
    invalidates: bool = False,
    notes_events: bool = False,
    keep_for: Mapping[MediaPurpose, timedelta] = MappingProxyType({}),
) -> Stores:
    """The stores of `database`.

    `notes_events`: receivers are to be told what happens.
    `count_status` is told of every status written and of the media's purpose, `announce` of every job that becomes
    visible. `invalidates`: edges are to forget what is removed. `keep_for`: how long bytes are kept at least.
    """
    counting = {} if count_status is None else {"count_status": count_status}
    media = MediaStore(database, notes_events=notes_events, **counting)
    on_stage = stage_noted() if notes_events else NOTHING
    return Stores(
        media=media,
        label_counts=LabelCountStore(database),
        look_alikes=LookAlikeStore(database),
        renditions=RenditionStore(database),
        moderation=ModerationStore(database, media=media),
        annotations=AnnotationStore(database, tell=media.tell),
        annotation_rows=AnnotationRowStore(database),
        uploads=UploadStore(database),
        contents=ContentStore(database),
        jobs=JobStore(database, announce=announce),
        job_inspection=JobInspection(database),
        dead_letters=DeadLetterStore(database, announce=announce),
        deletions=DeletionStore(database, on_stage=on_stage),
        deletion_proofs=DeletionProofStore(database, on_stage=on_stage),
        certificates=CertificateStore(database),
        idempotency=IdempotencyStore(database),
        quotas=QuotaStore(database),
        embeddings=EmbeddingStore(database),
        migrations=MigrationStore(database),
        audit=AuditStore(database),
        audit_reads=AuditReads(database),
        webhooks=bind_webhooks(database),
        holds=HoldStore(database),
        blocked_deletions=BlockedDeletionStore(database, keep_for=keep_for, on_stage=on_stage),
        retention=RetentionStore(database),
        erasures=ErasureStore(database),
        owner_data=OwnerDataStore(database),
        invalidations=InvalidationStore(database) if invalidates else None,
    )
