"""A page of the feed by ours, by servers written by hand and by others' GraphQL servers: `make bench-feed`.

All of them run at once on one MongoDB, each as one process, and are asked in turns. `--growth` measures the page of
ours with ever more media instead; `--quick` takes a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.feed import report
from benchmarks.feed.growth import Examined, explain, growth
from benchmarks.feed.measuring import Cell, Plan, loading, measure
from benchmarks.feed.pages import CANNED, UNSIGNED, WILDCARD, Page, check, later
from benchmarks.feed.population import media_document, populate
from benchmarks.feed.servers import Keys, Row, keys_of, our_rows, our_server, our_variants, peer_rows
from benchmarks.feed.wire import Answer, ask
from benchmarks.stack import machine
from service.dev.environment import dev_settings
from service.dev.keys import new_keys
from service.dev.mongod import start_mongod
from service.dev.ports import free_ports
from service.dev.processes import Child, Children
from service.dev.supervision import start_part
from service.settings import Settings
from service.stores import database

MEDIA, QUICK_MEDIA = 200_000, 20_000
GROWTH = (10_000, 100_000, 1_000_000)
FULL = Plan(connections=(1, 8, 32), rounds=3, seconds=1.5, first_warm_s=2.0)
QUICK = Plan(connections=(report.COMPARED,), rounds=1, seconds=0.5, first_warm_s=0.5)
# What our feed is read with.
DRIVER = "pymongo" if hasattr(database, "AsyncMongoClient") else "motor"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Stage:
    """MongoDB, and where servers are started."""

    settings: Settings
    children: Children
    mongod: Child
    folder: Path

    def populate(self, numbers: range) -> None:
        """Write the media of these numbers."""
        populate(self.settings.mongo.uri.get_secret_value(), self.settings.mongo.database, numbers)


@asynccontextmanager
async def staged() -> AsyncIterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="media-benchmark-") as name:
        folder, ports = Path(name), free_ports()
        children = Children(folder / "logs")
        try:
            mongo_uri = await start_mongod(children, folder / "mongod", next(ports))
            numbers = {each: next(ports) for each in ("api", "edge", "worker")}
            # Storage is never asked by a feed.
            settings = dev_settings(
                new_keys(), mongo_uri=mongo_uri, s3_url=f"http://127.0.0.1:{next(ports)}", ports=numbers
            )
            yield Stage(settings, children, children.running[0], folder)
        finally:
            await children.stop_all()


def compare_answers(
    rows: Sequence[Row], pages: Sequence[Page], keys: Keys, base_url: str
) -> dict[tuple[str, str, bool], Answer]:
    """One answer of each row to each page, plain and as browsers ask. ValueError unless all say the same."""
    answers: dict[tuple[str, str, bool], Answer] = {}
    public = keys.public(base_url)
    for page in pages:
        expected: Any = None
        for row in rows:
            answers |= {(row.title, page.name, each): ask(row, page, compressed=each) for each in (False, True)}
            if "Accept-Encoding" in row.headers:
                continue
            data = check(answers[row.title, page.name, False].body, public)
            expected = expected or data
            if data != expected:
                raise ValueError(f"{row.title} answers {page.name} otherwise than {rows[0].title}")
    return answers


async def contest(stage: Stage, count: int, plan: Plan) -> list[report.Aim]:
    """Ours and its peers, printed; what must hold."""
    await asyncio.to_thread(stage.populate, range(count))
    say(f"{count:,} media")
    keys, server = keys_of(stage.settings), our_server(stage.settings, stage.folder)
    middle = media_document(count // 2)["_id"]
    pages = (UNSIGNED, later(UNSIGNED, middle), CANNED, later(CANNED, middle), WILDCARD)
    ports = free_ports()
    rows = [
        *our_rows(server, stage.settings),
        *our_variants(stage.settings, stage.folder, ports),
        *peer_rows(stage.settings, keys, pages, ports),
    ]
    parts = list(dict.fromkeys(row.server.part for row in rows))
    started = await asyncio.gather(*(start_part(stage.children, part) for part in parts))
    pids = {part.name: child.process.pid for part, child in zip(parts, started, strict=True)}
    answers = await asyncio.to_thread(compare_answers, rows, pages, keys, stage.settings.delivery.base_url)
    say(f"{len(pids)} servers, all with the same answers")
    placed = [(row, pids[row.server.part.name]) for row in rows]
    async with loading(stage.mongod.process.pid) as load:
        cells = await measure(load, placed, pages, plan, say)
    # Nor has anything gone wrong meanwhile.
    await asyncio.to_thread(compare_answers, rows, pages, keys, stage.settings.delivery.base_url)
    print(f"{count:,} media; {machine()}. The load itself took {_load_share(cells.values())} of a core.\n")
    for page in pages:
        print(f"**{page.title}**\n\n{report.speeds(page, rows, cells, plan.connections)}\n")
    print(report.weights(answers, [page for page in pages if page.after is None], rows), end="\n\n")
    found = report.aims(cells, pages, DRIVER)
    print(report.verdicts(found))
    return found


def _load_share(cells: Any) -> str:
    shares = [each.load_ms * each.rate / 1e3 for each in cells]
    return f"{min(shares):.0%} to {max(shares):.0%}"


async def grow(stage: Stage, counts: Sequence[int], plan: Plan) -> None:
    """A page of ours with ever more media, printed."""
    plan = replace(plan, connections=(report.COMPARED,))
    server, keys = our_server(stage.settings, stage.folder), keys_of(stage.settings)
    row, pid, reached = our_rows(server, stage.settings)[0], 0, 0
    found: list[tuple[int, Cell, Examined]] = []
    async with loading(stage.mongod.process.pid) as load:
        for count in counts:
            await asyncio.to_thread(stage.populate, range(reached, count))
            middle = media_document(count // 2)["_id"]
            reached, page = count, later(UNSIGNED, middle)
            pid = pid or (await start_part(stage.children, server.part)).process.pid
            await asyncio.to_thread(compare_answers, [row], [page], keys, stage.settings.delivery.base_url)
            cells = await measure(load, [(row, pid)], [page], plan, say)
            cell = cells[row.title, page.name, report.COMPARED]
            found.append((count, cell, explain(stage.settings.mongo, page, middle)))
            say(f"{count:,} media")
    print(f"{page.title}; {machine()}\n\n{growth(found)}")


async def main() -> int:
    """0 unless something that must hold does not."""
    parser = argparse.ArgumentParser(prog="benchmarks.feed", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the media, one short round, 8 connections")
    parser.add_argument(
        "--growth", type=int, nargs="*", metavar="MEDIA", help="the page at ever more media; by default 10k, 100k, 1M"
    )
    parser.add_argument("--rounds", type=int, help="how often all are asked in turn; the medians are shown")
    options = parser.parse_args()
    plan = QUICK if options.quick else FULL
    plan = replace(plan, rounds=options.rounds or plan.rounds)
    async with staged() as stage:
        if options.growth is not None:
            await grow(stage, options.growth or GROWTH, plan)
            return 0
        found = await contest(stage, QUICK_MEDIA if options.quick else MEDIA, plan)
    return 0 if all(each.is_met for each in found) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
