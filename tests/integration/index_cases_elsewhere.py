"""For every index of other collections than `media` a query that it serves, asked as the service asks it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from uuid6 import uuid7

from service.annotation_places import place_of
from service.models import JobKind, JobState, Lane, Workload
from service.stores.annotation_rows import AnnotationRowStore, Wanted
from service.stores.audit import AuditStore
from service.stores.audit_reads import AuditReads
from service.stores.contents import ContentStore
from service.stores.database import Database
from service.stores.deletion_proofs import DeletionProofStore
from service.stores.embeddings import EmbeddingStore
from service.stores.invalidation_batches import InvalidationBatchStore
from service.stores.invalidations import InvalidationStore
from service.stores.job_inspection import JobInspection
from service.stores.jobs import JobStore
from service.stores.quotas import QuotaStore
from tests.integration.index_cases import Case

NOW = datetime.now(UTC)


async def _contents(database: Database, key: str, media_id: UUID) -> ContentStore:
    rows = [{"_id": f"{key}{number}", "key": f"{key}{number}", "refs": [uuid7()]} for number in range(50)]
    await database.contents.insert_many([*rows, {"_id": key, "key": key, "refs": [media_id]}])
    return ContentStore(database)


async def _object(database: Database) -> object:
    return await (await _contents(database, "community/raw/a.jpg", uuid7())).is_free("community/raw/a.jpg")


async def _refs(database: Database) -> object:
    media_id = uuid7()
    store = await _contents(database, "community/raw/b.jpg", media_id)
    await database.contents.insert_many([{"_id": f"of {n}", "key": f"of {n}", "refs": [media_id]} for n in range(9)])
    found = await store.release(media_id)
    # What is asked is asked again, of references that are there.
    await database.contents.update_many(
        {"_id": {"$in": [each["_id"] for each in found]}}, {"$set": {"refs": [media_id]}}
    )
    return found


async def _claim(database: Database) -> object:
    jobs = JobStore(database)
    for _ in range(30):
        await jobs.enqueue(uuid7(), JobKind.RENDER, lane=Lane.BACKFILL)
    return await jobs.claim(lease_s=60, worker="w", workloads={Workload.PICTURES}, lanes=set(Lane))


async def _inspection(database: Database) -> object:
    rows = [
        {
            "_id": f"dead {number}",
            "kind": "render",
            "media_id": uuid7(),
            "state": "dead",
            "lane": "standard",
            "visible_at": NOW,
            "enqueued_at": NOW,
            "attempt": 5,
        }
        for number in range(40)
    ]
    await database.jobs.insert_many(rows)
    return await JobInspection(database).list_jobs(state=JobState.DEAD, limit=30)


async def _invalidations(database: Database, state: str, **more: Any) -> None:
    row = {"state": state, "requested_at": NOW, "keys": [], **more}
    rows = [{"_id": f"{state} {uuid7()}", "media_id": uuid7(), **row} for _ in range(40)]
    await database.handle["invalidations"].insert_many(rows)


async def _gathering(database: Database) -> object:
    await _invalidations(database, "waiting")
    return await InvalidationStore(database).list_waiting(limit=20)


async def _by_batch(database: Database) -> object:
    batches = [uuid7() for _ in range(3)]
    for batch_id in batches:
        await _invalidations(database, "gathered", batch_id=batch_id)
    return await InvalidationStore(database).complete(batches[0])


async def _by_media(database: Database) -> object:
    media_id = uuid7()
    await _invalidations(database, "waiting", media_id=media_id)
    return await InvalidationStore(database).list_of_media(media_id)


async def _due(database: Database) -> object:
    batches = InvalidationBatchStore(database)
    for _ in range(20):
        await batches.open(uuid7(), ["/a"])
    return await batches.list_due()


async def _rows(database: Database) -> tuple[AnnotationRowStore, UUID, list[UUID], list[UUID]]:
    """Rows of three segments of one media, 60 each, among those of others; and the ids of the annotations."""
    media_id, segments = uuid7(), [uuid7() for _ in range(3)]
    rows = []
    for segment in (*segments, *(uuid7() for _ in range(3))):
        for number in range(60):
            annotation_id, confidence = uuid7(), (number + 1) / 60
            rows.append(
                {
                    "_id": uuid7(),
                    "annotation_id": annotation_id,
                    "media_id": media_id if segment in segments else uuid7(),
                    "segment": segment,
                    "place": place_of(confidence, annotation_id),
                    "label": f"label-{number % 2}",
                    "confidence": confidence,
                    "bounding_box": None,
                    "text": None,
                    "source": "model:m@1",
                    "created_at": NOW,
                }
            )
    await database.annotations.insert_many(rows)
    ids = [row["annotation_id"] for row in rows if row["media_id"] == media_id]
    return AnnotationRowStore(database), media_id, segments, ids


async def _segment(database: Database) -> object:
    store, media_id, segments, _ = await _rows(database)
    return await store.page(media_id, segments, Wanted(min_confidence=0.2), after=None, limit=50)


async def _segment_label(database: Database) -> object:
    store, media_id, segments, _ = await _rows(database)
    return await store.page(media_id, segments, Wanted(label="label-1"), after=None, limit=50)


async def _row_by_annotation(database: Database) -> object:
    store, _, _, ids = await _rows(database)
    return await store.find(ids[:20])


async def _rows_of_media(database: Database) -> object:
    store, media_id, _, _ = await _rows(database)
    await store.remove_all(media_id)
    await database.annotations.insert_many([{"_id": uuid7(), "media_id": media_id} for _ in range(20)])
    return None


async def _embeddings(database: Database) -> tuple[EmbeddingStore, list[UUID]]:
    media_ids = [uuid7() for _ in range(30)]
    models = list(enumerate(("a@1", "b@1")))
    rows = [{"_id": uuid7(), "media_id": each, "model": m, "place": at} for each in media_ids for at, m in models]
    await database.embeddings.insert_many(rows)
    return EmbeddingStore(database), media_ids


async def _embeddings_of_media(database: Database) -> object:
    store, media_ids = await _embeddings(database)
    return await store.of_media(media_ids[:10])


async def _embedding_places(database: Database) -> object:
    store, media_ids = await _embeddings(database)
    return await store.free_places(media_ids[0], "c@1")


async def _embeddings_of_model(database: Database) -> object:
    store, _ = await _embeddings(database)
    return await store.page(None, model="a@1", limit=20)


def _noted(number: int) -> dict[str, Any]:
    entry = {"action": "media.changed", "actor": "anna", "owner": "anna", "at": NOW, "details": {}}
    return {"id": f"change:{number}", "subject": uuid7(), **entry}


async def _audit_entry(database: Database) -> object:
    entries: list[Any] = [_noted(number) for number in range(50)]
    await AuditStore(database).append(entries)
    return await AuditStore(database).append(entries[:20])


def _on_record(**asked: Any) -> Case:
    async def show(database: Database) -> object:
        pending: list[Any] = [{**_noted(5_000 + number), "owner": f"owner {number}"} for number in range(40)]
        for number, entry in enumerate(pending):
            entry.update({"actor": f"actor {number}", "subject": UUID(int=number)})
        await AuditStore(database).append(pending)
        return [entry async for entry in AuditReads(database).entries(**asked)]

    return show


def _outbox(collection: str, first: int) -> Case:
    async def settle(database: Database) -> object:
        documents = database.handle[collection]
        # Fields that unique indexes ask for.
        kept: list[Any] = [{"_id": uuid7(), "media_id": uuid7(), "place": 0} for _ in range(60)]
        pending = [{**each, "audit_pending": [_noted(first + number)]} for number, each in enumerate(kept[:20])]
        await documents.insert_many([*pending, *kept[20:]])
        settled = await AuditStore(database).settle_all()
        # What is asked is asked again, of outboxes that hold something.
        again = [{"_id": uuid7(), "media_id": uuid7(), "audit_pending": [_noted(first + 100 + n)]} for n in range(20)]
        await documents.insert_many(again)
        return settled

    return settle


async def _quotas_due(database: Database) -> object:
    later, since = NOW + timedelta(hours=1), NOW - timedelta(hours=1)
    await database.quotas.insert_many([{"_id": f"rest {n}"} for n in range(50)])
    await database.quotas.insert_many([{"_id": f"later {n}", "due_at": later} for n in range(50)])
    await database.quotas.insert_many([{"_id": f"due {n}", "due_at": since} for n in range(5)])
    return await QuotaStore(database).list_due(limit=5)


async def _deletions_due(database: Database) -> object:
    later, since = NOW + timedelta(hours=1), NOW - timedelta(hours=1)
    looks = {"later": later, "due": since}
    rows = [
        {"_id": uuid7(), "stage": stage, "look_at": looks[when]}
        for stage in ("HIDDEN", "CDN_INVALIDATED", "VERIFIED")
        for when in ("later", *(["due"] if stage != "VERIFIED" else []))
        for _ in range(20)
    ]
    rest: list[Any] = [{"_id": uuid7(), "stage": "VERIFIED"} for _ in range(60)]
    await database.deletions.insert_many([*rows, *rest])
    store = DeletionProofStore(database)
    taken = await store.take_due(limit=100)
    assert len(taken) == 40
    # What is asked is asked again, of some that are due.
    ids = [deletion["_id"] for deletion, _ in taken]
    await database.deletions.update_many({"_id": {"$in": ids}}, {"$set": {"look_at": since}})
    return taken


OTHER_CASES: Mapping[str, Mapping[str, Case]] = {
    "contents": {"object": _object, "refs": _refs},
    "jobs": {"claim_by_workload": _claim, "inspection": _inspection},
    "invalidations": {"gathering": _gathering, "by_batch": _by_batch, "by_media": _by_media},
    "quotas": {"due": _quotas_due},
    "invalidation_batches": {"due": _due},
    "annotations": {
        "segment": _segment,
        "segment_label": _segment_label,
        "annotation": _row_by_annotation,
        "media": _rows_of_media,
    },
    "audit": {
        "entry": _audit_entry,
        "by_subject": _on_record(media_id=UUID(int=7)),
        "by_owner": _on_record(owner_id="owner 7"),
        "by_actor": _on_record(actor="actor 7"),
    },
    "deletions": {"audit_pending": _outbox("deletions", 1_000), "upkeep": _deletions_due},
    "embeddings": {
        "by_media": _embeddings_of_media,
        "places": _embedding_places,
        "by_model": _embeddings_of_model,
        "audit_pending": _outbox("embeddings", 2_000),
    },
}
