"""`jobs`: what the queue holds, and what becomes of dead letters."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from service.commands.on_record import put_on_record
from service.commands.printing import counted, json_line, print_table, problem_console, result_console
from service.dead_letters import Retried, RetryOutcome, retry_dead_letter
from service.errors import MediaServiceError
from service.models import JobState, Lane
from service.runtime import Runtime, open_runtime
from service.settings import Settings
from service.stores.database import OUTAGE_ERRORS
from service.stores.dead_letters import DeadLetter, DeadLetterStore
from service.stores.job_inspection import JobRow
from service.telemetry import Metrics

# People count further than a metric that is asked for every few seconds.
_COUNT_LIMIT = 1_000_000
# Dead letters that are written before they are removed: what an interruption may leave there twice.
_BATCH = 100
# Of the jobs to be retried, how many go on record by their ids, and how much of each id.
_NAMED_IDS = 100
_LONGEST_ID = 200
_AWAY: tuple[type[Exception], ...] = (MediaServiceError, *OUTAGE_ERRORS)
_COLUMNS = ("Job", "Kind", "Lane", "State", "Attempt", "Enqueued", "Last error")


async def show_jobs(
    settings: Settings, *, state: JobState | None, lane: Lane | None, kind: str | None, limit: int, as_json: bool
) -> int:
    """Print counts and ages of each lane, then jobs, longest visible first; the exit code."""
    async with open_runtime(settings, Metrics()) as runtime:
        inspection = runtime.stores.job_inspection
        try:
            counts = await inspection.count(tuple(JobState), limit=_COUNT_LIMIT)
            waiting_s = await inspection.waiting_s()
            rows = await inspection.list_jobs(state=state, lane=lane, kind=kind, limit=limit)
        except _AWAY as error:
            return _stopped(error)
    if as_json:
        summary = {
            each.value: {state.value: number for state, number in counts[each].items()}
            | {"waiting_s": round(waiting_s[each], 3)}
            for each in Lane
        }
        for line in ({"summary": summary}, *map(asdict, rows)):
            result_console().print(json_line(line), markup=False)
        return 0
    console = result_console()
    numbers = [[each.value, *(str(counts[each][one]) for one in JobState), f"{waiting_s[each]:.0f} s"] for each in Lane]
    print_table(console, ["Lane", *(one.value.capitalize() for one in JobState), "Oldest waits"], numbers)
    if rows:
        console.print()
        print_table(console, _COLUMNS, map(_cells, rows))
    return 0


def _cells(row: JobRow) -> Sequence[str]:
    enqueued = f"{row.enqueued_at:%Y-%m-%d %H:%M:%S}"
    return row.id, row.kind, row.lane, row.state, str(row.attempt), enqueued, row.last_error or ""


async def retry_jobs(settings: Settings, ids: Sequence[str], *, kind: str | None, as_json: bool) -> int:
    """Send dead letters back to work, those of `ids` or all (of `kind`); the exit code: 1 if one could not be."""
    failed = 0
    async with open_runtime(settings, Metrics()) as runtime:
        try:
            await put_on_record("jobs retry", _retry_options(ids, kind), audit=runtime.stores.audit)
            async with aclosing(_chosen(runtime.stores.dead_letters, ids, kind)) as chosen:
                async for job_id, letter in chosen:
                    retried = await _retry(letter, runtime)
                    failed += retried is None or retried.outcome is RetryOutcome.REFUSED
                    _tell(job_id, retried, as_json=as_json)
        except _AWAY as error:
            return _stopped(error)
    return 1 if failed else 0


def _retry_options(ids: Sequence[str], kind: str | None) -> dict[str, Any]:
    if not ids:
        return {"kind": kind and str(kind), "jobs": "all"}
    # What is no id may be of any length, and there may be very many: an entry is for good.
    return {"jobs": [each[:_LONGEST_ID] for each in ids[:_NAMED_IDS]], "number": len(ids)}


async def _chosen(
    letters: DeadLetterStore, ids: Sequence[str], kind: str | None
) -> AsyncGenerator[tuple[str, DeadLetter | None], None]:
    if not ids:
        async for letter in letters.iterate(kind=kind):
            yield letter.id, letter
        return
    found = await letters.get_many(ids)
    for job_id in dict.fromkeys(ids):
        yield job_id, found.get(job_id)


async def _retry(letter: DeadLetter | None, runtime: Runtime) -> Retried | None:
    if letter is None:
        return None
    return await retry_dead_letter(letter, stores=runtime.stores, object_store=runtime.object_store)


def _tell(job_id: str, retried: Retried | None, *, as_json: bool) -> None:
    outcome, why = ("absent", "There is no such dead letter.") if retried is None else (retried.outcome, retried.why)
    if as_json:
        line = json_line({"job": job_id, "outcome": outcome, **({"why": why} if why else {})})
    else:
        line = f"{job_id}  {outcome.replace('_', ' ')}{f': {why}' if why else ''}"
    result_console().print(line, markup=False)


async def drain_jobs(settings: Settings, *, kind: str | None, older_than: timedelta) -> int:
    """Write dead letters to stdout as lines of JSON and remove them; the exit code.

    Only what stdout has taken is removed: an interruption leaves letters where they were, at worst some that have
    been written as well.
    """
    drained = 0
    async with open_runtime(settings, Metrics()) as runtime:
        letters = runtime.stores.dead_letters
        before = datetime.now(UTC) - older_than
        options = {"kind": kind and str(kind), "older_than_s": older_than.total_seconds()}
        try:
            await put_on_record("jobs drain", options, audit=runtime.stores.audit)
            batch: list[DeadLetter] = []
            async for letter in letters.iterate(kind=kind, ended_before=before):
                batch.append(letter)
                if len(batch) == _BATCH:
                    drained += await _hand_over(batch, letters)
                    batch = []
            drained += await _hand_over(batch, letters)
        except OSError as error:
            problem_console().print(f"Stopped: {error.strerror}. What was not written is still there.", markup=False)
            # Otherwise the interpreter would try once more to write what is left, and complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except _AWAY as error:
            return _stopped(error)
    problem_console().print(f"{counted(drained, 'dead letter')} written and removed.", markup=False)
    return 0


async def _hand_over(batch: Sequence[DeadLetter], letters: DeadLetterStore) -> int:
    for letter in batch:
        sys.stdout.write(json_line(asdict(letter)) + "\n")
    sys.stdout.flush()
    if stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode):
        os.fsync(sys.stdout.fileno())
    return await letters.remove(batch)


def _stopped(error: Exception) -> int:
    problem_console().print(f"Stopped: {error.__cause__ or error}. The same command may be run again.", markup=False)
    return 1
