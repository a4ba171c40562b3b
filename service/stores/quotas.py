"""The `quotas` collection: how many bytes each owner has stored, has reserved, and has sent today.

One document an owner, changed by one atomic write at a time. Beside the sums it holds an entry for each upload of late:
what the sums count of it, and by how many steps it came there. An entry is dropped once its upload session says the
same; `generation` grows with it, so that nobody who looked before takes what is missing for what was never there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NotRequired, TypedDict
from uuid import UUID

from pymongo import UpdateOne

from service.models import Holding
from service.rate_limits import keys_of_viewer
from service.stores.database import Database
from service.stores.expressions import NOW, after_now

# Entries younger than this are most likely to change again.
SETTLED_AFTER_S = 60

_TODAY = {"$dateTrunc": {"date": NOW, "unit": "day"}}
_SENT_TODAY = {"$cond": [{"$eq": ["$day", _TODAY]}, "$sent", 0]}


class EntryDocument(TypedDict):
    """`held`: a Holding. `sent`: what of it counts as sent on `day`."""

    bytes: int
    step: int
    held: str
    sent: int
    day: datetime | None
    at: NotRequired[datetime]


class QuotaDocument(TypedDict):
    """`sent`: today, by the database's clock. `entries`: those that were asked for; `open`: how many there are."""

    _id: str
    stored: int
    reserved: int
    sent: int
    generation: int
    open: int
    entries: dict[str, EntryDocument]


@dataclass(frozen=True, slots=True)
class Counted:
    """What the sums count of one upload, after so many steps."""

    held: Holding = Holding.NOTHING
    bytes: int = 0
    step: int = 0


@dataclass(frozen=True, slots=True)
class ByteLimits:
    """What an owner may send a day, and have stored; None: as much as they like."""

    daily: int | None = None
    total: int | None = None


def entry_key(media_id: UUID) -> str:
    """Under which an upload's entry stands: never a number, which a path would take for a place in a list."""
    return f"m{media_id.hex}"


def entry_id(key: str) -> UUID:
    return UUID(hex=key[1:])


def counted_of(entry: EntryDocument) -> Counted:
    return Counted(Holding(entry["held"]), entry["bytes"], entry["step"])


@dataclass(frozen=True, slots=True)
class OwnedUpload:
    """A media as its bytes are counted."""

    media_id: UUID
    status: str
    bytes: int


