"""A short round of `make chaos`: a worker and the primary are killed, storage answers 503; then nothing is amiss."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.audit import INVARIANTS

REPOSITORY = Path(__file__).parents[2]
PLAN = REPOSITORY / "tests" / "chaos" / "short.json"


@pytest.mark.timeout(180)
def test_nothing_is_lost_doubled_orphaned_stuck_or_missed_when_processes_die_and_storage_refuses() -> None:
    # A process of its own: it stops and kills others, and its loop must not wait for anybody else's tests.
    played = subprocess.run(
        [sys.executable, "-m", "tests.chaos", "--short", "--seed", "7", "--plan", PLAN],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert played.returncode == 0, played.stdout + played.stderr
    assert all(f"| {name} | 0 |" in played.stdout for name in INVARIANTS)
    # All that was planned was done, and there was something to lose.
    assert "| kill primary | 1 |" in played.stdout
    acknowledged = dict(line.strip("| ").split(" | ") for line in played.stdout.splitlines() if line.count(" | ") == 1)
    assert int(acknowledged["createUploads"]) >= 10
    assert int(acknowledged["updateMedia"]) >= 30
