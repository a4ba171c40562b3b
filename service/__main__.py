"""The command: `python -m service COMMAND`; without one it lists them."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

try:
    import typer
except ModuleNotFoundError:
    sys.exit("The packages of this project are not installed for this Python. Use .venv/bin/python -m service ...")

from service.commands.annotation_group import group as annotation_commands
from service.commands.audit_group import group as audit_commands
from service.commands.hold_group import group as hold_commands
from service.commands.job_group import group as jobs
from service.commands.keeping import erase_owner, quarantine_owner, retention
from service.commands.options import JsonOption, PurposeOption, TokenOption, UrlOption, hours_option, read_media_id
from service.commands.quota_command import quotas
from service.commands.target import adopt_stack_settings, client_of, explained, settings_of_deployment
from service.commands.upkeep import indexes, migrate
from service.commands.webhook_group import group as webhook_commands
from service.errors import ConfigurationError
from service.models import MediaPurpose, Role

if TYPE_CHECKING:
    from service.settings import Settings

# 128 + SIGINT, as shells say it.
INTERRUPTED = 130
SCHEMA_FILE = Path(__file__).parent.parent / "schema" / "schema.graphql"

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(jobs, name="jobs")
app.add_typer(annotation_commands, name="annotations")
app.add_typer(audit_commands, name="audit")
app.add_typer(webhook_commands, name="webhooks")
app.add_typer(hold_commands, name="hold")
app.command()(indexes)
app.command()(migrate)
app.command()(quarantine_owner)
app.command()(retention)
app.command()(quotas)
app.command()(erase_owner)


@app.command()
def dev() -> None:
    """Run the whole service on this machine: MongoDB, S3 server, edge, API and worker."""
    from service.dev.command import run

    run()


@app.command()
def api() -> None:
    """Run the GraphQL API."""
    with explained():
        settings = _begin(Role.API)
        from service.runtime import preflight

        asyncio.run(preflight(settings))
        from service.commands.serving import serve_api

        serve_api(settings)


def _begin(role: Role) -> Settings:
    """The settings of a process that serves; logging and failpoint are set by them.

    What serves is loaded afterwards: that takes a second, and wrong settings are told at once.
    """
    from service.failpoints import arm
    from service.log_lines import configure_logging
    from service.production import load_settings

    settings = load_settings(role)
    configure_logging(settings.log_level)
    arm(settings.failpoint)
    return settings


@app.command()
def worker() -> None:
    """Run a worker: processing and deletion jobs, and the sweeper."""
    with explained():
        settings = _begin(Role.WORKER)
        from service.worker_process import run_worker

        asyncio.run(run_worker(settings))


@app.command()
def events() -> None:
    """Take in storage events from SQS, without working on anything else."""
    with explained():
        settings = _begin(Role.WORKER)
        from service.worker_process import run_consumer

        asyncio.run(run_consumer(settings))


@app.command()
def edge(
    invalidation_s: Annotated[float, typer.Option(min=0, help="How many seconds an invalidation takes.")] = 1.0,
) -> None:
    """Run the development edge, a stand-in for CloudFront."""
    from service.commands.serving import serve_edge
    from service.log_lines import configure_logging
    from service.production import load_settings

    with explained():
        settings = load_settings(Role.WORKER)
        configure_logging(settings.log_level)
        serve_edge(settings, invalidation_s=invalidation_s)


@app.command()
def buckets(
    apply: Annotated[
        bool, typer.Option("--apply/--check", help="Change what differs; rules of others are kept.")
    ] = False,
) -> None:
    """Compare both buckets with their declaration: access, CORS, encryption, versions, lifecycle."""
    from service.commands.buckets import set_up_buckets

    with explained():
        settings = settings_of_deployment()
        raise typer.Exit(asyncio.run(set_up_buckets(settings, apply=apply)))


@app.command()
def reprocess(
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="CLAUSE", help="Such as purpose=COMMUNITY, pipeline_version!=2, created_at<2026-01-31."),
    ] = None,
    rate: Annotated[float, typer.Option(min=0.01, max=10_000, help="Media to enqueue a second.")] = 20,
    after: Annotated[
        UUID | None, typer.Option(parser=read_media_id, metavar="ID", help="Go on after this media; a run prints it.")
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Enqueue them; otherwise only count.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also what is up to date: it may lack what was given up.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Have READY media made again by the present pipeline, in the backfill lane, while they go on being shown."""
    from service.commands.reprocess import run_reprocessing
    from service.reprocessing import parse_where

    with explained():
        query = parse_where(where or ())
        settings = settings_of_deployment()
        raise typer.Exit(
            asyncio.run(
                run_reprocessing(settings, query, rate=rate, after=after, apply=apply, force=force, as_json=as_json)
            )
        )


