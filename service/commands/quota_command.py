"""`quotas` as the command line reads it."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from service.commands.target import explained, settings_of_deployment


def quotas(
    owner: Annotated[str | None, typer.Option(metavar="ID", help="Only this owner.")] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Count anew what differs.")] = False,
) -> None:
    """Compare the bytes that are counted of each owner with what they have stored; exit code 1 if some differ."""
    from service.commands.quotas import run_recount

    with explained():
        settings = settings_of_deployment()
        raise typer.Exit(asyncio.run(run_recount(settings, owner_id=owner, repair=repair)))
