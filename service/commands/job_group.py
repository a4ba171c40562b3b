"""`jobs list|retry|drain` as the command line reads them."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from service.commands.options import JsonOption, hours_option
from service.commands.target import explained, settings_of_deployment
from service.models import JobKind, JobState, Lane

group = typer.Typer(no_args_is_help=True, help="Look at the job queue; retry or remove dead letters.")

KindOption = Annotated[JobKind | None, typer.Option(help="Only jobs of this kind.")]


@group.command("list")
def list_jobs(
    state: Annotated[JobState | None, typer.Option(help="Only these; otherwise all that are not done.")] = None,
    lane: Annotated[Lane | None, typer.Option(help="Only jobs of this lane.")] = None,
    kind: KindOption = None,
    limit: Annotated[int, typer.Option(min=0, max=10_000, help="How many.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Count the jobs of each lane, and list those that have been visible longest."""
    from service.commands.jobs import show_jobs

    with explained():
        settings = settings_of_deployment()
        raise typer.Exit(
            asyncio.run(show_jobs(settings, state=state, lane=lane, kind=kind, limit=limit, as_json=as_json))
        )


@group.command()
def retry(
    job_ids: Annotated[list[str] | None, typer.Argument(metavar="JOB_ID...", show_default=False)] = None,
    every: Annotated[bool, typer.Option("--all", help="Every dead letter.")] = False,
    kind: KindOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send dead letters back to work; a FAILED media begins a new round of processing."""
    from service.commands.jobs import retry_jobs

    if bool(job_ids) == every:
        raise typer.BadParameter("Name the jobs, or say --all.", param_hint="JOB_ID...")
    if job_ids and kind is not None:
        raise typer.BadParameter("It chooses among --all.", param_hint="--kind")
    with explained():
        settings = settings_of_deployment()
        raise typer.Exit(asyncio.run(retry_jobs(settings, job_ids or [], kind=kind, as_json=as_json)))


@group.command()
def drain(
    kind: KindOption = None,
    older_than: Annotated[float, hours_option("Leave those alone that ended since.")] = 0,
) -> None:
    """Write dead letters to stdout, a line of JSON each, and remove them; their media stay as they are."""
    from datetime import timedelta

    from service.commands.jobs import drain_jobs

    with explained():
        settings = settings_of_deployment()
        raise typer.Exit(asyncio.run(drain_jobs(settings, kind=kind, older_than=timedelta(hours=older_than))))
