"""The `audit` collection: hash-chained entries, one chain for each bucket of owners, that are only ever added to."""

from __future__ import annotations

import asyncio
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from pymongo.errors import BulkWriteError
from pymongo.read_concern import ReadConcern

from service.audit import BUCKETS, Deed, Entry, Head, PendingEntry, bucket_of, linked
from service.errors import TemporarilyUnavailable
from service.stores.audit_outbox import OUTBOX
from service.stores.database import Collection as MongoCollection
from service.stores.database import Database, describe_outage, expected_error

log = structlog.get_logger(__name__)

# Collections whose documents have an outbox.
OUTBOXES = ("media", "deletions", "embeddings", "holds", "erasures")

# So many documents are taken from an outbox at a time, and so many entries are appended together.
PAGE = 500
# Each round that is lost was won by another process, which appended up to PAGE entries.
_ROUNDS = 60
_DUPLICATE_KEY = 11000
_LONGEST_PAUSE_S = 0.05


@dataclass(slots=True)
class _Batch:
    entries: list[PendingEntry] = field(default_factory=list)
    is_appended: bool = False


@dataclass(slots=True)
class _Line:
    """Who waits in this process to append to one chain: all that came meanwhile are appended together."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    open: _Batch = field(default_factory=_Batch)


class AuditStore:
    """Moves entries from outboxes to chains. Anybody may do so at any time; each entry is appended once."""

    def __init__(self, database: Database) -> None:
        self._handle = database.handle
        self._audit: MongoCollection = database.handle["audit"]
        # What a failover may still take back is neither anchored nor read from an outbox.
        majority = ReadConcern("majority")
        self._settled = self._audit.with_options(read_concern=majority)
        self._outboxes = {name: database.handle[name] for name in OUTBOXES}
        self._settled_outboxes = {name: database.handle[name].with_options(read_concern=majority) for name in OUTBOXES}
        self._lines = [_Line() for _ in range(BUCKETS)]
        self._count_appended: Callable[[int], None] | None = None

    def after_appends(self, callback: Callable[[int], None]) -> None:
        """Have `callback` told how many entries this process has appended together, every time."""
        self._count_appended = callback

    async def settle(self, collection: str, ids: Collection[UUID]) -> None:
        """Append what writes to these documents have noted. For those that wrote: what goes wrong is put off.

        It stays in the outbox then, and `settle_all` comes back to it.
        """
        try:
            query = {"_id": {"$in": list(ids)}, f"{OUTBOX}.id": {"$gt": ""}}
            await self._move(collection, await self._outboxes[collection].find(query, {OUTBOX: 1}).to_list(None))
        except Exception as error:
            if expected_error(error) is None:
                raise
            log.warning("audit entries wait for the sweeper", reason=describe_outage(error))

    async def settle_all(self) -> int:
        """Append all that outboxes hold at this moment; the number of documents."""
        settled = 0
        for name, outbox in self._settled_outboxes.items():
            left: list[Any] = []
            # Not again those that are noted in while others are moved: that could go on for ever.
            for _ in range(1 + await self._outboxes[name].count_documents(_WAITING) // PAGE):
                query = _WAITING | ({"_id": {"$nin": left}} if left else {})
                documents = await outbox.find(query, {OUTBOX: 1}).limit(PAGE).to_list(PAGE)
                malformed = await self._move(name, documents)
                left += malformed
                settled += len(documents) - len(malformed)
        return settled

    async def count_waiting(self) -> int:
        """Documents whose outbox is not empty."""
        return sum([await outbox.count_documents(_WAITING) for outbox in self._outboxes.values()])

    async def _move(self, collection: str, documents: Sequence[dict[str, Any]]) -> list[Any]:
        """The ids of those that stay as they are, since what they hold are no entries: they hold up no others."""
        faults = {document["_id"]: _fault(document[OUTBOX]) for document in documents}
        malformed = [each for each, fault in faults.items() if fault is not None]
        for each in malformed:
            log.error("what an outbox holds is no audit entry", collection=collection, id=str(each), why=faults[each])
        documents = [document for document in documents if faults[document["_id"]] is None]
        pending = [entry for document in documents for entry in document[OUTBOX]]
        if not pending:
            return malformed
        await self.append(pending)
        moved = {"$in": ["$$this.id", [entry["id"] for entry in pending]]}
        left = {"$filter": {"input": f"${OUTBOX}", "cond": {"$not": moved}}}
        # An empty one would be in no index, but in every document.
        emptied: list[dict[str, Any]] = [
            {"$set": {OUTBOX: left}},
            {"$set": {OUTBOX: {"$cond": [{"$eq": [f"${OUTBOX}", []]}, "$$REMOVE", f"${OUTBOX}"]}}},
        ]
        ids = [document["_id"] for document in documents]
        query = {"_id": {"$in": ids}, f"{OUTBOX}.id": {"$gt": ""}}
        await self._outboxes[collection].update_many(query, emptied)
        return malformed

    async def record(self, deeds: Sequence[Deed]) -> None:
        """Append what is about to be done, in server time; what is on record already is left out.

        Returns once it is there. Raises TemporarilyUnavailable, also for an outage of the database; it must not be done
        then.
        """
        try:
            at = (await self._handle.command("hello"))["localTime"]
            await self.append([_pending(deed, at) for deed in deeds])
        except Exception as error:
            if expected_error(error) is None:
                raise
            message = "It cannot be put on record at the moment, and so is not done. Try again shortly."
            raise TemporarilyUnavailable(message) from error

    async def append(self, pending: Iterable[PendingEntry]) -> None:
        """Append entries to the chains of their owners; those that are there already are left out.

        Returns once all of them are there. Raises TemporarilyUnavailable if others append to the same all the time.
        """
        by_bucket: dict[int, list[PendingEntry]] = defaultdict(list)
        for entry in pending:
            by_bucket[bucket_of(entry["owner"])].append(entry)
        await asyncio.gather(*(self._queue(bucket, entries) for bucket, entries in by_bucket.items()))

    async def _queue(self, bucket: int, entries: list[PendingEntry]) -> None:
        line = self._lines[bucket]
        batch = line.open
        batch.entries += entries
        async with line.lock:
            if line.open is batch:
                line.open = _Batch()
                await self._append(bucket, batch.entries)
                batch.is_appended = True
        if not batch.is_appended:
            raise TemporarilyUnavailable("The audit chain could not be written to; the entries wait in their outbox.")

    async def _append(self, bucket: int, pending: Sequence[PendingEntry]) -> None:
        left = list({entry["id"]: entry for entry in pending}.values())
        for attempt in range(_ROUNDS):
            # In this order: what others append after the head has been read takes the place that is wanted below.
            head = await self._head(bucket)
            left = await self._absent(bucket, left)
            if not left:
                return
            if await self._insert(linked(left[:PAGE], head)):
                left = left[PAGE:]
            else:
                pause = min(_LONGEST_PAUSE_S, 0.002 * 2**attempt)
                await asyncio.sleep(pause * secrets.randbelow(1_000) / 1_000)
            if not left:
                return
        raise TemporarilyUnavailable("Others append to the same audit chain all the time; the next round goes on.")

    async def _insert(self, rows: Sequence[tuple[Entry, str]]) -> bool:
        """Whether all of them were; False if another process was faster at one, after which none is written."""
        documents = [{"_id": _place(e["bucket"], e["sequence"]), **e, "hash": hash_} for e, hash_ in rows]
        try:
            await self._audit.insert_many(documents, ordered=True)
        except BulkWriteError as error:
            details = error.details or {}
            if details.get("writeConcernErrors") or any(
                each["code"] != _DUPLICATE_KEY for each in details.get("writeErrors", ())
            ):
                raise
            return False
        if self._count_appended is not None:
            self._count_appended(len(documents))
        return True

    async def _absent(self, bucket: int, entries: Sequence[PendingEntry]) -> list[PendingEntry]:
        query = {"bucket": bucket, "id": {"$in": [entry["id"] for entry in entries]}}
        known = {row["id"] async for row in self._audit.find(query, {"_id": 0, "id": 1})}
        return [entry for entry in entries if entry["id"] not in known]

    async def _head(self, bucket: int, *, settled: bool = False) -> Head:
        chain = self._settled if settled else self._audit
        last = await chain.find_one(_chain(bucket), {"sequence": 1, "hash": 1}, sort=[("_id", -1)])
        return Head(bucket) if last is None else Head(bucket, last["sequence"], last["hash"])

    async def heads(self) -> list[Head]:
        """Where each chain ends that has entries, as a majority of the database's members has it."""
        found = [await self._head(bucket, settled=True) for bucket in range(BUCKETS)]
        return [head for head in found if head.sequence]

    async def entries(self, bucket: int) -> AsyncIterator[tuple[dict[str, Any], Any]]:
        """What is stored of a chain, in its order: each entry with the hash beside it.

        What is stored in a place that is not its own comes with that place as an entry's field, which no hash matches.
        """
        async for row in self._settled.find(_chain(bucket)).sort("_id", 1):
            place, stored_hash = row.pop("_id"), row.pop("hash", None)
            is_in_place = place == _place(bucket, row.get("sequence"))
            yield row if is_in_place else {**row, "_id": str(place)}, stored_hash

    async def count_strays(self) -> int:
        """Documents that are in no chain."""
        chains = [_chain(bucket)["_id"] for bucket in range(BUCKETS)]
        return await self._settled.count_documents({"$nor": [{"_id": chain} for chain in chains]})


_WAITING = {f"{OUTBOX}.id": {"$gt": ""}}


def _fault(outbox: Any) -> str | None:
    """Why what a document holds as its outbox cannot be appended; None if it can."""
    try:
        for entry in outbox:
            bucket_of(entry["owner"])
            linked([entry], Head(0))
            if not isinstance(entry["id"], str) or not isinstance(entry["actor"], str):
                return "its id and its actor are not both texts"
    # All that becomes of a document that this service has not written.
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def _pending(deed: Deed, at: datetime) -> PendingEntry:
    note = deed.note
    return PendingEntry(
        id=deed.id,
        action=note.action.value,
        actor=note.actor,
        owner=deed.owner,
        subject=deed.subject,
        at=at,
        details=dict(note.details),
    )


def _chain(bucket: int) -> dict[str, Any]:
    # `~` follows all digits.
    return {"_id": {"$gte": f"{bucket:03d}:", "$lt": f"{bucket:03d}:~"}}


def _place(bucket: int, sequence: Any) -> str:
    """Unique, and in the order of the chain."""
    return f"{bucket:03d}:{sequence:012d}" if isinstance(sequence, int) else f"{bucket:03d}:?"
