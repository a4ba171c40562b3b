"""Look-alikes, filters and lists of ever more media, up to a million: `make bench-search`.

Over HTTP, on a real MongoDB, with what MongoDB looks at for each, and compared with brute force and with what searches
in memory. `--keep` leaves the data in `.bench-search` for the next run with it, which then only measures; with
`--resume` only what has not been measured yet. `--scale` prints the tables of docs/scale.md from the figures
that were kept.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from benchmarks.search import footprint, life, memory_scan, report, scale
from benchmarks.search.measuring import BENCH_PYTHON, Plan, measure
from benchmarks.search.stage import staged
from benchmarks.stack import REPOSITORY

COUNTS: Final = (10_000, 30_000, 100_000, 300_000, 1_000_000)
QUICK_COUNTS: Final = (3_000, 10_000)
FULL: Final = Plan(times=500, examined=20, exact=100, naive=3)
QUICK: Final = Plan(times=30, examined=10, exact=20, naive=2)
KEPT: Final = REPOSITORY / ".bench-search"
PICTURE: Final = REPOSITORY / "docs" / "search-growth.png"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def run(folder: Path, counts: list[int], plan: Plan, *, resume: bool) -> list[dict[str, Any]]:
    """The figures of each population, kept in `folder` as soon as there are any."""
    levels = []
    async with staged(folder) as stage:
        say("loading")
        loaded = await stage.prepare(counts)
        for count in counts:
            kept = folder / f"figures-{count}.json"
            if not (resume and kept.exists()):
                figures = await measure(stage, loaded[count], plan, say)
                kept.write_text(json.dumps(figures, indent=1))
            levels.append(json.loads(kept.read_text()))
    return levels


def draw(levels: list[dict[str, Any]], picture: Path) -> None:
    """The curve, by what the benchmarks' own environment has for it."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as given:
        json.dump(levels, given)
        given.flush()
        argv = [str(BENCH_PYTHON), "-m", "benchmarks.search.curve", given.name, str(picture)]
        subprocess.run(argv, cwd=REPOSITORY, check=True)


def print_scale(folder: Path) -> int:
    """The tables, of the greatest population kept; what else they need is measured if it was not. 1 without figures."""
    kept = sorted(folder.glob("figures-*.json"), key=lambda path: int(path.stem.partition("-")[2]))
    if not kept:
        say("There are no figures yet: run `make bench-search ARGS=--keep` first.")
        return 1
    measured = [
        kept_or_measured(folder / f"{module.__name__.rpartition('.')[2]}.json", module.measure)
        for module in (life, footprint, memory_scan)
    ]
    print(scale.tables(json.loads(kept[-1].read_text()), *measured))
    return 0


def kept_or_measured(file: Path, measure: Callable[[], Coroutine[Any, Any, dict[str, Any]]]) -> dict[str, Any]:
    """What `file` holds; where there is none yet, what `measure` finds is kept in it."""
    if not file.exists():
        say(f"measuring {file.stem}")
        file.write_text(json.dumps(asyncio.run(measure()), indent=1))
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def main() -> int:
    """0 unless a look-alike was missed or was none."""
    parser = argparse.ArgumentParser(prog="benchmarks.search", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10,000 media, few questions: to look at a change")
    parser.add_argument("--count", type=int, help="the greatest number of media, instead of a million")
    parser.add_argument("--keep", action="store_true", help="leave the data in .bench-search, and use what is there")
    parser.add_argument("--resume", action="store_true", help="as --keep, without measuring again what was measured")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="where the curve goes")
    parser.add_argument("--scale", action="store_true", help="print the tables of docs/scale.md from kept figures")
    options = parser.parse_args()
    if options.scale:
        return print_scale(KEPT)
    usual = QUICK_COUNTS if options.quick else COUNTS
    greatest = options.count or max(usual)
    counts = [*(each for each in usual if each < greatest), greatest]
    plan = QUICK if options.quick else FULL
    with tempfile.TemporaryDirectory(prefix="media-benchmark-") as name:
        folder = KEPT if options.keep or options.resume else Path(name)
        levels = asyncio.run(run(folder, counts, plan, resume=options.resume))
    print(report.report(levels))
    if not options.quick:
        draw(levels, options.picture)
    failures = report.failures(levels)
    say("\n".join(failures))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
