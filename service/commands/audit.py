"""`audit`: whether the chains are whole, and all that is in them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import typer

from service.audit import Finding, Head, UnreadableFile, read_heads, verify_lines
from service.audit_upkeep import days_without_anchor, export_lines, read_anchors, verify_chains
from service.commands.printing import counted
from service.errors import TemporarilyUnavailable
from service.object_store import ObjectStore
from service.settings import Settings
from service.stores import bind_stores
from service.stores.database import OUTAGE_ERRORS, open_database

_SHOWN_FINDINGS = 50
_OUTAGES: tuple[type[Exception], ...] = (*OUTAGE_ERRORS, TemporarilyUnavailable)


class _Tally:
    """Counts what a verification tells, and prints the first findings on stderr."""

    def __init__(self) -> None:
        self.entries = self.chains = self.findings = 0

    def take(self, told: Finding | Head | str) -> None:
        if isinstance(told, Head):
            self.entries += told.sequence
            self.chains += 1
            return
        self.findings += 1
        if self.findings <= _SHOWN_FINDINGS:
            typer.echo(str(told), err=True)

    def conclude(self, held_against: str) -> int:
        entries, chains = counted(self.entries, "entry", "entries"), counted(self.chains, "chain")
        told = f"{entries} in {chains}, held against {held_against}"
        if self.findings:
            typer.echo(f"{told}: {counted(self.findings, 'thing is', 'things are')} wrong.", err=True)
            return 1
        typer.echo(f"{told}: whole.")
        return 0


async def verify_database(settings: Settings) -> int:
    """Verify what the database holds against itself and against storage; the exit code."""
    tally = _Tally()
    try:
        async with AsyncExitStack() as stack:
            object_store = ObjectStore(settings.storage)
            stack.push_async_callback(object_store.close)
            stores = bind_stores(await stack.enter_async_context(open_database(settings.mongo)))
            # First: what is anchored later may be of entries that are appended later.
            anchors = await read_anchors(
                object_store=object_store, database=settings.mongo.database, settings=settings.audit
            )
            for problem in anchors.problems:
                tally.take(problem)
            async for told in verify_chains(stores.audit, anchors.heads):
                tally.take(told)
            if strays := await stores.audit.count_strays():
                tally.take(f"{counted(strays, 'document is', 'documents are')} in no chain.")
            begun, now = await stores.audit_reads.begun(), await stores.media.server_time()
            for problem in days_without_anchor(anchors, begun, now):
                tally.take(problem)
            waiting = await stores.audit.count_waiting()
    except _OUTAGES as error:
        return _stopped(error)
    if waiting:
        typer.echo(f"{counted(waiting, 'document')} with entries that are still to be appended.", err=True)
    return tally.conclude(f"{counted(anchors.keys, 'anchor')} in storage")


async def export_chains(settings: Settings) -> int:
    """Write an export to stdout; the exit code."""
    try:
        async with open_database(settings.mongo) as database:
            async for line in export_lines(stores=bind_stores(database)):
                sys.stdout.buffer.write(line)
    except _OUTAGES as error:
        return _stopped(error)
    except ValueError as error:
        typer.echo(f"Stopped at an entry that is none: {error}. See `python -m service audit verify`.", err=True)
        return 1
    sys.stdout.buffer.flush()
    return 0


def _stopped(error: Exception) -> int:
    typer.echo(f"Stopped: {error}. Run the same command again.", err=True)
    return 1


def verify_file(file: Path, anchors: Sequence[Path]) -> int:
    """Verify an export by itself and against anchors; the exit code."""
    tally = _Tally()
    try:
        heads = [head for path in anchors for head in read_heads(path.read_bytes(), path.name)]
        with file.open("rb") as lines:
            _take_all(verify_lines(lines, heads), tally)
    except UnreadableFile as error:
        tally.take(str(error))
    return tally.conclude(counted(len(anchors), "anchor"))


def _take_all(told: Iterable[Finding | Head], tally: _Tally) -> None:
    for each in told:
        tally.take(each)
