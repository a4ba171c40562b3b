"""The `migrations` collection: who migrates, and how far each run has come; and the documents it goes through."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypedDict
from uuid import UUID

from pymongo import ReturnDocument, UpdateOne
from pymongo.errors import OperationFailure

from indexes.migrations import UNVERSIONED
from service.stores.database import Database
from service.stores.expressions import NOW, after_now, insert_if_absent

# Only what is still to be migrated is in it, so that nothing is to be counted where nothing is.
PENDING_INDEX: Final = "pending_3"

_LEASE: Final = "lease"
_BAD_HINT: Final = 2  # MongoDB error code BadValue
_VERSION: Final = "schema_version"
_UNVERSIONED: Final = {"$or": [dict(each) for each in UNVERSIONED]}


class ProgressDocument(TypedDict):
    """`after`: everything up to there has been looked at. The numbers are of documents, of the run so far."""

    _id: str
    begun_at: datetime
    after: UUID | None
    migrated: int
    refused: int
    missed: int


@dataclass(frozen=True, slots=True)
class Span:
    """Media by their ids: those after `after`, up to and with `until`; None for no bound."""

    after: UUID | None
    until: UUID | None

    def condition(self) -> dict[str, Any]:
        """As a query."""
        bounds = {"$gt": self.after, "$lte": self.until}
        condition = {name: bound for name, bound in bounds.items() if bound is not None}
        return {"_id": condition} if condition else {}


@dataclass(frozen=True, slots=True)
class Holder:
    """Who migrates at present, by its own account, and until when it does so without saying so again."""

    name: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Write:
    """One document to be changed, as long as `read` are its fields, each as a whole, and `version` is its version.

    A field that it did not have is missing in `read`; `reads` names them all.
    """

    id: UUID
    version: int
    to_version: int
    reads: Collection[str]
    read: Mapping[str, Any]
    values: Mapping[str, Any]
    removed: Sequence[str]


class MigrationStore:
    def __init__(self, database: Database) -> None:
        self._media = database.media
        self._runs = database.handle["migrations"]

    async def hold(self, name: str, *, lease_s: float) -> Holder | None:
        """Take or renew the one lease there is, in server time; None if `name` has it now, else who has."""
        is_free = {"$or": [{"$eq": ["$holder", name]}, {"$lte": ["$until", NOW]}]}
        mine = {"_id": _LEASE, "holder": {"$literal": name}, "until": after_now(lease_s)}
        document = await self._runs.find_one_and_update(
            {"_id": _LEASE},
            [{"$replaceWith": {"$cond": [is_free, mine, "$$ROOT"]}}],
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        return None if document["holder"] == name else Holder(document["holder"], document["until"])

    async def let_go(self, name: str) -> None:
        """End the lease, if `name` has it."""
        await self._runs.delete_one({"_id": _LEASE, "holder": name})

    async def begin(self, run_id: str) -> ProgressDocument:
        """How far the run of this name had come when it was interrupted, or a new one, begun in server time."""
        fresh = {"begun_at": NOW, "after": None, "migrated": 0, "refused": 0, "missed": 0}
        document: ProgressDocument = await self._runs.find_one_and_update(
            {"_id": run_id},
            insert_if_absent(fresh, marker="begun_at"),
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        return document

    async def advance(self, run_id: str, *, after: UUID | None, migrated: int, refused: int, missed: int) -> None:
        """Note that everything up to `after` has been looked at."""
        values = {"after": after, "migrated": migrated, "refused": refused, "missed": missed}
        await self._runs.update_one({"_id": run_id}, {"$set": values})

    async def end(self, run_id: str) -> None:
        """Forget the run: the next one begins anew."""
        await self._runs.delete_one({"_id": run_id})

    async def interrupted(self) -> list[ProgressDocument]:
        """The runs that have not come to their end; of one that is under way, how far it is."""
        documents: list[ProgressDocument] = await self._runs.find({"_id": {"$ne": _LEASE}}).sort("_id", 1).to_list(100)
        return documents

    async def count_below(self, version: int, *, limit: int) -> int | None:
        """How many media are of a version below `version`, or of none, counting no further than `limit`.

        From the index of those alone; None where it is not there, as nothing else tells cheaply.
        """
        try:
            below = await self._count({_VERSION: {"$lt": version}}, limit)
            # Those of no version are sought among the others: cheap as long as these are few.
            return below if below >= limit else below + await self._count(_UNVERSIONED, limit - below)
        except OperationFailure as error:
            if error.code == _BAD_HINT:
                return None
            raise

    async def _count(self, query: Mapping[str, Any], limit: int) -> int:
        return int(await self._media.count_documents(query, limit=limit, hint=PENDING_INDEX))

    async def count_all(self) -> int:
        """About how many media there are, by the collection's own account."""
        return int(await self._media.estimated_document_count())

    async def newest(self) -> UUID | None:
        """The greatest id there is."""
        found = await self._media.find_one({}, {"_id": 1}, sort=[("_id", -1)])
        return None if found is None else found["_id"]

    async def page_below(
        self, version: int, span: Span, *, limit: int, fields: Collection[str]
    ) -> list[dict[str, Any]]:
        """Up to `limit` media of a version below `version`, in the order of ids."""
        return await self._page({_VERSION: {"$lt": version}, **span.condition()}, PENDING_INDEX, limit, fields)

    async def page(self, span: Span, *, limit: int, fields: Collection[str]) -> list[dict[str, Any]]:
        """As `page_below`, of whatever version, or of none: a page never reads more than it returns."""
        return await self._page(span.condition(), "_id_", limit, fields)

    async def unversioned(self, *, limit: int) -> list[dict[str, Any]]:
        """Up to `limit` media whose version is missing, or no number."""
        return await self._page(_UNVERSIONED, PENDING_INDEX, limit, ())

    async def _page(
        self, query: Mapping[str, Any], index: str, limit: int, fields: Collection[str]
    ) -> list[dict[str, Any]]:
        projection = dict.fromkeys((*fields, _VERSION), 1)
        cursor = self._media.find(query, projection).sort("_id", 1).limit(limit).hint(index)
        documents: list[dict[str, Any]] = await cursor.to_list(limit)
        return documents

    async def write(self, writes: Sequence[Write]) -> int:
        """Carry out those whose document is still what was read, and return how many that were."""
        if not writes:
            return 0
        result = await self._media.bulk_write([_update(write) for write in writes], ordered=False)
        return int(result.matched_count)


def _update(write: Write) -> UpdateOne:
    unchanged = {
        name: {"$eq": write.read[name]} if name in write.read else {"$exists": False} for name in sorted(write.reads)
    }
    update: dict[str, Any] = {"$set": {**write.values, _VERSION: write.to_version}}
    if write.removed:
        update["$unset"] = dict.fromkeys(write.removed, "")
    return UpdateOne({"_id": write.id, _VERSION: write.version, **unchanged}, update)
