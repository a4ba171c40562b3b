"""`annotations import` and `export` of embeddings: how far it has come on stderr, what came of it on stdout."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Final

import typer

from service.annotation_exchange.embeddings import EmbeddingsImport, export_embeddings, import_embeddings
from service.commands.printing import json_line, printable
from service.errors import MediaServiceError
from service.runtime import open_runtime
from service.settings import Settings
from service.stores.database import OUTAGE_ERRORS
from service.telemetry import Metrics

# What ends a run with a sentence.
_STOPPING: Final[tuple[type[Exception], ...]] = (MediaServiceError, OSError, *OUTAGE_ERRORS)


async def run_export(settings: Settings, path: Path, *, model: str | None, as_json: bool) -> int:
    """Write embeddings down and say how many; the exit code: 1 if nothing was written at all."""
    try:
        async with open_runtime(settings, Metrics()) as runtime:
            count = await export_embeddings(
                path,
                model=model,
                stores=runtime.stores,
                on_page=lambda so_far: typer.echo(f"{so_far} embeddings", err=True),
            )
    except _STOPPING as error:
        return _stopped(error, "Nothing was written; run it again.")
    typer.echo(json_line({"embeddings": count}) if as_json else f"{count} embeddings are in {path}.")
    return 0


async def run_import(settings: Settings, path: Path, *, skip_unknown: bool, dry_run: bool, as_json: bool) -> int:
    """Take embeddings in and say what came of it; the exit code: 1 if any was not taken, or the database went away."""
    stopped: BaseException | None = None
    report = EmbeddingsImport()
    try:
        async with open_runtime(settings, Metrics()) as runtime:
            report = await import_embeddings(
                path,
                dry_run=dry_run,
                stores=runtime.stores,
                on_page=lambda so_far: typer.echo(f"{so_far.lines} lines", err=True),
            )
    except* _STOPPING as errors:
        stopped = _first(errors)
    if stopped is not None:
        return _stopped(stopped, "What was written stays; run it again to go on.")
    for problem in report.problems:
        typer.echo(printable(problem), err=True)
    typer.echo(json_line(asdict(report)) if as_json else _sentence(report, dry_run=dry_run))
    return 1 if report.invalid or (report.unknown and not skip_unknown) else 0


def _first(errors: BaseException) -> BaseException:
    while isinstance(errors, BaseExceptionGroup):
        errors = errors.exceptions[0]
    return errors


def _stopped(error: BaseException, remedy: str) -> int:
    message = error.message if isinstance(error, MediaServiceError) else f"{error}. {remedy}"
    typer.echo(f"Stopped: {printable(message)}", err=True)
    return 1


def _sentence(report: EmbeddingsImport, *, dry_run: bool) -> str:
    return (
        f"{report.lines} lines; {report.written} embeddings {'would be ' if dry_run else ''}written; "
        f"{report.unchanged} were there already; {report.unknown} of no media; {report.invalid} not taken."
    )
