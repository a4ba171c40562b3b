"""What an entry of the audit chains holds, which chain it belongs to, and how it is linked to the one before."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypedDict

from service.audit.canonical import canonical_json

VERSION = 1
# Appends to one chain wait for one another, those to several do not. The number is for good: an owner's entries stay
# together only while it is the same.
BUCKETS = 16
# What the first entry of a chain follows.
NOTHING = "0" * 64
# Who does what nobody asks for.
SERVICE_ACTOR = "service"
# Who does what is done at the command line without saying by whom.
OPERATOR_ACTOR = "operator"
# With what follows, in place of the id of somebody who is erased.
ERASED_PREFIX = "erased:"


class AuditAction(enum.StrEnum):
    UPLOAD_CREATED = "upload.created"
    UPLOAD_STARTED = "upload.started"
    UPLOAD_COMPLETED = "upload.completed"
    UPLOAD_ABORTED = "upload.aborted"
    UPLOAD_EXPIRED = "upload.expired"
    MEDIA_PROCESSED = "media.processed"
    MEDIA_FAILED = "media.failed"
    MEDIA_RETRIED = "media.retried"
    MEDIA_REPROCESSED = "media.reprocessed"
    MEDIA_CHANGED = "media.changed"
    MEDIA_QUARANTINED = "media.quarantined"
    MEDIA_RELEASED = "media.released"
    OWNER_QUARANTINED = "owner.quarantined"
    ANNOTATIONS_WRITTEN = "annotations.written"
    ANNOTATIONS_DELETED = "annotations.deleted"
    EMBEDDING_WRITTEN = "embedding.written"
    EMBEDDING_DELETED = "embedding.deleted"
    ORIGINAL_ACCESSED = "original.accessed"
    DELETION_REQUESTED = "deletion.requested"
    OBJECTS_REMOVED = "deletion.objects_removed"
    DELETION_VERIFIED = "deletion.verified"
    REMNANT_REMOVED = "deletion.remnant_removed"
    DELETION_BLOCKED = "deletion.blocked"
    HOLD_PLACED = "hold.placed"
    HOLD_LIFTED = "hold.lifted"
    RETENTION_ENDED = "media.retention_ended"
    ERASURE_REQUESTED = "owner.erasure_requested"
    OWNER_ERASED = "owner.erased"
    OPERATOR_COMMAND = "operator.command"


@dataclass(frozen=True, slots=True)
class Note:
    """What a write is to have on record of itself, beside what follows from it: its id, owner, subject and moment.

    `details`: ids, names of fields and counts, never what people have written.
    """

    action: AuditAction
    actor: str = SERVICE_ACTOR
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Deed:
    """What goes on record before it is done, since no write of it could say so. `id`: as in PendingEntry."""

    id: str
    note: Note
    owner: str
    subject: str


class PendingEntry(TypedDict):
    """What happened, as the write that did it has noted it. Ids, names of fields and counts: nothing else of anybody.

    `id`: follows from what happened, so that the same is never two entries. `actor`: the id of who did it, `service`
    for the service itself. `owner` and `subject`: ids of the media's owner and of the media. `at`: server time.
    """

    id: str
    action: str
    actor: str
    owner: str
    subject: Any
    at: datetime
    details: dict[str, Any]


class Entry(TypedDict):
    """An entry of a chain, as it is hashed: all of it. `previous`: the hash of the entry before, in hex."""

    version: int
    bucket: int
    sequence: int
    previous: str
    id: str
    action: str
    actor: str
    owner: str
    subject: str
    at: str
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain ends: its last sequence (0: it is empty) and that entry's hash."""

    bucket: int
    sequence: int = 0
    hash: str = NOTHING


def is_reserved(person: str) -> bool:
    """Whether entries that name it would be taken for the service's, an operator's, or those of somebody erased."""
    return person in {SERVICE_ACTOR, OPERATOR_ACTOR} or person.startswith(ERASED_PREFIX)


def bucket_of(owner: str) -> int:
    """The chain of an owner's entries, 0 to BUCKETS - 1."""
    return int.from_bytes(hashlib.sha256(owner.encode()).digest()[:2]) % BUCKETS


def hash_of(entry: Mapping[str, Any]) -> str:
    """SHA-256 of an entry's canonical JSON, in hex. Raises ValueError if it has none."""
    return hashlib.sha256(canonical_json(entry)).hexdigest()


def linked(pending: Iterable[PendingEntry], head: Head) -> list[tuple[Entry, str]]:
    """Entries that follow one another from `head` on, each with its hash."""
    rows = []
    for each in pending:
        entry = Entry(
            version=VERSION,
            bucket=head.bucket,
            sequence=head.sequence + 1,
            previous=head.hash,
            id=each["id"],
            action=str(each["action"]),
            actor=each["actor"],
            owner=each["owner"],
            subject=str(each["subject"]),
            at=moment(each["at"]),
            details=each["details"],
        )
        head = Head(head.bucket, entry["sequence"], hash_of(entry))
        rows.append((entry, head.hash))
    return rows


def moment(at: datetime) -> str:
    """ISO 8601 in UTC with milliseconds, which is what the database keeps of it."""
    aware = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return f"{aware.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{aware.microsecond // 1000:03d}Z"
