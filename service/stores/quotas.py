"""The `quotas` collection: how many bytes each owner has stored, has reserved, and has sent today.

One document an owner, changed by one atomic write at a time. Beside the sums it holds an entry for each upload of late:
what the sums count of it, and by how many steps it came there. An entry is dropped once a mark elsewhere says the same;
`generation` grows with it, so that nobody who looked before takes what is missing for what was never there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NotRequired, TypedDict
from uuid import UUID

from pymongo.errors import WriteError

from service.errors import TemporarilyUnavailable
from service.models import Holding
from service.rate_limits import keys_of_viewer
from service.stores.database import Database
from service.stores.expressions import NOW, after_now
from service.stores.quota_marks import Counted, QuotaMarks

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
    """`sent`: today, by the database's clock. `entries`: those that were asked for, of as many as are `listed`; so many
    are `open` as have something reserved.
    """

    _id: str
    stored: int
    reserved: int
    sent: int
    generation: int
    open: int
    listed: int
    entries: dict[str, EntryDocument]


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


@dataclass(frozen=True, slots=True)
class Move:
    """What is counted of an upload, as its `entry` said or its mark where it had none, and what is to be, a step later.

    `gives_back`: what was sent for it today does not count.
    """

    entry: EntryDocument | None
    before: Counted
    after: Counted
    gives_back: bool = False

    def share(self, held: Holding) -> int:
        """How many bytes more are held so."""
        return _part(held, self.after) - _part(held, self.before)


class QuotaStore:
    def __init__(self, database: Database) -> None:
        self._media = database.media
        self._quotas = database.quotas
        self._rate_limits = database.rate_limits
        self.marks = QuotaMarks(database)

    async def get(self, owner_id: str, media_ids: Collection[UUID] | None = ()) -> QuotaDocument | None:
        """An owner's sums, with the entries of `media_ids` (None: all of them)."""
        entries: dict[str, Any] = {"entries": 1}
        if media_ids is not None:
            entries = {f"entries.{entry_key(each)}": 1 for each in media_ids}
        fields = {**dict.fromkeys(("stored", "reserved", "generation", "open", "listed"), 1), "sent": _SENT_TODAY}
        document: QuotaDocument | None = await self._quotas.find_one({"_id": owner_id}, {**fields, **entries})
        if document is not None:
            document.setdefault("entries", {})
        return document

    async def stored(self, owner_id: str) -> int:
        """How many bytes an owner has stored."""
        document = await self._quotas.find_one({"_id": owner_id}, {"stored": 1})
        return 0 if document is None else int(document["stored"])

    async def open(self, owner_id: str) -> None:
        """Begin to count an owner, unless that was done."""
        counters = dict.fromkeys(("stored", "reserved", "sent", "generation", "open", "listed"), 0)
        fresh: dict[str, Any] = {**counters, "day": None, "entries": {}}
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
        added = {"reserved": total, "open": len(wanted), "listed": len(wanted)}
        sums = {"day": _TODAY, "sent": {"$add": [_SENT_TODAY, sent]}, **_more(added)}
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
                        **_more({"open": -1}),
                        f"{path}.held": Holding.STORED.value,
                        f"{path}.step": {"$add": [f"${path}.step", 1]},
                    }
                }
            ],
        )
        return bool(written.matched_count)

    async def move(self, owner_id: str, moves: Mapping[UUID, Move], *, generation: int) -> bool:
        """Count uploads differently if all still are what was read, and none otherwise.

        Raises TemporarilyUnavailable where the database does not take the owner's document.
        """
        query: dict[str, Any] = {"_id": owner_id, "generation": generation}
        entries: dict[str, Any] = {}
        given_back: list[dict[str, Any]] = []
        for media_id, move in moves.items():
            path, entry = f"entries.{entry_key(media_id)}", move.entry
            query |= {path: {"$exists": False}} if entry is None else {f"{path}.step": entry["step"]}
            sent, day = (0, None) if entry is None else (entry["sent"], {"$literal": entry["day"]})
            if move.gives_back:
                given_back.append({"$cond": [{"$eq": ["$day", day]}, sent, 0]})
            entries[path] = {
                "bytes": move.after.bytes,
                "step": move.after.step,
                "held": move.after.held.value,
                "sent": 0 if move.gives_back else sent,
                "day": day,
                "at": NOW,
            }
        added = {held.value: sum(move.share(held) for move in moves.values()) for held in _SUMMED}
        added["open"] = sum(_is_open(move.after) - _is_open(move.before) for move in moves.values())
        added["listed"] = sum(move.entry is None for move in moves.values())
        sums = {**_more(added), "sent": {"$subtract": ["$sent", {"$add": [0, *given_back]}]}}
        try:
            written = await self._quotas.update_one(query, [{"$set": {**sums, **entries, "due_at": _due()}}])
        except WriteError as error:
            raise TemporarilyUnavailable(f"What is counted of {owner_id} cannot be written: {error.code}.") from error
        return bool(written.matched_count)

    async def drop(self, owner_id: str, entries: Mapping[UUID, Counted]) -> bool:
        """Leave it to marks to say what is counted of uploads; False if one has changed meanwhile."""
        await self.marks.write(entries)
        paths = {f"entries.{entry_key(media_id)}": counted for media_id, counted in entries.items()}
        dropped = await self._quotas.update_one(
            {"_id": owner_id, **{f"{path}.step": counted.step for path, counted in paths.items()}},
            {"$unset": dict.fromkeys(paths, ""), "$inc": {"generation": 1, "listed": -len(paths)}},
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
        """The first who has media or is counted after another, in the order of their ids; None at the end."""
        later = {} if after is None else {"$gt": after}
        media = await self._media.find_one(
            {"owner_id": later} if later else {}, {"owner_id": 1}, sort=[("owner_id", 1)], hint="owner_newest"
        )
        counted = await self._quotas.find_one({"_id": later} if later else {}, {"_id": 1}, sort=[("_id", 1)])
        found = [each[name] for each, name in ((media, "owner_id"), (counted, "_id")) if each is not None]
        return min(found, default=None)

    async def uploads_of(self, owner_id: str) -> AsyncIterator[OwnedUpload]:
        """Every media of an owner, in no order."""
        fields = {"status": 1, "content.bytes": 1}
        async for media in self._media.find({"owner_id": owner_id}, fields).hint("owner_newest"):
            yield OwnedUpload(media["_id"], media["status"], media.get("content", {}).get("bytes", 0))

    async def correct(self, owner_id: str, seen: QuotaDocument, right: Mapping[str, int]) -> bool:
        """Replace what is wrong of the sums, if nothing has changed since they were `seen`, with all entries."""
        unchanged = {name: seen[name] for name in ("stored", "reserved", "generation")}
        entries = {f"entries.{key}.step": entry["step"] for key, entry in seen["entries"].items()}
        written = await self._quotas.update_one(
            {"_id": owner_id, **unchanged, **entries}, {"$set": dict(right), "$inc": {"generation": 1}}
        )
        return bool(written.matched_count)

    async def forget_owner(self, owner_id: str) -> None:
        """Remove what is counted of an owner, and of what they have asked for lately."""
        await self._quotas.delete_one({"_id": owner_id})
        await self._rate_limits.delete_many({"_id": {"$in": keys_of_viewer(owner_id)}})


# What sums are kept of, each under its own name.
_SUMMED = (Holding.STORED, Holding.RESERVED)


def _part(held: Holding, counted: Counted) -> int:
    return counted.bytes if counted.held is held else 0


def _is_open(counted: Counted) -> bool:
    return counted.held is Holding.RESERVED


def _more(added: Mapping[str, int]) -> dict[str, Any]:
    return {name: {"$add": [f"${name}", by]} for name, by in added.items()}


def _due() -> dict[str, Any]:
    # A missing one does not count.
    return {"$min": ["$due_at", after_now(SETTLED_AFTER_S)]}
