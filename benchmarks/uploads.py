"""A burst of 20 files from each of 50 owners at once, while clients and workers die: `python -m benchmarks.uploads`.

Real processes: one API, two workers (killed and restarted at random), MongoDB, an S3 server. Each storage message is
delivered three times, in random order. Ends with 1 unless there are 0 duplicates, 0 orphans and 0 stuck in the end.
"""

from __future__ import annotations

import asyncio
import enum
import io
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
from PIL import Image
from pymongo import MongoClient

from benchmarks.graphql_client import Client, described, insist
from benchmarks.stack import Stack, cpu_seconds, machine, running_servers
from service.dev.processes import Child
from tests.audit_storage import Auditor, Findings

OWNERS, FILES = 50, 20
# Owners of the baseline.
ALONE = 5
DYING = 0.3
DELIVERIES = 3
SENDS_AT_ONCE = 3
MESSAGES_AT_ONCE = 10
WORKERS = 2
# Seconds between two kills of a worker. An attempt counts, so a photo must not be hit five times.
KILL_EVERY_S = (3.0, 6.0)
MAX_KILLS = 6
SETTLE_S = 150
SEED = 20

# Leases and sweeps that fit a run of minutes, not hours.
ENVIRONMENT = {"MEDIA_WORKER__LEASE_S": "3", "MEDIA_WORKER__SWEEP_S": "2", "MEDIA_WORKER__POLL_S": "0.1"}
TERMINAL = ["READY", "FAILED", "QUARANTINED", "EXPIRED", "DELETED"]


class Fate(enum.StrEnum):
    """What becomes of the client of one file."""

    FINISHES = "finishes"
    GONE_AFTER_CREATE = "gone after createUploads"
    GONE_AFTER_PUT = "gone after its PUT"
    BACK_AFTER_CREATE = "back after createUploads"
    BACK_AFTER_PUT = "back after its PUT"


_DEATHS = [fate for fate in Fate if fate is not Fate.FINISHES]
_SENDS_AT_FIRST = {Fate.FINISHES, Fate.GONE_AFTER_PUT, Fate.BACK_AFTER_PUT}
_COMES_BACK = {Fate.BACK_AFTER_CREATE, Fate.BACK_AFTER_PUT}


