"""For every index of `media` a query that it serves, asked as the service asks it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from uuid6 import uuid7

from schema.values import SubjectInput
from service.access import ANONYMOUS, MODERATOR_ROLE, Action, Viewer, granted_filters
from service.labels import labels_of
from service.lifecycle import MediaStatus
from service.models import MediaKind, MediaPurpose
from service.perceptual_hash import bands_of
from service.stores import bind_stores
from service.stores.audit import AuditStore
from service.stores.database import Database
from service.stores.embeddings import EmbeddingStore
from service.stores.look_alikes import LookAlikeStore
from service.stores.media import MediaStore
from service.stores.migrations import MigrationStore, Span
from tests.documents import ready_media

Case = Callable[[Database], Awaitable[object]]

ANNA = Viewer("owner-3")
MODERATOR = Viewer("mod", frozenset({MODERATOR_ROLE}))
PAGE = 21
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def media_documents(number: int = 2_000) -> list[Any]:
    """Of 20 owners, in several purposes, captures, albums and subjects: what is not asked for is in the way."""
    return [
        ready_media(
            owner_id=f"owner-{index % 20}",
            kind="VIDEO" if index % 7 == 0 else "IMAGE",
            purpose=("COMMUNITY", "COMMUNITY", "PROFILE", "MEDICAL")[index % 4],
            visibility="PRIVATE" if index % 3 == 0 else "PUBLIC",
            status="PROCESSING" if index % 9 == 1 else "READY",
            capture_id=f"capture-{index // 30}",
            subject={"type": "post", "id": str(index // 30)},
            album_ids=[f"album-{index // 30}", "everything"],
            tags=[f"tag-{index % 11}", f"other-{index % 9}"],
            labels=labels_of({f"label-{index % 6}": index % 100 / 100, "thing": 0.95}),
            schema_version=3,
            hashes={},
        )
        for index in range(number)
    ]


def hoarded(number: int = 300) -> list[Any]:
    """Private media of two owners, in every place that a list asks for: in the way of whoever may not see them."""
    return [
        ready_media(
            owner_id=("hoarder", ANNA.id)[index % 2],
            kind="VIDEO",
            purpose=("COMMUNITY", "MEDICAL")[index // 2 % 2],
            visibility="PRIVATE",
            capture_id="capture-7",
            subject={"type": "post", "id": "9"},
            album_ids=["album-3"],
            tags=["tag-3"],
            labels=labels_of({"thing": 0.95}),
            hashes={},
        )
        for index in range(number)
    ]


async def _known_content(database: Database) -> object:
    digests = [f"{number:064x}" for number in range(20)]
    owned = [ready_media(owner_id="collector", content={"sha256": digest, "bytes": 1}) for digest in digests]
    await database.media.insert_many([*owned, *(ready_media(owner_id="collector") for _ in range(50))])
    statuses = {MediaStatus.READY, MediaStatus.PROCESSING}
    return await MediaStore(database).find_by_content("collector", digests[:10], statuses=statuses, fields=("purpose",))


async def _awaited(database: Database) -> object:
    digests = [f"{number:064x}" for number in range(10)]
    content = [{"announced_sha256": digest, "bytes": 1} for digest in digests]
    waits: dict[str, Any] = {"owner_id": "sender", "status": "INITIATED", "waiting_since": datetime.now(UTC)}
    await database.media.insert_many([ready_media(**waits, content=each) for each in content])
    return await MediaStore(database).find_awaited("sender", digests, fields=("purpose",))


async def _stalled(database: Database) -> object:
    waits: dict[str, Any] = {"owner_id": "slow", "status": "UPLOADED", "waiting_since": LONG_AGO}
    await database.media.insert_many([ready_media(**waits) for _ in range(20)])
    before = LONG_AGO + timedelta(hours=1)
    return [each async for each in MediaStore(database).list_stalled({MediaStatus.UPLOADED}, before=before)]


def _hashed(owner_id: str, phash: int) -> Any:
    return ready_media(owner_id=owner_id, hashes={"phash": phash, "bands": bands_of(phash)})


ASKED_HASH = 0x0F0F_3C5A_55AA_1234


async def _look_alikes(database: Database) -> object:
    # Each alike in its first band alone.
    near = [ASKED_HASH ^ (3 * number << 21) ^ (5 * number) for number in range(1, 201)]
    await database.media.insert_many([_hashed("lookalikes", phash) for phash in near])
    return await LookAlikeStore(database).hashes_near([ASKED_HASH], 3)


async def _same_hash(database: Database) -> object:
    hashes = [ASKED_HASH ^ 1 << bit for bit in range(3)]
    private = [{**_hashed("same", phash), "visibility": "PRIVATE"} for phash in hashes for _ in range(40)]
    await database.media.insert_many([*private, *(_hashed("same", phash) for phash in hashes for _ in range(20))])
    return await LookAlikeStore(database).newest_with(hashes, access=granted_filters(ANONYMOUS, Action.READ), limit=30)


async def _owner_same_hash(database: Database) -> object:
    hashes = [ASKED_HASH ^ 3 << bit for bit in range(3)]
    await database.media.insert_many([_hashed("twins", phash) for phash in hashes for _ in range(20)])
    return await LookAlikeStore(database).oldest_of_owner_with("twins", hashes, limit=100)


async def _annotation(database: Database) -> object:
    annotated = [ready_media(annotations=[{"id": uuid7()} for _ in range(5)]) for _ in range(20)]
    await database.media.insert_many(annotated)
    asked = [media["annotations"][3]["id"] for media in annotated[:10]]
    access = granted_filters(ANONYMOUS, Action.READ)
    return await bind_stores(database).annotations.find_holders(asked, access=access)


async def _embeddings_due(database: Database) -> object:
    await database.media.insert_many([ready_media(embeddings_due_at=LONG_AGO) for _ in range(20)])
    return await EmbeddingStore(database).list_due(before=datetime.now(UTC), limit=10)


async def _pending(database: Database) -> object:
    await database.media.insert_many([ready_media(schema_version=1 + number % 2) for number in range(40)])
    return await MigrationStore(database).page_below(3, Span(None, None), limit=20, fields=("hashes",))


async def _audit_pending(database: Database) -> object:
    entry = {"action": "media.changed", "actor": "anna", "owner": "anna", "at": LONG_AGO, "details": {}}
    noted = [{**entry, "id": f"outbox:{number}", "subject": number} for number in range(20)]
    await database.media.insert_many([ready_media(audit_pending=[each]) for each in noted])
    settled = await AuditStore(database).settle_all()
    # What is asked is asked again, of outboxes that hold something.
    await database.media.insert_many([ready_media(audit_pending=[each]) for each in noted])
    return settled


_COMMUNITY = MediaPurpose.COMMUNITY

# What `mediaList` and the feed ask for, by the index that serves it; whoever asks.
LISTS: Mapping[str, Mapping[str, Any]] = {
    "feed": {"purpose": _COMMUNITY, "status": [MediaStatus.READY]},
    "owner_by_purpose": {"owner_id": ANNA.id, "purpose": MediaPurpose.MEDICAL},
    "owner_newest": {"owner_id": ANNA.id},
    "recent": {},
    "captured": {"capture_id": "capture-7"},
    "of_subject": {"subject": SubjectInput(type="post", id="9")},  # type: ignore[arg-type]
    "in_album": {"album_id": "album-3"},
    "tags_by_purpose": {"tags": ["tag-3"], "purpose": _COMMUNITY},
    "owner_tags": {"owner_id": ANNA.id, "tags": ["tag-3"]},
    "labels": {"label": "thing", "min_confidence": 0.9, "purpose": _COMMUNITY},
    "owner_labels": {"owner_id": ANNA.id, "label": "thing", "min_confidence": 0.9},
    "kinds": {"kind": MediaKind.VIDEO, "purpose": _COMMUNITY},
}

MEDIA_CASES: Mapping[str, Case] = {
    "owner_content": _known_content,
    "owner_awaited": _awaited,
    "stalled": _stalled,
    "look_alikes": _look_alikes,
    "same_hash": _same_hash,
    "owner_same_hash": _owner_same_hash,
    "annotation": _annotation,
    "embeddings_due": _embeddings_due,
    "pending_3": _pending,
    "audit_pending": _audit_pending,
}
