"""Adds up what comes into the oplog, and what is asked of S3, from step to step."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from bson.timestamp import Timestamp
from pymongo import MongoClient
from pymongo.collection import Collection

# A job that is due only later than this is one for another day.
_QUIET_S: Final = 60

_RAW: Final = CodecOptions[RawBSONDocument](document_class=RawBSONDocument)


@dataclass
class Step:
    """Of one step, over all photos: bytes and entries of the oplog by collection, and calls to S3 by name."""

    title: str
    bytes: Counter[str] = field(default_factory=Counter)
    entries: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)

    def shared_by(self, photos: int) -> dict[str, Any]:
        """Averages over so many photos, as JSON has them."""
        counters = {"bytes": self.bytes, "entries": self.entries, "calls": self.calls}
        averages = {name: {key: value / photos for key, value in counter.items()} for name, counter in counters.items()}
        return {"title": self.title, **averages}


class Ledger:
    """Reads the oplog and the calls to S3 from where the last step ended."""

    def __init__(self, mongo: MongoClient[dict[str, Any]], database: str, calls: Path) -> None:
        self._database, self._calls = database, calls
        self._mongo = mongo
        self._oplog = Collection(mongo["local"], "oplog.rs", codec_options=_RAW)
        self._since, self._read = self._latest(), 0

    def close(self, title: str) -> Step:
        """What has happened since the last step."""
        step, until = Step(title), self._latest()
        entries: Any = self._oplog.find({"ts": {"$gt": self._since, "$lte": until}})
        for entry in entries:
            if entry["op"] != "n":
                name = _collection(entry, self._database)
                step.bytes[name] += len(entry.raw)
                step.entries[name] += 1
        lines = self._calls.read_text().splitlines() if self._calls.exists() else []
        step.calls.update(lines[self._read :])
        self._since, self._read = until, len(lines)
        return step

    async def quiet(self) -> None:
        """Once edges have forgotten all they should and no job is due for minutes. Raises TimeoutError.

        A deletion looks again after an hour, when nobody can upload any more.
        """
        database = self._mongo[self._database]
        async with asyncio.timeout(2 * _QUIET_S):
            while self._is_busy(database["jobs"], database["invalidations"]):  # noqa: ASYNC110 - other processes end it
                await asyncio.sleep(0.2)

    @staticmethod
    def _is_busy(jobs: Collection[dict[str, Any]], invalidations: Collection[dict[str, Any]]) -> bool:
        soon = datetime.now(UTC) + timedelta(seconds=_QUIET_S)
        under_way = jobs.find_one({"state": "open", "visible_at": {"$lt": soon}})
        return bool(under_way or invalidations.find_one({"state": {"$ne": "completed"}}))

    def census(self) -> dict[str, Any]:
        """Of each collection how many documents there are, and the bytes of one on average."""
        database, found = self._mongo[self._database], {}
        for name in database.list_collection_names():
            stats = database.command("collStats", name)
            found[name] = {"count": stats["count"], "bytes": stats.get("avgObjSize", 0)}
        sizes = [each["bytes"] for media in database["media"].find() for each in media.get("renditions", ())]
        found["renditions"] = {"count": len(sizes), "bytes": sum(sizes) / max(len(sizes), 1)}
        return found

    def _latest(self) -> Timestamp:
        [last] = self._oplog.find({}, {"ts": 1}).sort("$natural", -1).limit(1)
        found: Timestamp = last["ts"]
        return found


def _collection(entry: RawBSONDocument, database: str) -> str:
    name: str = entry["ns"]
    return name.removeprefix(f"{database}.") if name.startswith(database) else "others"
