"""`annotations import` and `export` of embeddings: how far it has come on stderr, what came of it on stdout."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import typer

from service.annotation_exchange.embeddings import EmbeddingsImport, export_embeddings, import_embeddings
from service.commands.on_record import put_on_record
from service.commands.printing import json_line, printable
from service.commands.stopping import STOPPING, stopped
from service.embeddings import forget_model
from service.runtime import open_runtime
from service.settings import Settings
from service.telemetry import Metrics


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
    except STOPPING as error:
        return stopped(error, "Nothing was written; run it again.")
    typer.echo(json_line({"embeddings": count}) if as_json else f"{count} embeddings are in {path}.")
    return 0


async def run_import(settings: Settings, path: Path, *, skip_unknown: bool, dry_run: bool, as_json: bool) -> int:
    """Take embeddings in and say what came of it; the exit code: 1 if any was not taken, or the database went away."""
    try:
        async with open_runtime(settings, Metrics()) as runtime:
            report = await import_embeddings(
                path,
                dry_run=dry_run,
                stores=runtime.stores,
                on_page=lambda so_far: typer.echo(f"{so_far.lines} lines", err=True),
            )
    except STOPPING as error:
        return stopped(error, "What was written stays; run it again to go on.")
    for problem in report.problems:
        typer.echo(printable(problem), err=True)
    typer.echo(json_line(asdict(report)) if as_json else _sentence(report, dry_run=dry_run))
    return 1 if report.invalid or (report.unknown and not skip_unknown) else 0


async def run_forget_model(settings: Settings, model: str) -> int:
    """Forget a model that nothing is embedded by; the exit code: 1 if there is none such."""
    try:
        async with open_runtime(settings, Metrics()) as runtime:
            await put_on_record("annotations forget-model", {"model": model}, audit=runtime.stores.audit)
            dimensions = await forget_model(model, stores=runtime.stores)
    except STOPPING as error:
        return stopped(error, "Run it again.")
    typer.echo(f"{printable(model)} is forgotten; its vectors had {dimensions} numbers.")
    return 0


def _sentence(report: EmbeddingsImport, *, dry_run: bool) -> str:
    return (
        f"{report.lines} lines; {report.written} embeddings {'would be ' if dry_run else ''}written; "
        f"{report.unchanged} were there already; {report.unknown} are of no media; {report.invalid} not taken."
    )
