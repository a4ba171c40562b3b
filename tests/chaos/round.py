"""One round: a world, a load, a plan of faults, a quiet time, an audit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from anyio import to_thread

from tests.chaos.audit import Evidence, audit
from tests.chaos.evidence import gather_evidence
from tests.chaos.fate import stream
from tests.chaos.faults import play
from tests.chaos.ledger import Ledger
from tests.chaos.load import Load
from tests.chaos.plan import Fault
from tests.chaos.settling import open_database, settle
from tests.chaos.world import running_world


@dataclass(frozen=True, slots=True)
class Pace:
    """How a round goes, in seconds. `patience_s`: until what was begun must end; `quiet_s`: until all must be at rest.

    `reads`: of so many media the bytes are read again in the end; None: of all.
    """

    load_s: float
    lives_per_s: float
    ready_within_s: float
    patience_s: float
    quiet_s: float
    reads: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    findings: dict[str, list[str]]
    evidence: Evidence
    seconds: dict[str, float]

    @property
    def is_clean(self) -> bool:
        return not any(self.findings.values())


async def run_round(
    plan: Sequence[Fault], seed: int, pace: Pace, folder: Path, *, report: Callable[[str], None]
) -> Outcome:
    """Play `plan`; what was found. `folder` is left with the logs of all processes."""
    ledger, seconds = Ledger(), dict[str, float]()
    began = time.monotonic()

    def passed(phase: str) -> None:
        nonlocal began
        seconds[phase] = time.monotonic() - began
        began = time.monotonic()
        report(f"{phase}: {seconds[phase]:.1f} s")

    async with running_world(folder, stream(seed, "events"), ledger) as world:
        passed("starting")
        database = open_database(world.settings)
        load = Load(
            world,
            ledger,
            seed,
            lives_per_s=pace.lives_per_s,
            ready_within_s=pace.ready_within_s,
            failovers=sum(fault.is_failover for fault in plan),
        )
        await load.begin()
        deadline = time.monotonic() + pace.load_s
        await play(plan, world, ledger, report=report)
        await asyncio.sleep(max(0.0, deadline - time.monotonic()))
        passed("load")
        await load.end(patience_s=pace.patience_s)
        passed("ending what was begun")
        await settle(database, work_s=pace.quiet_s, days_s=pace.quiet_s)
        await load.close(patience_s=pace.patience_s)
        passed("quiet time")
        evidence = await gather_evidence(world, ledger, database, reads=pace.reads)
        await to_thread.run_sync(database.client.close)
        passed("audit")
    return Outcome(audit(evidence), evidence, seconds)