@dataclass
class Burst:
    """What the clients do, and how long createUploads takes them."""

    stack: Stack
    # Storage's own connections; so has each client: none of them waits here for another's request to end.
    messages: httpx.AsyncClient
    random: Random
    dying: float = DYING
    latencies_s: list[float] = field(default_factory=list)
    fates: Counter[Fate] = field(default_factory=Counter)
    deliveries: set[asyncio.Task[None]] = field(default_factory=set)

    async def owner(self, number: int, photos: Sequence[bytes]) -> None:
        """One client with all its files; where it dies, a later run of it takes up the same batch."""
        fates, key = [self._fate() for _ in photos], uuid4().hex
        self.fates.update(fates)
        async with connections(SENDS_AT_ONCE) as http:
            client = Client(http, self.stack.url, self.stack.token(f"owner-{number}"))
            sessions = await self._create(client, photos, key)
            await self._each(self._first_run, client, sessions, photos, fates)
            if _COMES_BACK.intersection(fates):
                sessions = await self._create(client, photos, key)
                await self._each(self._second_run, client, sessions, photos, fates)

    def _fate(self) -> Fate:
        return self.random.choice(_DEATHS) if self.random.random() < self.dying else Fate.FINISHES

    async def _create(self, client: Client, photos: Sequence[bytes], key: str) -> list[dict[str, Any]]:
        started = time.perf_counter()
        outcomes = await client.create([described(photo) for photo in photos], key=key)
        self.latencies_s.append(time.perf_counter() - started)
        return [outcome["upload"] for outcome in outcomes]

    @staticmethod
    async def _each(run: Any, client: Client, *columns: Sequence[Any]) -> None:
        slots = asyncio.Semaphore(SENDS_AT_ONCE)

        async def one(*row: Any) -> None:
            async with slots:
                await run(client, *row)

        await asyncio.gather(*(one(*row) for row in zip(*columns, strict=True)))

    async def _first_run(self, client: Client, upload: dict[str, Any], photo: bytes, fate: Fate) -> None:
        if fate in _SENDS_AT_FIRST:
            await self._put(client, upload, photo)
        if fate is Fate.FINISHES:
            await client.complete(upload["id"], key=uuid4().hex)

    async def _second_run(self, client: Client, upload: dict[str, Any], photo: bytes, fate: Fate) -> None:
        if fate not in _COMES_BACK:
            return
        # Without a target the service has heard of the bytes meanwhile.
        if upload["target"] is not None:
            await self._put(client, upload, photo)
        await client.complete(upload["id"], key=uuid4().hex)

    async def _put(self, client: Client, upload: dict[str, Any], photo: bytes) -> None:
        await client.put(upload, photo)
        for _ in range(DELIVERIES):
            delivery = asyncio.create_task(self._deliver(upload["objectKey"], self.random.random() * 8))
            self.deliveries.add(delivery)

    async def _deliver(self, key: str, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        storage = self.stack.settings.storage
        folder, _, name = key.rpartition("/")
        message = {"new_entry": {"name": name}, "new_parent_path": f"/buckets/{storage.upload_bucket}/{folder}"}
        headers = {"Authorization": f"Bearer {storage.event_token.get_secret_value()}"}
        payload, address = {"event_type": "create", "message": message}, f"{self.stack.url}/events/storage"
        (await insist(self.messages, "POST", address, json=payload, headers=headers)).raise_for_status()


def photos(count: int, random: np.random.Generator) -> list[bytes]:
    """Small JPEGs, no two alike."""
    encoded = []
    for _ in range(count):
        soft = Image.fromarray(random.integers(0, 255, (6, 8, 3), dtype=np.uint8)).resize((160, 120))
        file = io.BytesIO()
        soft.save(file, "JPEG", quality=85)
        encoded.append(file.getvalue())
    return encoded


async def kill_workers(stack: Stack, workers: list[Child], random: Random) -> None:
    """Kill one worker after the other, as by `kill -9`, each replaced at once; until cancelled."""
    for _ in range(MAX_KILLS):
        await asyncio.sleep(random.uniform(*KILL_EVERY_S))
        victim = workers.pop(0)
        victim.process.kill()
        workers.append(await stack.start_worker())
        await stack.children.stop(victim)


async def settle(stack: Stack) -> None:
    """Until the workers have processed what arrived, and the sweeper has ended what did not; days pass in between."""
    with MongoClient[dict[str, Any]](stack.settings.mongo.uri.get_secret_value()) as mongo:
        database = mongo[stack.settings.mongo.database]
        await _until_none(database.media, {"status": {"$in": ["UPLOADED", "PROCESSING"]}})
        # As long as the sweeper's grace, the sessions, and what may arrive late.
        await asyncio.to_thread(
            database.uploads.update_many, {"completed_at": {"$exists": False}}, _earlier("created_at", "expires_at")
        )
        await asyncio.to_thread(
            database.media.update_many, {"waiting_since": {"$exists": True}}, _earlier("created_at", "waiting_since")
        )
        await _until_none(database.media, {"status": {"$nin": TERMINAL}})
        await _until_none(database.jobs, {"state": "open"})


def _earlier(*names: str) -> list[dict[str, Any]]:
    days = int(timedelta(days=2).total_seconds() * 1000)
    return [{"$set": {name: {"$subtract": [f"${name}", days]} for name in names}}]


async def _until_none(collection: Any, query: dict[str, Any]) -> None:
    # What is still there afterwards, the audit reports as stuck.
    deadline = time.monotonic() + SETTLE_S
    while time.monotonic() < deadline and await asyncio.to_thread(collection.find_one, query) is not None:  # noqa: ASYNC110
        await asyncio.sleep(0.2)


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one way to create the same uploads: `latencies_s` of each createUploads, `cpu_s` of the API meanwhile."""

    latencies_s: Sequence[float]
    wall_s: float
    cpu_s: float

    def percentile_ms(self, percent: int) -> float:
        return statistics.quantiles(self.latencies_s, n=100, method="inclusive")[percent - 1] * 1000


async def one_at_a_time(burst: Burst, api: Child, files: Sequence[Sequence[bytes]]) -> Figures:
    """The baseline: the same calls, one client after the other, nobody dying."""
    cpu, started = cpu_seconds(api.process.pid), time.perf_counter()
    for number, photos_of_one in enumerate(files):
        await burst.owner(10_000 + number, photos_of_one)
    await asyncio.gather(*burst.deliveries)
    return Figures(burst.latencies_s, time.perf_counter() - started, cpu_seconds(api.process.pid) - cpu)


def connections(count: int) -> httpx.AsyncClient:
    """Up to `count` at once; given up before the server ends them, which it does after 5 idle seconds."""
    limits = httpx.Limits(max_connections=count, max_keepalive_connections=count, keepalive_expiry=2)
    return httpx.AsyncClient(timeout=120, limits=limits, verify=False)


async def main() -> int:
    made = photos((OWNERS + ALONE) * FILES, np.random.default_rng(SEED))
    batches = [made[start : start + FILES] for start in range(0, len(made), FILES)]
    random = Random(SEED)
    async with (
        running_servers(environment=ENVIRONMENT) as stack,
        connections(MESSAGES_AT_ONCE) as messages,
    ):
        api = await stack.start_api()
        baseline = await one_at_a_time(Burst(stack, messages, random, dying=0), api, batches[OWNERS:])
        workers = [await stack.start_worker() for _ in range(WORKERS)]
        burst, cpu, started = Burst(stack, messages, random), cpu_seconds(api.process.pid), time.perf_counter()
        killing = asyncio.create_task(kill_workers(stack, workers, random))
        await asyncio.gather(*(burst.owner(number, batches[number]) for number in range(OWNERS)))
        sent_s = time.perf_counter() - started
        await asyncio.gather(*burst.deliveries)
        figures = Figures(burst.latencies_s, sent_s, cpu_seconds(api.process.pid) - cpu)
        await killing
        await settle(stack)
        settled_s = time.perf_counter() - started
        auditor = Auditor(stack.settings)
        found, statuses = await asyncio.to_thread(auditor.audit), auditor.look().media.values()
        auditor.close()
        _print(figures, baseline, burst, Counter(each["status"] for each in statuses), found, settled_s)
    return 1 if found else 0


def _print(
    figures: Figures, baseline: Figures, burst: Burst, statuses: Counter[str], found: Findings, settled_s: float
) -> None:
    uploads, alone = OWNERS * FILES, ALONE * FILES
    print(f"{machine()}; {OWNERS} owners, {FILES} files each, at once; seed {SEED}")
    print(f"clients: {', '.join(f'{count} {fate}' for fate, count in sorted(burst.fates.items()))}")
    print(f"storage messages: {len(burst.deliveries)}; workers killed: {MAX_KILLS}")
    print(f"media {statuses.total()}: {', '.join(f'{status} {count}' for status, count in sorted(statuses.items()))}")
    for name in ("duplicates", "orphans", "stuck", "broken"):
        problems = getattr(found, name)
        print(f"{name:10} {len(problems)}", *problems[:5], sep="\n    " if problems else "")
    print(f"{'':34} {'burst':>10} {'one at a time':>14} {'ratio':>7}")
    rows = {
        "createUploads p50, ms": (figures.percentile_ms(50), baseline.percentile_ms(50)),
        "createUploads p99, ms": (figures.percentile_ms(99), baseline.percentile_ms(99)),
        "API CPU per upload, ms": (figures.cpu_s / uploads * 1000, baseline.cpu_s / alone * 1000),
        "uploads/s, sent and completed": (uploads / figures.wall_s, alone / baseline.wall_s),
    }
    for name, (ours, theirs) in rows.items():
        print(f"{name:34} {ours:10.1f} {theirs:14.1f} {ours / theirs:6.2f}x")
    print(f"wall time until sent {figures.wall_s:.1f} s, until all has ended {settled_s:.1f} s")


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
