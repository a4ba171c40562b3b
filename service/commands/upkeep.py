"""`indexes` and `migrate` as the command line reads them."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from service.commands.target import explained, settings_of_deployment


def migrate(
    up: Annotated[bool, typer.Option("--up", help="Bring media of earlier releases to this one's version.")] = False,
    down: Annotated[bool, typer.Option("--down", help="Take media back to the version that --to names.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Only count them; that is what happens without --up.")] = False,
    to: Annotated[int | None, typer.Option(min=1, metavar="VERSION", help="End at this version.")] = None,
    recheck: Annotated[
        bool,
        typer.Option("--recheck", help="With --up: look at every media, whatever version it says it is of."),
    ] = False,
    rate: Annotated[float, typer.Option(min=0.1, max=100_000, help="Media a second, at most.")] = 1_000,
    batch: Annotated[int, typer.Option(min=1, max=5_000, help="Media that are read and written together.")] = 500,
) -> None:
    """Migrate the media of earlier releases while everything goes on, or take them back."""
    from service.commands.migrate import run_migration, show_pending
    from service.migrations import FIRST, LATEST, MigrationOptions

    if up + down + check > 1:
        raise typer.BadParameter("Choose one of --check, --up and --down.")
    if down and to is None:
        raise typer.BadParameter("To which version? Name the one that the release you go back to writes.")
    if recheck and not up:
        raise typer.BadParameter("It goes with --up.", param_hint="--recheck")
    target = LATEST if to is None else to
    if not FIRST <= target <= LATEST:
        raise typer.BadParameter(f"This release knows versions {FIRST} to {LATEST}.", param_hint="--to")
    with explained():
        settings = settings_of_deployment()
        if not up and not down:
            raise typer.Exit(asyncio.run(show_pending(settings, to=target)))
        options = MigrationOptions(target, down=down, recheck=recheck, rate=rate, batch=batch)
        raise typer.Exit(asyncio.run(run_migration(settings, options)))
