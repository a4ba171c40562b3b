"""`indexes` and `migrate` as the command line reads them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Annotated

import typer

from service.commands.target import explained, settings_of_deployment

# 128 + SIGINT, as shells say it.
_INTERRUPTED = 130


def _run(work: Coroutine[None, None, int]) -> int:
    """The exit code of a command; a database that does not answer, or not so, ends it with a sentence."""
    from service.stores.inspection import DatabaseUnusable
    from service.stores.inspection import explained as database_explained

    try:
        with database_explained():
            return asyncio.run(work)
    except DatabaseUnusable as error:
        typer.echo(f"Stopped: {error}", err=True)
        return 1


PlacesOption = list[str] | None
_PLACE = "COLLECTION.INDEX"


def indexes(
    apply: Annotated[
        bool, typer.Option("--apply/--check", help="Build what is missing; nothing is ever dropped by it.")
    ] = False,
    usage: Annotated[bool, typer.Option("--usage", help="How often each was used, by each member.")] = False,
    hide: Annotated[
        PlacesOption, typer.Option(metavar=_PLACE, help="Let no query use it; may be repeated. Undone in a moment.")
    ] = None,
    unhide: Annotated[PlacesOption, typer.Option(metavar=_PLACE, help="Let queries use it again.")] = None,
    drop: Annotated[
        PlacesOption, typer.Option(metavar=_PLACE, help="Drop it: only if it is hidden and declared nowhere.")
    ] = None,
    max_lag: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Begin no build while a member is further behind.")
    ] = 10,
    max_wait: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="For that, at most.")] = 600,
) -> None:
    """Compare MongoDB's indexes with their declarations; build, judge, hide or drop them while everything goes on."""
    from service.commands.indexes import apply_indexes, change_indexes, compare_indexes, show_usage
    from service.index_upkeep.building import BuildOptions

    changes = {"hide": hide or [], "unhide": unhide or [], "drop": drop or []}
    if apply + usage + any(changes.values()) > 1:
        raise typer.BadParameter("Choose one of --apply, --usage, and --hide, --unhide or --drop.")
    with explained():
        settings = settings_of_deployment()
        if any(changes.values()):
            raise typer.Exit(_run(change_indexes(settings, changes)))
        if usage:
            raise typer.Exit(_run(show_usage(settings)))
        if not apply:
            raise typer.Exit(_run(compare_indexes(settings)))
        options = BuildOptions(max_lag_s=max_lag, max_wait_s=max_wait)
        try:
            code = _run(apply_indexes(settings, options))
        except KeyboardInterrupt:
            typer.echo("Interrupted. What is being built goes on in the database; run it again to join it.", err=True)
            code = _INTERRUPTED
        raise typer.Exit(code)


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
            raise typer.Exit(_run(show_pending(settings, to=target)))
        options = MigrationOptions(target, down=down, recheck=recheck, rate=rate, batch=batch)
        raise typer.Exit(_run(run_migration(settings, options)))
