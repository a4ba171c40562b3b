"""`migrate`: how much there is to be migrated, and the migration, page by page."""

from __future__ import annotations

import os
import socket
from dataclasses import asdict
from uuid import UUID, uuid4

import typer

from service.commands.on_record import put_on_record
from service.errors import TemporarilyUnavailable
from service.migrations import (
    LATEST,
    MIGRATIONS,
    MigrationOptions,
    Observer,
    Progress,
    Refusal,
    Superseded,
    migrate,
    survey,
)
from service.settings import Settings
from service.stores.audit import AuditStore
from service.stores.database import OUTAGE_ERRORS, open_database
from service.stores.migrations import MigrationStore

_SHOWN_REFUSALS = 20
_AWAY: tuple[type[Exception], ...] = (TemporarilyUnavailable, *OUTAGE_ERRORS)


async def show_pending(settings: Settings, *, to: int) -> int:
    """Print what is to be migrated; the exit code: 1 if there is anything, or if that cannot be told."""
    async with open_database(settings.mongo) as database:
        found = await survey(MigrationStore(database), to=to)
    for migration in MIGRATIONS:
        typer.echo(f"{migration.version}  {migration.description}")
    for run in found.runs:
        typer.echo(f"Run {run['_id']}, begun {run['begun_at']:%Y-%m-%d %H:%M} UTC, is at {run['after']}.")
    typer.echo(f"{found.counted} of about {found.total:,} media are to be migrated to version {to}.")
    if found.pending is None:
        typer.echo("Their index is missing: python -m service indexes --apply", err=True)
    elif found.pending:
        typer.echo("Migrate them, while everything goes on: python -m service migrate --up", err=True)
    return 0 if found.pending == 0 else 1


async def run_migration(settings: Settings, options: MigrationOptions) -> int:
    """Migrate and tell how far it is, on stderr; the exit code: 1 if something is left."""
    shown: set[UUID] = set()

    def note(refusal: Refusal) -> None:
        # Each pass refuses them again.
        if refusal.media_id not in shown and len(shown) < _SHOWN_REFUSALS:
            typer.echo(f"Left as it is: {refusal.media_id}: {refusal.reason}", err=True)
            shown.add(refusal.media_id)

    observer = Observer(
        on_page=lambda progress: typer.echo(f"{progress.migrated:,} migrated, up to {progress.after}", err=True),
        on_refusal=note,
        on_wait=lambda holder: typer.echo(f"Waiting for {holder}, which migrates at present.", err=True),
    )
    try:
        async with open_database(settings.mongo) as database:
            recorded = asdict(options)
            direction = "--down" if recorded.pop("down") else "--up"
            await put_on_record(f"migrate {direction}", recorded, audit=AuditStore(database))
            done = await migrate(options, name=runner_name(), store=MigrationStore(database), observer=observer)
    except _AWAY as error:
        typer.echo(f"Stopped: {error}. Run the same command again to go on.", err=True)
        return 1
    except Superseded:
        typer.echo("Stopped: this run was silent for too long, and another has taken over.", err=True)
        return 1
    return _conclude(options, done)


def runner_name() -> str:
    """Who migrates, for people: never the same twice."""
    return f"{socket.gethostname()}, process {os.getpid()} ({uuid4().hex[:8]})"


def _conclude(options: MigrationOptions, done: Progress) -> int:
    verb = "taken back" if options.down else "migrated"
    typer.echo(f"{done.migrated:,} media {verb} to version {options.to}.")
    if done.refused:
        typer.echo(f"{done.refused:,} media are left as they are; see above.", err=True)
    if not done.is_settled:
        release = "this release" if options.down else "an earlier release"
        typer.echo(
            f"Media go on being written meanwhile. Stop the processes of {release}, then run the same command again.",
            err=True,
        )
    if done.refused or not done.is_settled:
        return 1
    if done.migrated and not options.down and not options.recheck and options.to == LATEST:
        typer.echo(
            "If processes of an earlier release were running, stop the last of them, then look once more: "
            "python -m service migrate --up --recheck",
            err=True,
        )
    return 0