class QuotaStore:
    def __init__(self, database: Database) -> None:
        self._media = database.media
        self._quotas = database.quotas
        self._uploads = database.uploads
        self._rate_limits = database.rate_limits

    async def get(self, owner_id: str, media_ids: Collection[UUID] | None = ()) -> QuotaDocument | None:
        """An owner's sums, with the entries of `media_ids` (None: all of them)."""
        entries: dict[str, Any] = {"entries": 1}
        if media_ids is not None:
            entries = {f"entries.{entry_key(each)}": 1 for each in media_ids}
        fields = {
            "stored": 1,
            "reserved": 1,
            "generation": 1,
            "sent": _SENT_TODAY,
            "open": {"$size": {"$objectToArray": "$entries"}},
            **entries,
        }
        document: QuotaDocument | None = await self._quotas.find_one({"_id": owner_id}, fields)
        if document is not None:
            document.setdefault("entries", {})
        return document

    async def open(self, owner_id: str) -> None:
        """Begin to count an owner, unless that was done."""
        fresh: dict[str, Any] = {"stored": 0, "reserved": 0, "sent": 0, "day": None, "generation": 0, "entries": {}}
        await self._quotas.update_one({"_id": owner_id}, {"$setOnInsert": fresh}, upsert=True)

    async def reserve(
        self, owner_id: str, wanted: Mapping[UUID, tuple[int, int]], *, generation: int, limits: ByteLimits
    ) -> bool:
        """Reserve for uploads that have no entry (their bytes, and how many of these are sent), all or none.

        False if that would pass a limit, or if the owner's document is not of `generation` any more.
        """
        total, sent = (sum(each[i] for each in wanted.values()) for i in (0, 1))
        fits = []
        if limits.total is not None:
            fits.append({"$lte": [{"$add": ["$stored", "$reserved", total]}, limits.total]})
        if limits.daily is not None:
            fits.append({"$lte": [{"$add": [_SENT_TODAY, sent]}, limits.daily]})
        query = {
            "_id": owner_id,
            "generation": generation,
            **{f"entries.{entry_key(each)}": {"$exists": False} for each in wanted},
            **({"$expr": {"$and": fits}} if fits else {}),
        }
        entries = {
            f"entries.{entry_key(media_id)}": {
                "bytes": size, "step": 1, "held": Holding.RESERVED.value, "sent": part, "day": _TODAY, "at": NOW,
            }
            for media_id, (size, part) in wanted.items()
        }  # fmt: skip
        sums = {"day": _TODAY, "sent": {"$add": [_SENT_TODAY, sent]}, "reserved": {"$add": ["$reserved", total]}}
        written = await self._quotas.update_one(query, [{"$set": {**sums, **entries, "due_at": _due()}}])
        return bool(written.matched_count)

    async def settle(self, owner_id: str, media_id: UUID) -> bool:
        """What was reserved is stored; False if nothing was, or no longer is."""
        path = f"entries.{entry_key(media_id)}"
        written = await self._quotas.update_one(
            {"_id": owner_id, f"{path}.held": Holding.RESERVED.value},
            [
                {
                    "$set": {
                        "reserved": {"$subtract": ["$reserved", f"${path}.bytes"]},
                        "stored": {"$add": ["$stored", f"${path}.bytes"]},
                        f"{path}.held": Holding.STORED.value,
                        f"{path}.step": {"$add": [f"${path}.step", 1]},
                    }
                }
            ],
        )
        return bool(written.matched_count)

    async def move(
        self,
        owner_id: str,
        media_id: UUID,
        *,
        entry: EntryDocument | None,
        before: Counted,
        after: Counted,
        generation: int,
        gives_back: bool = False,
    ) -> bool:
        """Count an upload differently, if it still is what was read: as its `entry` says, or with none.

        `gives_back`: what was sent for it today does not count.
        """
        path = f"entries.{entry_key(media_id)}"
        query: dict[str, Any] = {"_id": owner_id, "generation": generation}
        query |= {path: {"$exists": False}} if entry is None else {f"{path}.step": entry["step"]}
        sent = 0 if entry is None else entry["sent"]
        day = None if entry is None else entry["day"]
        stays = {"$cond": [{"$eq": ["$day", {"$literal": day}]}, {"$subtract": ["$sent", sent]}, "$sent"]}
        values = {
            "stored": {"$add": ["$stored", _share(Holding.STORED, before, after)]},
            "reserved": {"$add": ["$reserved", _share(Holding.RESERVED, before, after)]},
            "sent": stays if gives_back else "$sent",
            path: {
                "bytes": after.bytes,
                "step": before.step + 1,
                "held": after.held.value,
                "sent": 0 if gives_back else sent,
                "day": {"$literal": day},
                "at": NOW,
            },
            "due_at": _due(),
        }
        written = await self._quotas.update_one(query, [{"$set": values}])
        return bool(written.matched_count)

    async def marks(self, media_ids: Iterable[UUID]) -> dict[UUID, Counted]:
        """What the sums count of uploads that have no entry, as their sessions say; Counted() for those that do not."""
        ids = list(media_ids)
        found = {each: Counted() for each in ids}
        async for session in self._uploads.find({"_id": {"$in": ids}}, {"quota": 1}):
            if (mark := session.get("quota")) is not None:
                found[session["_id"]] = Counted(Holding(mark["held"]), mark["bytes"], mark["step"])
        return found

    async def drop(self, owner_id: str, entries: Mapping[UUID, Counted]) -> bool:
        """Leave it to their sessions to say what is counted of uploads; False if one has changed meanwhile."""
        marks = [
            UpdateOne(
                {"_id": media_id, "$or": [{"quota": {"$exists": False}}, {"quota.step": {"$lt": counted.step}}]},
                {"$set": {"quota": {"held": counted.held.value, "bytes": counted.bytes, "step": counted.step}}},
            )
            for media_id, counted in entries.items()
        ]
        await self._uploads.bulk_write(marks, ordered=False)
        paths = {f"entries.{entry_key(media_id)}": counted for media_id, counted in entries.items()}
        dropped = await self._quotas.update_one(
            {"_id": owner_id, **{f"{path}.step": counted.step for path, counted in paths.items()}},
            {"$unset": dict.fromkeys(paths, ""), "$inc": {"generation": 1}},
        )
        return bool(dropped.matched_count)

    async def list_due(self, *, limit: int) -> list[str]:
        """Owners who are to be looked after, those first who have waited longest."""
        rows = self._quotas.find({"due_at": {"$exists": True}, "$expr": {"$lte": ["$due_at", NOW]}}, {"_id": 1})
        return [row["_id"] async for row in rows.sort("due_at", 1).limit(limit)]

    async def look_again(self, owner_id: str, *, after_s: float) -> None:
        """Look after an owner in `after_s` seconds, or where nothing is left, once something changes."""
        is_empty = {"$eq": ["$entries", {}]}
        due = {"$cond": [is_empty, "$$REMOVE", after_now(after_s)]}
        await self._quotas.update_one({"_id": owner_id}, [{"$set": {"due_at": due}}])

    async def next_owner(self, after: str | None) -> str | None:
        """The first owner of media after another, in the order of their ids; None at the end."""
        query = {} if after is None else {"owner_id": {"$gt": after}}
        found = await self._media.find_one(query, {"owner_id": 1}, sort=[("owner_id", 1)], hint="owner_newest")
        return None if found is None else str(found["owner_id"])

    async def uploads_of(self, owner_id: str) -> AsyncIterator[OwnedUpload]:
        """Every media of an owner, in no order."""
        fields = {"status": 1, "content.bytes": 1}
        async for media in self._media.find({"owner_id": owner_id}, fields).hint("owner_newest"):
            yield OwnedUpload(media["_id"], media["status"], media.get("content", {}).get("bytes", 0))

    async def correct(self, owner_id: str, seen: QuotaDocument, *, stored: int) -> bool:
        """Replace a sum that is wrong, if nothing has changed since it was `seen`."""
        unchanged = {name: seen[name] for name in ("stored", "reserved", "generation")}
        entries = {f"entries.{key}.step": entry["step"] for key, entry in seen["entries"].items()}
        written = await self._quotas.update_one(
            {"_id": owner_id, **unchanged, **entries}, {"$set": {"stored": stored}, "$inc": {"generation": 1}}
        )
        return bool(written.matched_count)

    async def forget_owner(self, owner_id: str) -> None:
        """Remove what is counted of an owner, and of what they have asked for lately."""
        await self._quotas.delete_one({"_id": owner_id})
        await self._rate_limits.delete_many({"_id": {"$in": keys_of_viewer(owner_id)}})


def _share(held: Holding, before: Counted, after: Counted) -> int:
    return (after.bytes if after.held is held else 0) - (before.bytes if before.held is held else 0)


def _due() -> dict[str, Any]:
    # A missing one does not count.
    return {"$min": ["$due_at", after_now(SETTLED_AFTER_S)]}
