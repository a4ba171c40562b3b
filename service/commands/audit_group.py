"""`audit verify|export` as the command line reads them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from service.commands.options import MEDIA_ID_HELP, read_media_id
from service.commands.target import explained, settings_of_deployment

group = typer.Typer(
    no_args_is_help=True, help="Verify the audit chains, write them out, or show the certificate of a deletion."
)


@group.command()
def verify(
    file: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, metavar="FILE", help="An export; nothing else is asked then."),
    ] = None,
    anchor: Annotated[
        list[Path] | None,
        typer.Option(exists=True, dir_okay=False, metavar="FILE", help="With --file: an anchor, as storage has it."),
    ] = None,
) -> None:
    """Look for entries that were altered, dropped, put in or put elsewhere; exit code 1 if there are any."""
    from service.commands.audit import verify_database, verify_file

    if file is not None:
        raise typer.Exit(verify_file(file, anchor or []))
    if anchor:
        raise typer.BadParameter(
            "It goes with --file: without it, anchors are read from storage.", param_hint="--anchor"
        )
    with explained():
        settings = settings_of_deployment()
        raise typer.Exit(asyncio.run(verify_database(settings)))


@group.command()
def show(
    media: Annotated[
        UUID | None, typer.Option(parser=read_media_id, metavar="ID", help=f"Of one media: {MEDIA_ID_HELP}.")
    ] = None,
    owner: Annotated[str | None, typer.Option(metavar="ID", help="Of all media of one owner.")] = None,
    actor: Annotated[str | None, typer.Option(metavar="ID", help="Of what one person has done.")] = None,
    action: Annotated[str | None, typer.Option(help="Only this, such as original.accessed.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As it is stored, a line of JSON each.")] = False,
) -> None:
    """Show what is on record, oldest first: under a media, an owner or an actor, or several of them at once.

    Exit code 1 if an entry among it was altered; what is missing, `audit verify` tells.
    """
    from service.commands.audit_show import Asked, show_entries

    if media is None and owner is None and actor is None:
        raise typer.BadParameter("Say of whom: --media, --owner or --actor.")
    with explained():
        asked = Asked.of(media=media, owner=owner, actor=actor, action=action)
        raise typer.Exit(asyncio.run(show_entries(settings_of_deployment(), asked, as_json=as_json)))


@group.command()
def export() -> None:
    """Write all chains to stdout as JSON Lines, with their heads last: `audit verify --file` needs nothing else."""
    from service.commands.audit import export_chains

    with explained():
        settings = settings_of_deployment()
        raise typer.Exit(asyncio.run(export_chains(settings)))


@group.command()
def certificate(
    media: Annotated[
        UUID | None,
        typer.Argument(
            parser=read_media_id,
            metavar="MEDIA_ID",
            help="As clients know it, or as in the log; also that of the deletion.",
            show_default=False,
        ),
    ] = None,
    owner: Annotated[str | None, typer.Option(metavar="ID", help="Of the erasure of this account instead.")] = None,
) -> None:
    """Print the certificate of a deletion or an erasure and check it; exit code 1 if none holds."""
    from service.commands.certificate import show_account_certificate, show_certificate

    if (media is None) == (owner is None):
        raise typer.BadParameter("Name a media or an --owner, and not both.", param_hint="MEDIA_ID")
    with explained():
        settings = settings_of_deployment()
        if media is None:
            raise typer.Exit(asyncio.run(show_account_certificate(settings, owner or "")))
        raise typer.Exit(asyncio.run(show_certificate(settings, media)))
