"""For every index that retention, holds and erasures need a query that it serves, asked as the service asks it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from uuid6 import uuid7

from service.stores.audit import AuditStore
from service.stores.blocked_deletions import BlockedDeletionStore
from service.stores.database import Database
from service.stores.deletion_proofs import DeletionProofStore
from service.stores.erasures import ErasureStore
from service.stores.holds import HoldStore, subject_of
from service.stores.idempotency import IdempotencyStore
from service.stores.owner_data import OwnerDataStore
from tests.documents import ready_media
from tests.integration.index_cases import Case

NOW = datetime.now(UTC)


async def _holds(database: Database, owner_id: str) -> HoldStore:
    store = HoldStore(database)
    for number in range(20):
        subject = subject_of(owner_id=f"{owner_id}{number}")
        hold = await store.place(uuid7(), subject, owner_id=owner_id, by="counsel", reason="A case")
        if number % 2:
            await store.lift(hold["_id"], by="counsel")
    return store


async def _subject(database: Database) -> object:
    store = await _holds(database, "held")
    return await store.on_many({uuid7(): f"held{number}" for number in range(20)})


async def _holds_of_owner(database: Database) -> object:
    store = await _holds(database, "lifted")
    await _holds(database, "another")
    await AuditStore(database).settle_all()
    query = {"owner_id": "lifted", "active": {"$exists": False}}
    kept = await database.handle["holds"].find(query).to_list(None)
    await store.forget_owner("lifted")
    # What is asked is asked again, of holds that are there: all of the owner's, without those that are active.
    await database.handle["holds"].delete_many({"owner_id": "lifted"})
    await database.handle["holds"].insert_many(kept)
    return kept


async def _subjects(database: Database) -> object:
    rows = [{"_id": uuid7(), "media_id": uuid7(), "subjects": [f"media:{n}", f"owner:{n % 4}"]} for n in range(40)]
    await database.handle["removals"].insert_many(rows)
    return await HoldStore(database).removals_of("owner:3")


async def _blocked_by(database: Database) -> object:
    holds = [uuid7(), uuid7()]
    rows = [{"_id": uuid7(), "stage": "BLOCKED_BY_RETENTION", "blocked_by": holds[n % 2]} for n in range(40)]
    await database.deletions.insert_many(rows)
    store = BlockedDeletionStore(database, keep_for={})
    await store.look_soon(holds[0])
    return await store.count(holds[0])


async def _deletions_of(database: Database, **who: Any) -> OwnerDataStore:
    stages = ("VERIFIED", "BLOCKED_BY_RETENTION")
    rows = [{"_id": uuid7(), "owner_id": f"o{n % 2}", "stage": stages[n % 2], **who} for n in range(40)]
    await database.deletions.insert_many(rows)
    return OwnerDataStore(database)


async def _deletions_of_owner(database: Database) -> object:
    store = await _deletions_of(database)
    await store.blocked_deletions("o1", limit=50)
    return await store.sum_up(["o1", "erased:o1"])


async def _unfinished_deletions(database: Database) -> object:
    await database.deletions.delete_many({}, hint="_id_")
    past, future = NOW - timedelta(hours=1), NOW + timedelta(hours=1)
    many = 1_000 * ["VERIFIED"] + 200 * ["HIDDEN"] + 20 * ["BLOCKED_BY_RETENTION"]
    # Of `upkeep` they are no part.
    dates = {"requested_at": past, "look_at": future}
    rows = [{"_id": uuid7(), "stage": stage, "due_at": future, **dates} for stage in many]
    unfinished = 10 * ("HIDDEN", "OBJECTS_REMOVED", "CDN_INVALIDATED")
    due: list[Any] = [{"_id": uuid7(), "stage": stage, "due_at": past, **dates} for stage in unfinished]
    # Of an earlier release, or before its first job.
    due += [{"_id": uuid7(), "stage": "HIDDEN", **dates, "requested_at": past - timedelta(hours=1)}]
    await database.deletions.insert_many([*rows, *due])
    number, age_s = await DeletionProofStore(database).unverified()
    assert (number, age_s >= 7_200) == (31, True)
    return number


async def _requested_by(database: Database) -> object:
    store = await _deletions_of(database, requested_by="judge")
    await store.rename_decisions("judge", "erased:judge")
    await database.deletions.update_many({"requested_by": "erased:judge"}, {"$set": {"requested_by": "judge"}})
    return None


async def _annotators(database: Database) -> object:
    def annotated(source: str) -> Any:
        return ready_media(annotations=[{"id": uuid7(), "source": each} for each in ("model:m@1", source)])

    sources = ["user:eve", "user:ben", "model:n@1"]
    await database.media.insert_many([annotated(source) for source in sources for _ in range(20)])
    return await OwnerDataStore(database).annotated_by("user:eve", limit=50)


async def _segment_annotators(database: Database) -> object:
    def segmented(source: str) -> Any:
        return ready_media(annotation_segments=[{"id": uuid7(), "source": each} for each in ("model:m@1", source)])

    await database.media.insert_many([segmented(source) for source in ("user:pat", "user:ben") for _ in range(20)])
    return await OwnerDataStore(database).annotated_by("user:pat", limit=50)


async def _moderated_by(database: Database) -> object:
    def decided(by: str) -> Any:
        return ready_media(moderation=[{"id": str(uuid7()), "by": by, "decision": "QUARANTINE"}])

    await database.media.insert_many([decided(by) for by in ("mod", "other") for _ in range(20)])
    await OwnerDataStore(database).rename_decisions("mod", "erased:mod")
    # What is asked is asked again, of decisions that are there.
    await database.media.insert_many([decided("mod") for _ in range(20)])
    return None


async def _open_erasures(database: Database) -> object:
    store = ErasureStore(database)
    for number in range(20):
        erasure = await store.begin(f"leaving{number}", by="operator")
        if number % 2:
            await store.seal(erasure, deletions=0, certificates_sha256="")
            await store.close(erasure, certificate="c")
    taken = await store.take_due(limit=20)
    # What is asked is asked again, of erasures whose turn it is.
    await database.handle["erasures"].update_many({"open": True}, {"$unset": {"look_at": ""}}, hint="due")
    return taken


async def _keys_of_owner(database: Database) -> object:
    store = IdempotencyStore(database)

    async def use_keys() -> None:
        for number in range(20):
            await store.remember(owner_id="keyed", operation="x", key=str(number), content=number, plan={})

    await database.idempotency.insert_many([{"_id": f"other {n}", "owner": "other"} for n in range(20)])
    await use_keys()
    await store.forget_owner("keyed")
    # What is asked is asked again, of keys that are there.
    await use_keys()
    return None


def _outbox_of(collection: str) -> Case:
    async def settle(database: Database) -> object:
        def noted() -> dict[str, Any]:
            entry = {"action": "hold.placed", "actor": "a", "owner": "a", "at": NOW, "details": {}}
            return {"_id": uuid7(), "audit_pending": [{"id": f"{collection}:{uuid7()}", "subject": uuid7(), **entry}]}

        # Those that other cases have left would be more than are asked about.
        await database.handle[collection].delete_many({}, hint="_id_")
        await database.handle[collection].insert_many([{"_id": uuid7()} for _ in range(40)])
        await database.handle[collection].insert_many([noted() for _ in range(20)])
        settled = await AuditStore(database).settle_all()
        # What is asked is asked again, of outboxes that hold something: more than were emptied.
        await database.handle[collection].insert_many([noted() for _ in range(60)])
        return settled

    return settle


KEEPING_CASES: Mapping[str, Mapping[str, Case]] = {
    "holds": {"subject": _subject, "of_owner": _holds_of_owner, "audit_pending": _outbox_of("holds")},
    "removals": {"subjects": _subjects},
    "erasures": {"due": _open_erasures, "audit_pending": _outbox_of("erasures")},
    "deletions": {
        "blocked_by": _blocked_by,
        "of_owner": _deletions_of_owner,
        "requested_by": _requested_by,
        "unfinished": _unfinished_deletions,
    },
    "idempotency": {"of_owner": _keys_of_owner},
    "media": {"annotators": _annotators, "segment_annotators": _segment_annotators, "moderated_by": _moderated_by},
}
