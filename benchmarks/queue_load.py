"""Work for the queue: uploads of photos, and thousands of media with rendering to be done, cloned from a real one."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from pymongo import MongoClient
from pymongo.database import Database
from uuid6 import uuid7

from benchmarks.graphql_client import Client, described, uuid_of
from benchmarks.stack import TICKS_PER_S, Stack, descendants
from tests.photos import phone_photo

Document = dict[str, Any]

_numbers = count(1)
# Of a batch of createUploads.
BATCH = 20


@cache
def _photo(width: int, height: int) -> bytes:
    return phone_photo(width, height, seed=width)


def photo(width: int, height: int) -> bytes:
    """A phone's JPEG that is like no other: something follows its end, which no decoder reads."""
    return _photo(width, height) + next(_numbers).to_bytes(8, "big")


@dataclass
class Load:
    stack: Stack
    database: Database[Document]
    client: Client

    async def upload(self, photos: Sequence[bytes]) -> list[UUID]:
        """Photos that are created, sent and completed; their media's ids."""
        ids: list[UUID] = []
        for start in range(0, len(photos), BATCH):
            batch = photos[start : start + BATCH]
            outcomes = await self.client.create([described(each) for each in batch], key=uuid4().hex)
            for outcome, body in zip(outcomes, batch, strict=True):
                await self.client.put(outcome["upload"], body)
                await self.client.complete(outcome["upload"]["id"], key=uuid4().hex)
                ids.append(uuid_of(outcome["upload"]["media"]["id"]))
        return ids

    async def until_none(self, collection: str, query: Mapping[str, Any], *, within_s: float) -> None:
        """Wait until nothing matches. Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            while await asyncio.to_thread(self.database[collection].find_one, query, {"_id": 1}) is not None:  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    async def finished(self, body: bytes) -> Document:
        """The document of a photo that has been given everything, and its job of rendering, with a worker running."""
        [media_id] = await self.upload([body])
        await self.until_none("media", {"_id": media_id, "processing.complete": {"$ne": True}}, within_s=120)
        await self.until_none("jobs", {"state": "open"}, within_s=120)
        media = self.database.media.find_one({"_id": media_id})
        assert media is not None
        return media

    def clone(self, original: Document, number: int, *, state: str = "open") -> list[UUID]:
        """`number` media like `original` but of an earlier pipeline, each with its job in the last lane.

        They share one original in storage, and are rendered anew, decoding, encoding and storing as any other.
        """
        job = self.database.jobs.find_one({"media_id": original["_id"], "kind": "render"})
        assert job is not None
        ids = [uuid7() for _ in range(number)]
        # As PROCESS leaves it, but by an earlier pipeline.
        processing = {
            "fence": original["processing"]["fence"],
            "pipeline_version": "earlier",
            "made_from": "earlier",
            "made_for": original["visibility"],
            "complete": False,
        }
        fresh = {"lane": "backfill", "lane_rank": 2, "state": state, "fence": 1 << 20, "attempt": 0}
        self.database.media.insert_many(
            {**original, "_id": each, "processing": processing, "renditions": []} for each in ids
        )
        kept = {name: job[name] for name in ("kind", "topic", "workload", "visible_at", "enqueued_at")}
        self.database.jobs.insert_many({**kept, **fresh, "_id": f"{each}:render:1", "media_id": each} for each in ids)
        return ids


@asynccontextmanager
async def loading(stack: Stack) -> AsyncIterator[Load]:
    """A signed-in client, and a look into the database."""
    codec: CodecOptions[Document] = CodecOptions(tz_aware=True, uuid_representation=UuidRepresentation.STANDARD)
    settings = stack.settings
    with MongoClient[Document](settings.mongo.uri.get_secret_value()) as mongo:
        async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(keepalive_expiry=2)) as http:
            client = Client(http, stack.url, stack.token("anna"))
            yield Load(stack, mongo.get_database(settings.mongo.database, codec_options=codec), client)


@dataclass
class Shares:
    """CPU seconds within a block, by whom they were spent; `wall_s` on the clock, of `cores` processors."""

    spent: dict[str, float] = field(default_factory=dict)
    wall_s: float = 0
    cores: int = field(default_factory=lambda: os.cpu_count() or 1)

    def __str__(self) -> str:
        capacity = self.wall_s * self.cores
        return ", ".join(f"{name} {100 * seconds / capacity:.0f} %" for name, seconds in self.spent.items())


@contextmanager
def measured(stack: Stack, workers: Sequence[int]) -> Iterator[Shares]:
    """What the `workers` (process ids), the servers and everybody else on this machine spend within the block."""
    shares, groups = Shares(), {"workers": list(workers), **_servers(stack)}
    before, busy, started = {name: _cpu_of(pids) for name, pids in groups.items()}, _busy(), time.perf_counter()
    yield shares
    shares.wall_s = time.perf_counter() - started
    shares.spent = {name: _cpu_of(pids) - before[name] for name, pids in groups.items()}
    shares.spent["others"] = _busy() - busy - sum(shares.spent.values())


def _servers(stack: Stack) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {"API": [], "mongod": [], "S3": []}
    marks = {f"{stack.module}\0api": "API", "mongod\0": "mongod", "weed\0": "S3"}
    for child in stack.children.running:
        command = Path(f"/proc/{child.process.pid}/cmdline").read_text()
        for mark, name in marks.items():
            if mark in command:
                found[name].append(child.process.pid)
    return found


def _cpu_of(pids: Sequence[int]) -> float:
    """Of processes and all they started, ended ones included (proc(5), fields 14 to 17 of stat)."""
    total = 0
    for pid in {each for first in pids for each in (first, *descendants(first))}:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += sum(map(int, fields[11:15]))
    return total / TICKS_PER_S


def _busy() -> float:
    """CPU seconds that this machine has spent on anything (proc(5), /proc/stat: all but idle and iowait)."""
    fields = list(map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]))
    return (sum(fields) - fields[3] - fields[4]) / TICKS_PER_S
