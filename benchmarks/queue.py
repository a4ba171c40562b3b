"""What the queue costs and keeps: `python -m benchmarks.queue`, or the names of some of its parts.

viewable: how soon a photo can be looked at, with an idle queue and with 10,000 jobs in the last lane being worked on.
workers: what a second worker gains. kills: 300 photos, one worker at work killed each second. claims: what they cost.
Real processes on real servers. Ends with 1 if an aim is missed.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from uuid6 import uuid7

from benchmarks.queue_load import Document, Load, loading, measured, photo
from benchmarks.stack import Stack, machine, running_servers
from service.dev.processes import Child
from service.models import Lane
from service.stores import bind_stores
from service.stores.database import open_database
from tests.commit_ledger import CommitLedger

BACKFILL = 10_000
ROUNDS, PER_ROUND = 4, 10
SIZES = {"1.6 MP": (1440, 1080), "12 MP": (4032, 3024)}
VIEWABLE_AIM, WORKERS_AIM = 1.5, 1.8
RENDERED = 16
PHOTOS, KILL_EVERY_S, WORKERS = 300, 1.0, 4
# Leases that fit a run of minutes. An attempt counts, so no job may be hit five times: each worker holds two at most.
DEADLY = {"MEDIA_WORKER__LEASE_S": "3", "MEDIA_WORKER__POLL_S": "0.1", "MEDIA_WORKER__CONCURRENCY": "1"}
OPEN_JOBS, CLAIMS, AT_ONCE = (10, 10_000, 100_000), 300, 2_000


async def stop(stack: Stack, workers: Sequence[Child]) -> None:
    for worker in workers:
        await stack.children.stop(worker)


# How soon a photo can be looked at.


async def viewable() -> bool:
    async with running_servers() as stack, loading(stack) as load:
        await stack.start_api()
        worker = await stack.start_worker()
        original = await load.finished(photo(*SIZES["1.6 MP"]))
        load.clone(original, BACKFILL, state="parked")
        seconds: dict[tuple[str, str, bool], list[float]] = {}
        for number in range(2 * ROUNDS):
            busy = number % 2 == 1
            await _park(load, parked=not busy)
            with measured(stack, [worker.process.pid]) as shares:
                await _send_one_by_one(load, busy, seconds)
            print(f"  {'busy' if busy else 'idle'}: {shares}", flush=True)
        done = load.database.jobs.count_documents({"lane": "backfill", "state": "done"})
        await stop(stack, [worker])
    print(
        f"first viewable, {ROUNDS * PER_ROUND} photos of each size; {done} of {BACKFILL} backfill jobs done meanwhile"
    )
    return _print_viewable(seconds)


async def _park(load: Load, *, parked: bool) -> None:
    """Take the backfill out of the queue, or put it back, and wait until that has taken effect."""
    before, after = ("open", "parked") if parked else ("parked", "open")
    jobs = load.database.jobs
    await asyncio.to_thread(
        jobs.update_many, {"state": before, "claimed_by": {"$exists": False}}, {"$set": {"state": after}}
    )
    if parked:
        await load.until_none("jobs", {"state": "open"}, within_s=120)
    else:
        while await asyncio.to_thread(jobs.find_one, {"state": "open", "claimed_by": {"$exists": True}}) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def _send_one_by_one(load: Load, busy: bool, seconds: dict[tuple[str, str, bool], list[float]]) -> None:
    for number in range(PER_ROUND * len(SIZES)):
        size = list(SIZES)[number % len(SIZES)]
        started = time.perf_counter()
        [media_id] = await load.upload([photo(*SIZES[size])])
        media = await _ready(load, media_id)
        seen = time.perf_counter() - started
        uploaded = next(each["at"] for each in media["status_history"] if each["status"] == "UPLOADED")
        served = (media["first_viewable_at"] - uploaded).total_seconds()
        seconds.setdefault((size, "client", busy), []).append(seen)
        seconds.setdefault((size, "server", busy), []).append(served)
        # What is made afterwards is another matter: it has its own lane.
        if not busy:
            await load.until_none("jobs", {"state": "open"}, within_s=60)
        else:
            await asyncio.sleep(0.3)


async def _ready(load: Load, media_id: UUID) -> Document:
    wanted = {"_id": media_id, "status": "READY"}
    async with asyncio.timeout(120):
        while (media := await asyncio.to_thread(load.database.media.find_one, wanted)) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return media


def _print_viewable(seconds: dict[tuple[str, str, bool], list[float]]) -> bool:
    print(f"{'':34} {'idle':>8} {'busy':>8} {'ratio':>7}")
    kept = True
    for size, view in ((size, view) for size in SIZES for view in ("client", "server")):
        for percent in (50, 95, 99):
            idle, busy = (
                statistics.quantiles(seconds[size, view, each], n=100, method="inclusive")[percent - 1] * 1000
                for each in (False, True)
            )
            print(f"{f'{size}, {view} view, p{percent}, ms':34} {idle:8.0f} {busy:8.0f} {busy / idle:6.2f}x")
            kept &= percent != 95 or busy / idle <= VIEWABLE_AIM
    return kept


# What a second worker gains.


async def workers() -> bool:
    environment = {"MEDIA_WORKER__CONCURRENCY": "1"}
    rates: dict[int, list[float]] = {1: [], 2: []}
    async with running_servers(environment=environment) as stack, loading(stack) as load:
        await stack.start_api()
        first = await stack.start_worker()
        original = await load.finished(photo(*SIZES["12 MP"]))
        await stop(stack, [first])
        for number in (1, 2, 1, 2, 1, 2):
            rates[number].append(await _render_with(number, stack, load, original))
    gain = statistics.median(rates[2]) / statistics.median(rates[1])
    print(f"jobs/s of rendering 12 MP: 1 worker {_listed(rates[1])}, 2 workers {_listed(rates[2])}; gain {gain:.2f}x")
    return gain >= WORKERS_AIM


async def _render_with(number: int, stack: Stack, load: Load, original: Document) -> float:
    started = [await stack.start_worker() for _ in range(number)]
    # One each to begin with: none is measured that is still loading.
    for _ in range(2):
        load.clone(original, number)
        await load.until_none("jobs", {"state": "open"}, within_s=120)
    with measured(stack, [each.process.pid for each in started]) as shares:
        ids = load.clone(original, RENDERED)
        await load.until_none("jobs", {"state": "open"}, within_s=300)
    print(f"  {number} worker(s), {RENDERED / shares.wall_s:.2f} jobs/s: {shares}", flush=True)
    load.database.media.delete_many({"_id": {"$in": ids}})
    await stop(stack, started)
    return RENDERED / shares.wall_s


def _listed(figures: Sequence[float]) -> str:
    return " / ".join(f"{each:.2f}" for each in figures)


# Nothing is done twice, whoever dies.


async def kills() -> bool:
    async with running_servers(environment=DEADLY) as stack, loading(stack) as load:
        await stack.start_api()
        ledger = CommitLedger(load.database.media)
        ids = await load.upload([photo(160, 120) for _ in range(PHOTOS)])
        alive, killed, started = [await stack.start_worker() for _ in range(WORKERS)], 0, time.perf_counter()
        while load.database.jobs.find_one({"state": "open"}) is not None and time.perf_counter() - started < 600:
            await asyncio.sleep(KILL_EVERY_S)
            for victim in _at_work(load, alive)[:1]:
                victim.process.kill()
                await victim.process.wait()
                alive = [*(each for each in alive if each is not victim), await stack.start_worker()]
                await stack.children.stop(victim)
                killed += 1
        wall_s = time.perf_counter() - started
        ledger.close()
        done = load.database.media.count_documents(
            {"_id": {"$in": ids}, "status": "READY", "processing.complete": True}
        )
        attempts = Counter(job["attempt"] for job in load.database.jobs.find({}, {"attempt": 1}))
        await stop(stack, alive)
    doubled, missed = ledger.doubled(ids), ledger.missed(ids)
    print(f"{PHOTOS} photos, {killed} kills in {wall_s:.0f} s: {done} done, {len(doubled)} committed twice")
    print(f"  attempts of jobs: {dict(sorted(attempts.items()))}; not seen by the ledger: {len(missed)}")
    return done == PHOTOS and not doubled and not missed


def _at_work(load: Load, workers: Sequence[Child]) -> list[Child]:
    """Those that hold a job at this moment; what is still starting has nothing to lose."""
    names = load.database.jobs.distinct("claimed_by", {"state": "open", "visible_at": {"$gt": datetime.now(UTC)}})
    pids = {int(name.rpartition(":")[2]) for name in names}
    return [each for each in workers if each.process.pid in pids]


# What a claim costs.


async def claims() -> bool:
    async with running_servers() as stack, open_database(stack.settings.mongo) as database:
        jobs, store = database.jobs, bind_stores(database).jobs
        print(f"{'open jobs of the last lane':30} {'any lane, ms':>14} {'first lane, ms':>15} {'none found, ms':>15}")
        for number in OPEN_JOBS:
            await jobs.delete_many({})
            await _fill(jobs, Lane.BACKFILL, number)
            empty = await _timed_claims(store, [Lane.FIRST_VISIBLE])
            late = await _timed_claims(store, list(Lane), min(number, CLAIMS))
            await _fill(jobs, Lane.FIRST_VISIBLE, CLAIMS)
            first = await _timed_claims(store, [Lane.FIRST_VISIBLE])
            print(f"{number:<30} {late:14.2f} {first:15.2f} {empty:15.2f}", flush=True)
    return True


async def _fill(jobs: Any, lane: Lane, number: int) -> None:
    [moment] = await jobs.database.aggregate([{"$documents": [{}]}, {"$set": {"now": "$$NOW"}}]).to_list(1)
    lane_of = {"lane": lane.value, "lane_rank": list(Lane).index(lane), "visible_at": moment["now"]}
    fresh = {"kind": "render", "topic": "", "state": "open", "fence": 1, "attempt": 0, "enqueued_at": moment["now"]}
    ids = [uuid7() for _ in range(number)]
    for start in range(0, number, AT_ONCE):
        some = ids[start : start + AT_ONCE]
        await jobs.insert_many([{**lane_of, **fresh, "_id": f"{each}:render:1", "media_id": each} for each in some])


async def _timed_claims(store: Any, lanes: Sequence[Lane], number: int = CLAIMS) -> float:
    """The median of `number` claims, in ms."""
    taken = []
    for _ in range(number):
        started = time.perf_counter()
        await store.claim(lease_s=600, worker="benchmark", lanes=lanes)
        taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken)


PARTS = {part.__name__: part for part in (viewable, workers, kills, claims)}


async def main(names: Sequence[str]) -> int:
    missed = []
    for name in names or PARTS:
        print(f"{name}: {machine()}", flush=True)
        if not await PARTS[name]():
            missed.append(name)
    if missed:
        print(f"An aim was missed: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
