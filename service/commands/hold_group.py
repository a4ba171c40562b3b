"""`hold place|lift|list` as the command line reads them."""

from __future__ import annotations

import asyncio
from typing import Annotated
from uuid import UUID

import typer

from service.commands.options import MEDIA_ID_HELP, JsonOption, read_media_id
from service.commands.target import explained, settings_of_deployment

group = typer.Typer(no_args_is_help=True, help="Legal holds: what is held loses no byte until the hold is lifted.")

ByOption = Annotated[str, typer.Option(metavar="ID", help="Who decides so; it goes on record.")]


@group.command()
def place(
    by: ByOption,
    reason: Annotated[str, typer.Option(help="1 to 1000 characters. Kept with the hold; not put on record.")],
    media: Annotated[
        UUID | None,
        typer.Option(parser=read_media_id, metavar="ID", help=f"One media, deleted or not: {MEDIA_ID_HELP}."),
    ] = None,
    owner: Annotated[
        str | None, typer.Option(metavar="ID", help="All media of this owner, also those to come.")
    ] = None,
) -> None:
    """Keep the bytes of a media, or of all media of an owner, whatever is asked for; prints the hold's id."""
    from service.commands.holds import run_place

    if (media is None) == (owner is None):
        raise typer.BadParameter("Name a media or an owner, and not both.", param_hint="--media")
    with explained():
        settings = settings_of_deployment()
        raise typer.Exit(asyncio.run(run_place(settings, media_id=media, owner_id=owner, by=by, reason=reason)))


@group.command()
def lift(hold: Annotated[UUID, typer.Argument(metavar="HOLD", help="As `hold list` shows it.")], by: ByOption) -> None:
    """End a hold; deletions that waited for it go on by themselves."""
    from service.commands.holds import run_lift

    with explained():
        settings = settings_of_deployment()
        raise typer.Exit(asyncio.run(run_lift(settings, hold, by=by)))


@group.command("list")
def list_(
    lifted: Annotated[bool, typer.Option("--all", help="Also those that were lifted.")] = False,
    as_json: JsonOption = False,
) -> None:
    """The holds that there are, and how many deletions wait for each."""
    from service.commands.holds import run_list

    with explained():
        settings = settings_of_deployment()
        raise typer.Exit(asyncio.run(run_list(settings, lifted=lifted, as_json=as_json)))
