"""The command: `python -m service dev | api | worker | edge | indexes | schema | doctor | upload | feed`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from service.errors import ConfigurationError
from service.production import Role, load_settings
from service.settings import Environment, Settings
from service.telemetry import configure_logging

SCHEMA_FILE = Path(__file__).parent.parent / "schema" / "schema.graphql"

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@contextmanager
def _explained() -> Iterator[None]:
    """A wrong configuration ends the process with sentences, not with a stack trace."""
    try:
        yield
    except ConfigurationError as error:
        typer.echo(f"Not started.\n{error}", err=True)
        raise typer.Exit(1) from None


@app.command()
def dev() -> None:
    """Run the whole service on this machine: MongoDB, S3 server, edge, API and worker."""
    from service.dev.stack import run

    run()


@app.command()
def api() -> None:
    """Run the GraphQL API."""
    with _explained():
        settings = load_settings(Role.API)
        configure_logging(settings.log_level)
        _serve_api(settings)


def _serve_api(settings: Settings) -> None:
    from service.app import create_app
    from service.transport.server import GracefulServer

    application = create_app(settings)
    if settings.environment is Environment.DEVELOPMENT:
        from service.dev.demo import demo_routes, graphiql_response
        from service.dev.storage_events import created_object

        application = create_app(
            settings,
            routes=demo_routes(settings),
            graphiql=graphiql_response() if settings.http.graphiql else None,
            read_storage_event=created_object,
        )
    GracefulServer(application, settings.http, application.state.drain).run()


@app.command()
def worker() -> None:
    """Run a worker: processing and deletion jobs, and the sweeper."""
    from service.worker_process import run_worker

    with _explained():
        settings = load_settings(Role.WORKER)
        configure_logging(settings.log_level)
        asyncio.run(run_worker(settings))


@app.command()
def edge() -> None:
    """Run the development edge, a stand-in for CloudFront."""
    from urllib.parse import urlsplit

    import uvicorn

    from service.dev.edge import edge_from_settings

    with _explained():
        settings = load_settings(Role.WORKER)
        configure_logging(settings.log_level)
        address = urlsplit(settings.delivery.base_url)
        uvicorn.run(
            edge_from_settings(settings),
            host=address.hostname or "127.0.0.1",
            port=address.port or 8090,
            log_config=None,
            access_log=False,
            server_header=False,
        )


@app.command()
def indexes(
    apply: Annotated[bool, typer.Option("--apply", help="Create what is missing; nothing is ever dropped.")] = False,
) -> None:
    """Compare MongoDB's indexes with their declarations."""
    with _explained():
        settings = load_settings(Role.WORKER)
        drift = asyncio.run(_index_drift(settings, apply=apply))
    for entry in drift:
        typer.echo(
            f"{entry.collection}: missing {entry.missing}, different {entry.different}, undeclared {entry.undeclared}"
        )
    raise typer.Exit(1 if drift else 0)


async def _index_drift(settings: Settings, *, apply: bool):  # type: ignore[no-untyped-def]
    from indexes.ensure import check, ensure
    from service.stores.database import open_database

    async with open_database(settings.mongo) as database:
        return await (ensure if apply else check)(database.handle)


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


if __name__ == "__main__":
    app()
