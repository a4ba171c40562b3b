"""`annotations import` and `export`: how far it has come on stderr, what came of it on stdout."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Final

import typer

from service.annotation_exchange.exporting import ExportReport, export_annotations
from service.annotation_exchange.formats import reader_of, writer_of
from service.annotation_exchange.importing import ImportOptions, ImportReport, check_source, import_annotations
from service.annotation_exchange.records import Format
from service.annotation_exchange.scope import parse_scope
from service.commands.printing import json_line, printable
from service.commands.stopping import STOPPING, stopped
from service.runtime import open_runtime
from service.settings import Settings
from service.telemetry import Metrics

# A few seconds' worth of records.
_TOLD_EVERY: Final = 100_000


async def run_import(
    settings: Settings,
    path: Path,
    file_format: Format,
    *,
    source: str,
    owner_id: str | None,
    described_by: Path | None,
    skip_unknown: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Take annotations in and say what came of it; the exit code: 1 if anything was skipped, or the database went away.

    `skip_unknown`: pictures that are no media are expected, and no failure.
    """
    try:
        options = ImportOptions(
            check_source(source), fractions=file_format is Format.YOLO, owner_id=owner_id, dry_run=dry_run
        )
        async with open_runtime(settings, Metrics()) as runtime:
            report = await import_annotations(
                reader_of(file_format, path, described_by=described_by),
                options,
                stores=runtime.stores,
                on_read=_tell_read,
                on_page=lambda so_far: typer.echo(f"{so_far.done} of {so_far.pictures} pictures", err=True),
            )
    except STOPPING as error:
        return stopped(error, "What was written stays; run it again to go on.")
    for problem in report.problems:
        typer.echo(printable(problem), err=True)
    typer.echo(json_line(asdict(report)) if as_json else _import_sentence(report, dry_run=dry_run))
    return 1 if report.invalid or report.stray or (report.unknown and not skip_unknown) else 0


def _tell_read(records: int) -> None:
    if records % _TOLD_EVERY == 0:
        typer.echo(f"{records} records read", err=True)


def _import_sentence(report: ImportReport, *, dry_run: bool) -> str:
    parts = [
        f"{report.pictures} pictures",
        f"{report.written} media {'would be ' if dry_run else ''}written with {report.annotations} annotations",
        f"{report.unchanged} said the same already",
        f"{report.unknown} are no media or not one",
        f"{report.invalid} not taken for what the file says of them",
    ]
    if report.stray:
        parts.append(f"{report.stray} records of no picture in the file")
    if report.left_out:
        parts.append(f"{report.left_out} crowds left out")
    return "; ".join(parts) + "."


async def run_export(
    settings: Settings, path: Path, file_format: Format, *, where: list[str], confidences: bool, as_json: bool
) -> int:
    """Write annotations down and say how many; the exit code: 1 if nothing was written at all."""
    try:
        scope = parse_scope(where)
        async with open_runtime(settings, Metrics()) as runtime:
            with writer_of(file_format, path, confidences=confidences) as writer:
                report = await export_annotations(
                    scope,
                    writer,
                    database=runtime.database,
                    stores=runtime.stores,
                    on_page=lambda so_far: typer.echo(
                        f"{so_far.media} media, {so_far.annotations} annotations", err=True
                    ),
                )
    except STOPPING as error:
        return stopped(error, "Nothing was written; run it again.")
    typer.echo(json_line(asdict(report)) if as_json else _export_sentence(report, path))
    return 0


def _export_sentence(report: ExportReport, path: Path) -> str:
    sentence = f"{report.annotations} annotations of {report.media} media are in {path}."
    if report.left_out:
        sentence += f" {report.left_out} that have no box were left out: this format has no place for them."
    return sentence
