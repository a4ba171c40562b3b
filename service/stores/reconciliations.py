"""The `reconciliations` collection: how far each comparison of storage with the database has come."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypedDict

from pymongo import ReturnDocument

from service.stores.database import Database
from service.stores.expressions import NOW, insert_if_absent


class ReconciliationDocument(TypedDict):
    """`step` and `after`: everything up to there is done. `counts`: findings by kind and outcome so far."""

    _id: str
    started_at: datetime
    step: int
    after: str | None
    counts: dict[str, int]


class ReconciliationStore:
    def __init__(self, database: Database) -> None:
        self._runs = database.handle["reconciliations"]

    async def begin(self, run_id: str) -> ReconciliationDocument:
        """The run of this name that was interrupted, or a new one, begun in server time."""
        fresh = {"started_at": NOW, "step": 0, "after": None, "counts": {}}
        document: ReconciliationDocument = await self._runs.find_one_and_update(
            {"_id": run_id},
            insert_if_absent(fresh, marker="started_at"),
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        return document

    async def advance(self, run_id: str, *, step: int, after: str | None, counts: Mapping[str, int]) -> None:
        """Note that everything up to `after` in `step` is done."""
        values: dict[str, Any] = {"step": step, "after": after, "counts": dict(counts)}
        await self._runs.update_one({"_id": run_id}, {"$set": values})

    async def end(self, run_id: str) -> None:
        """Forget the run: the next one begins anew."""
        await self._runs.delete_one({"_id": run_id})
