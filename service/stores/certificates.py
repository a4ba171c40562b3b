"""Single entries of the `audit` collection, with the entries beside them: what a certificate is checked by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pymongo.read_concern import ReadConcern

from service.audit import BUCKETS, bucket_of
from service.stores.database import Database


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry as it is stored: where, and with which hash beside it."""

    place: str
    entry: dict[str, Any]
    hash: str


class CertificateStore:
    """Reads what a failover cannot take back any more."""

    def __init__(self, database: Database) -> None:
        self._audit = database.handle["audit"].with_options(read_concern=ReadConcern("majority"))

    async def find(self, owner_id: str, entry_id: str) -> StoredEntry | None:
        """The entry of that id in the chain of an owner."""
        row = await self._audit.find_one({"bucket": bucket_of(owner_id), "id": entry_id})
        return None if row is None else stored_entry(row)

    async def find_anywhere(self, entry_id: str) -> StoredEntry | None:
        """The entry of that id, of an owner whose name is not kept any more."""
        row = await self._audit.find_one({"bucket": {"$in": list(range(BUCKETS))}, "id": entry_id})
        return None if row is None else stored_entry(row)

    async def neighbours(self, stored: StoredEntry) -> tuple[StoredEntry | None, StoredEntry | None]:
        """What stands before and after an entry in its chain."""
        chain = stored.place.partition(":")[0]
        before = {"_id": {"$gte": f"{chain}:", "$lt": stored.place}}
        # `~` follows all digits.
        after = {"_id": {"$gt": stored.place, "$lt": f"{chain}:~"}}
        rows = (
            await self._audit.find_one(before, sort=[("_id", -1)]),
            await self._audit.find_one(after, sort=[("_id", 1)]),
        )
        previous, following = (None if row is None else stored_entry(row) for row in rows)
        return previous, following


def stored_entry(row: Mapping[str, Any]) -> StoredEntry:
    """A document of the collection, taken apart."""
    entry = {name: value for name, value in row.items() if name not in {"_id", "hash"}}
    return StoredEntry(str(row["_id"]), entry, str(row.get("hash", "")))
