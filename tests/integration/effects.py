"""What a request changes: everything the database and both buckets say, before and after."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Any

from motor.motor_asyncio import AsyncIOMotorDatabase

from tests.audit_storage import Auditor

Snapshot = dict[str, dict[Any, Any]]


@dataclass(frozen=True)
class Witness:
    """Looks at one database and, with drivers of its own, at the two buckets beside it."""

    database: AsyncIOMotorDatabase[dict[str, Any]]
    auditor: Auditor

    async def look(self) -> Snapshot:
        """Every document but for what keys were used and how often somebody asked, the versions of every object, and
        the multipart uploads begun.
        """
        storage = asyncio.create_task(asyncio.to_thread(self.auditor.look_at_storage))
        names = sorted(set(await self.database.list_collection_names()) - {"idempotency", "rate_limits"})
        found: Snapshot = {
            name: {document["_id"]: document async for document in self.database[name].find()} for name in names
        }
        objects, pending = await storage
        return {**found, "objects": dict(objects), "multiparts": dict(Counter(pending))}


def effects(before: Snapshot, after: Snapshot) -> Counter[str]:
    """What became of how many documents and objects: new, changed or gone, and through how many statuses."""
    counted: Counter[str] = Counter()
    for name in before.keys() | after.keys():
        old, new = before.get(name, {}), after.get(name, {})
        if name == "quotas":
            counted += _counted_otherwise(old, new)
            continue
        for key in old.keys() | new.keys():
            if old.get(key) != new.get(key):
                verb = "new" if key not in old else "gone" if key not in new else "changed"
                counted[f"{verb} {name}{_statuses(old.get(key), new.get(key))}"] += 1
    return counted


def _counted_otherwise(old: dict[Any, Any], new: dict[Any, Any]) -> Counter[str]:
    """How many uploads count as what for their owners, and as what before; owners are counted once they ask."""
    ways = Counter[str]()
    for owner, quota in new.items():
        earlier = old.get(owner, {"entries": {}})["entries"]
        for key, entry in quota["entries"].items():
            was = earlier[key]["held"] if key in earlier else "nothing"
            if was != entry["held"]:
                ways[f"counted as {entry['held']} that was {was}"] += 1
    return ways


def on_record(before: Snapshot, after: Snapshot) -> list[dict[str, Any]]:
    """The entries of the audit chains that came in between, chain after chain."""
    return [entry for key, entry in sorted(after["audit"].items()) if key not in before.get("audit", {})]


def media_written(before: Snapshot, after: Snapshot) -> set[str]:
    """The ids of media that, or whose deletions or embeddings, were written in between."""
    ids = set()
    for name in ("media", "deletions", "embeddings"):
        old, new = before.get(name, {}), after.get(name, {})
        ids |= {str(new[key].get("media_id", key)) for key in new if old.get(key) != new[key]}
    return ids


def _statuses(old: Any, new: Any) -> str:
    """How many statuses a media went through. Where a second version or multipart upload came to a key, how many."""
    if isinstance(old, int) or isinstance(new, int):
        return "" if (old or 0) + (new or 0) == 1 else f", {old or 0} to {new or 0}"
    passed = len((new or {}).get("status_history", ())) - len((old or {}).get("status_history", ()))
    return f" through {passed} statuses" if passed else ""