@app.command()
def reconcile(
    apply: Annotated[bool, typer.Option("--apply", help="Repair what is safe to repair; otherwise only tell.")] = False,
    bucket: Annotated[list[str] | None, typer.Option(help="Only objects of this bucket; may be repeated.")] = None,
    older_than: Annotated[float, hours_option("Leave alone what was written or changed since.")] = 24,
    restart: Annotated[
        bool, typer.Option("--restart/--resume", help="Begin anew, even if a run was interrupted in the last 24 hours.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare storage with the database in both directions: what is left over, what is missing."""
    from datetime import timedelta

    from service.commands.reconcile import run_reconciliation
    from service.reconciliation import RunOptions

    options = RunOptions(apply, timedelta(hours=older_than), frozenset(bucket or ()), restart)
    with explained():
        settings = settings_of_deployment()
        raise typer.Exit(asyncio.run(run_reconciliation(settings, options, as_json=as_json)))


@app.command()
def schema(
    check: Annotated[bool, typer.Option("--check", help="Fail if schema/schema.graphql is not up to date.")] = False,
) -> None:
    """Write the exported schema to schema/schema.graphql."""
    from resolvers.api import export_schema

    exported = export_schema()
    if not check:
        SCHEMA_FILE.write_text(exported)
    elif not SCHEMA_FILE.exists() or SCHEMA_FILE.read_text() != exported:
        typer.echo("schema/schema.graphql is out of date: run `python -m service schema` and commit it.", err=True)
        raise typer.Exit(1)


@app.command()
def documents(
    path: Annotated[Path, typer.Argument(help="A manifest, or a folder of manifests and .graphql files.")],
) -> None:
    """Hold registered documents against the schema and the limits, as the API does at start."""
    from resolvers.api import build_schema
    from service.production import read_settings
    from service.transport.operations import Operations
    from service.transport.trusted_documents import read_trusted_documents

    with explained():
        Operations(build_schema(), read_settings().http.model_copy(update={"trusted_documents": path}))
        typer.echo(f"{len(read_trusted_documents(path))} documents fit the schema and the limits.")


@app.command()
def upload(  # noqa: PLR0913, PLR0917 - each parameter is an option
    # One photo that may not be read is its own failure, not that of the others.
    photos: Annotated[list[Path] | None, typer.Argument(metavar="PHOTO...", show_default=False, readable=False)] = None,
    purpose: PurposeOption = MediaPurpose.COMMUNITY,
    title: Annotated[str | None, typer.Option(help="A title, the same for all; by default the file names.")] = None,
    no_title: Annotated[bool, typer.Option("--no-title", help="No title, not even the file name.")] = False,
    alt_text: Annotated[str | None, typer.Option(help="What is to be seen, for those who cannot.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag; may be repeated.")] = None,
    private: Annotated[bool, typer.Option("--private", help="For the owner and moderators only.")] = False,
    queue: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Keep what is to be uploaded in this file, and wait for the network. "
            "Interrupted, another run with it goes on; then no PHOTO is needed.",
        ),
    ] = None,
    all_urls: Annotated[
        bool, typer.Option("--all", "--urls", help="Wait for every size and format, and print the URL of each.")
    ] = False,
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Upload photos and clips, wait until they are READY, and print a signed URL for each."""
    if not photos and queue is None:
        raise typer.BadParameter("Name at least one photo, or a --queue to go on with.", param_hint="PHOTO...")
    with client_of(url, token) as client:
        from service.client import FileDetails
        from service.commands.upload import Order, interrupted, upload_photos, upload_queued

        details = FileDetails(title=title, alt_text=alt_text, tags=tuple(tag or ()))
        order = Order(purpose, private=private, details=details, titles_from_names=not no_title)
        shown_as = {"all_urls": all_urls, "as_json": as_json}
        if queue is None:
            work = upload_photos(client, photos or [], order, **shown_as)
        else:
            work = upload_queued(client, photos or [], order, queue, **shown_as)
        try:
            code = asyncio.run(work)
        except KeyboardInterrupt:
            typer.echo(interrupted(queue), err=True)
            code = INTERRUPTED
        raise typer.Exit(code)


@app.command()
def feed(
    purpose: PurposeOption = MediaPurpose.COMMUNITY,
    first: Annotated[int, typer.Option(min=1, max=100, help="How many.")] = 20,
    after: Annotated[str | None, typer.Option(metavar="CURSOR", help="Where an earlier page ended.")] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Width of the slot in CSS pixels.")] = None,
    dpr: Annotated[float, typer.Option(min=0.1, max=16, help="Device pixels per CSS pixel.")] = 1,
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """List a page of the feed, each media with the picture to show."""
    with client_of(url, token) as client:
        from service.client import DisplayHint
        from service.commands.feed import show_feed

        hint = None if width is None else DisplayHint(width=width, device_pixel_ratio=dpr)
        asyncio.run(show_feed(client, purpose=purpose, first=first, after=after, hint=hint, as_json=as_json))


@app.command()
def doctor(
    role: Annotated[Role | None, typer.Option(help="Only what this kind of process needs; otherwise all.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Check settings, database, indexes, buckets, CORS, keys, edge, clock and jail; say what to fix."""
    from service.commands.doctor import report, report_unreadable
    from service.production import read_settings

    try:
        adopt_stack_settings()
        settings = read_settings()
    except ConfigurationError as error:
        report_unreadable(error, as_json=as_json)
        raise typer.Exit(1) from None
    raise typer.Exit(asyncio.run(report(settings, roles=list(Role) if role is None else [role], as_json=as_json)))


if __name__ == "__main__":
    app()
