"""`quarantine-owner`, `retention` and `erase-owner` as the command line reads them."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from service.commands.options import JsonOption
from service.commands.target import explained, settings_of_deployment


def quarantine_owner(
    owner_id: Annotated[str, typer.Argument(metavar="OWNER", help="As tokens name them.")],
    by: Annotated[str, typer.Option(metavar="ID", help="Whose decision it is, as moderators read it later.")],
    reason: Annotated[str, typer.Option(help="1 to 1000 characters, for moderators.")],
) -> None:
    """Take every READY media of one owner out of sight; run again, it goes on where it was stopped."""
    from service.commands.quarantine_owner import run_quarantine

    with explained():
        settings = settings_of_deployment()
        raise typer.Exit(asyncio.run(run_quarantine(settings, owner_id, by=by, reason=reason)))


def retention(
    preview: Annotated[
        bool, typer.Option("--preview", help="What this command always does: it deletes nothing, workers do.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """How long media of each purpose are kept, how many go for their age, and when."""
    from service.commands.retention import show_retention

    del preview
    with explained():
        settings = settings_of_deployment()
        raise typer.Exit(asyncio.run(show_retention(settings, as_json=as_json)))


def erase_owner(
    owner_id: Annotated[str, typer.Argument(metavar="OWNER", help="As tokens name them.")],
    by: Annotated[str, typer.Option(metavar="ID", help="Who asks for it; it goes on record.")] = "operator",
    wait: Annotated[bool, typer.Option("--wait", help="Come back once it is over, however long that takes.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "--status", help="How far it is, or what there would be to erase.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; needed where nobody can be asked.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Erase an account: refuse it at once, delete all its media for good, and certify that; workers carry it on."""
    from service.commands.owner_erasure import look_first, run_erasure, show_erasure

    with explained():
        settings = settings_of_deployment()
        if dry_run:
            raise typer.Exit(asyncio.run(show_erasure(settings, owner_id, as_json=as_json)))
        if not (yes or is_terminal()):
            raise typer.BadParameter("Say --yes: nobody can be asked here.", param_hint="--yes")
        if code := asyncio.run(look_first(settings, owner_id)):
            raise typer.Exit(code)
        if not yes:
            typer.confirm(f"Erase the account {owner_id} and all of its media, for good?", abort=True, err=True)
        raise typer.Exit(asyncio.run(run_erasure(settings, owner_id, by=by, wait=wait, as_json=as_json)))


def is_terminal() -> bool:
    """Whether somebody can answer."""
    return sys.stdin.isatty()
