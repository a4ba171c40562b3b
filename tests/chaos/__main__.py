"""`python -m tests.chaos`: the service under load while everything fails, and then an audit of what is left."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.chaos.plan import Fault, draw_plan, read_plan, write_plan
from tests.chaos.report import table
from tests.chaos.round import Pace, run_round

_LIVES_PER_S = 1.2
_PLAN = "plan.json"
# What ends by a condition may take long on a busy machine: nothing here is to fail for want of a processor.
_SHORT = Pace(load_s=11, lives_per_s=0.8, ready_within_s=6, patience_s=120, quiet_s=240)


def _pace(minutes: float, lives_per_s: float) -> Pace:
    return Pace(load_s=minutes * 60, lives_per_s=lives_per_s, ready_within_s=45, patience_s=60, quiet_s=120)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Play a round; 0 if every invariant holds, else 1, and the logs are kept. The plan is kept in any case."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5, help="How long the load lasts.")
    parser.add_argument("--seed", type=int, default=1, help="Faults and clients are drawn from it.")
    parser.add_argument("--plan", type=Path, help="Play the faults of this file, as an earlier round wrote it.")
    parser.add_argument("--lives", type=float, default=_LIVES_PER_S, help="Photos that are begun each second.")
    parser.add_argument("--short", action="store_true", help="A quarter of a minute, as in the tests.")
    given = parser.parse_args(arguments)
    pace = _SHORT if given.short else _pace(given.minutes, given.lives)
    plan = draw_plan(given.seed, seconds=pace.load_s) if given.plan is None else read_plan(given.plan)
    folder = Path(tempfile.mkdtemp(prefix="media-chaos-"))
    write_plan(plan, folder / _PLAN)
    _say(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    _say(f"seed {given.seed}, {len(plan)} faults; plan, to be repeated with --plan: {folder / _PLAN}")
    return _play(plan, given.seed, pace, folder, _say)


def _play(plan: Sequence[Fault], seed: int, pace: Pace, folder: Path, say: Callable[[str], None]) -> int:
    outcome = asyncio.run(run_round(plan, seed, pace, folder, report=say))
    say(table(plan, outcome))
    if outcome.is_clean:
        _keep_plan_only(folder)
        return 0
    say(f"Something does not hold. The logs are in {folder / 'logs'}.")
    return 1


def _keep_plan_only(folder: Path) -> None:
    for each in folder.iterdir():
        if each.is_dir():
            shutil.rmtree(each)
        elif each.name != _PLAN:
            each.unlink()


if __name__ == "__main__":
    sys.exit(main())
