"""Loads rows in turns, several rounds, and keeps the medians."""

from __future__ import annotations

import asyncio
import statistics
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final

import orjson

from benchmarks.feed.load import Figures, Order
from benchmarks.feed.pages import Page
from benchmarks.feed.servers import Row
from benchmarks.stack import REPOSITORY

WARM_S: Final = 0.3


@dataclass(frozen=True, slots=True)
class Plan:
    """`first_warm_s`: how long each page is asked for before anything is measured, for the sake of JITs and caches."""

    connections: tuple[int, ...]
    rounds: int
    seconds: float
    first_warm_s: float


@dataclass(frozen=True, slots=True)
class Cell:
    """Medians over the rounds. CPU in ms a request."""

    rate: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    database_ms: float
    load_ms: float


class Load:
    """The process that loads, one order at a time."""

    def __init__(self, process: asyncio.subprocess.Process, database: int) -> None:
        self._process = process
        self._database = database

    async def run(self, row: Row, pid: int, page: Page, connections: int, *, warm_s: float, seconds: float) -> Figures:
        """The figures of one measurement. Raises RuntimeError if the load broke off; its reason is on stderr."""
        pids = {"server": pid, "database": self._database}
        order = Order(row.server.port, row.request(page), connections, warm_s, seconds, pids)
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the load has no pipes")
        self._process.stdin.write(orjson.dumps(asdict(order)) + b"\n")
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the load broke off at {row.title}, {page.name}")
        return Figures(**orjson.loads(line))


@asynccontextmanager
async def loading(database: int) -> AsyncIterator[Load]:
    """A load beside the database of that process id."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.feed.load"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=REPOSITORY,
    )
    try:
        yield Load(process, database)
    finally:
        process.kill()
        await process.wait()


Cells = Mapping[tuple[str, str, int], Cell]


async def measure(
    load: Load, rows: Sequence[tuple[Row, int]], pages: Sequence[Page], plan: Plan, report: Callable[[str], None]
) -> Cells:
    """Every row with its process id, by the row's title, the page's name and the number of connections."""
    asked = [(page, row, pid) for page in pages for row, pid in rows if row.answers(page)]
    for page, row, pid in asked:
        await load.run(row, pid, page, 8, warm_s=plan.first_warm_s, seconds=0.1)
    found: dict[tuple[str, str, int], list[Figures]] = {}
    for number in range(plan.rounds):
        for connections in plan.connections:
            for page, row, pid in asked:
                figures = await load.run(row, pid, page, connections, warm_s=WARM_S, seconds=plan.seconds)
                found.setdefault((row.title, page.name, connections), []).append(figures)
        report(f"round {number + 1} of {plan.rounds} done")
    return {key: _median(each) for key, each in found.items()}


def _median(rounds: Sequence[Figures]) -> Cell:
    def median(value: Callable[[Figures], float]) -> float:
        return statistics.median(map(value, rounds))

    def cpu(name: str) -> Callable[[Figures], float]:
        return lambda each: 1e3 * each.cpu_s[name] / max(each.requests, 1)

    values: dict[str, Any] = {
        "rate": median(lambda each: each.requests / each.seconds),
        "p50_ms": median(lambda each: each.p50_ms),
        "p99_ms": median(lambda each: each.p99_ms),
        "cpu_ms": median(cpu("server")),
        "database_ms": median(cpu("database")),
        "load_ms": median(cpu("load")),
    }
    return Cell(**values)
