"""What a request changes: everything the database and both buckets say, before and after."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from bson import decode
from bson.raw_bson import RawBSONDocument
from motor.motor_asyncio import AsyncIOMotorDatabase

from tests.audit_storage import Auditor

Snapshot = dict[str, dict[Any, Any]]


@dataclass(frozen=True)
class Witness:
    """Looks at one database and, with drivers of its own, at the two buckets beside it."""

    database: AsyncIOMotorDatabase[dict[str, Any]]
    auditor: Auditor
    # By the bytes they were read from: most of what is looked at has not changed since, and to decode it costs most.
    _decoded: dict[bytes, dict[str, Any]] = field(default_factory=dict, repr=False)

    async def look(self) -> Snapshot:
        """Every document but for what keys were used and how often somebody asked, the versions of every object, and
        the multipart uploads begun.
        """
        storage = asyncio.create_task(asyncio.to_thread(self.auditor.look_at_storage))
        names = sorted(set(await self.database.list_collection_names()) - {"idempotency", "rate_limits"})
        found: Snapshot = {name: {} for name in names}
        for each in await self._read(names):
            found[each["collection"]][each["document"]["_id"]] = each["document"]
        versions, pending = await storage
        objects = {place: len(ids) for place, ids in versions.items()}
        return {**found, "objects": objects, "multiparts": dict(Counter(pending))}

    async def _read(self, names: list[str]) -> list[dict[str, Any]]:
        """Every document with its collection, in one answer."""
        codec = self.database.codec_options
        reading = self.database[names[0]].with_options(codec.with_options(document_class=RawBSONDocument))
        documents = await reading.aggregate(list(_all_of(names))).to_list(None)
        for each in documents:
            if each.raw not in self._decoded:
                self._decoded[each.raw] = decode(each.raw, codec)
        return [self._decoded[each.raw] for each in documents]


def _all_of(names: list[str]) -> Iterator[dict[str, Any]]:
    """The stages that read these collections, beginning with the first."""
    first, *others = ([{"$project": {"_id": 0, "collection": name, "document": "$$ROOT"}}] for name in names)
    yield from first
    yield from (
        {"$unionWith": {"coll": name, "pipeline": stages}} for name, stages in zip(names[1:], others, strict=True)
    )


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
