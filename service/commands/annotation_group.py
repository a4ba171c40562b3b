"""`annotations import|export` as the command line reads them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from service.annotation_exchange.records import Format
from service.commands.exchange_formats import EMBEDDINGS, FileFormat, model_of
from service.commands.options import JsonOption
from service.commands.target import explained, settings_of_deployment

group = typer.Typer(no_args_is_help=True, help="Annotations from and to COCO, Pascal VOC and YOLO files.")

FormatOption = Annotated[FileFormat, typer.Option("--format", help="Of the files. Of embeddings: JSON Lines.")]


@contextmanager
def _with_readers() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        typer.echo(f"{error.name} is missing: install media-metadata-service[exchange].", err=True)
        raise typer.Exit(1) from None


@group.command("import")
def import_(
    path: Annotated[Path, typer.Argument(exists=True, help="A COCO file; of the others a folder or a zip archive.")],
    file_format: FormatOption,
    source: Annotated[
        str | None,
        typer.Option(help="Who says so: model:NAME@VERSION, or user:ID. It takes back what it said before."),
    ] = None,
    owner: Annotated[
        str | None, typer.Option(help="Only media of this owner; then pictures may also be named by their SHA-256.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="For a list of COCO results: the file they are results for."),
    ] = None,
    skip_unknown: Annotated[
        bool, typer.Option("--skip-unknown", help="Pictures that are no media are no failure.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Find out what would be written, and write nothing.")] = (
        False
    ),
    as_json: JsonOption = False,
) -> None:
    """Let what a file says of pictures take the place of what its source has said of these media."""
    with _with_readers():
        from service.commands.annotations import run_import

    if file_format is EMBEDDINGS:
        from service.commands.embeddings import run_import as run_embeddings_import

        if source is not None or owner is not None or images is not None:
            raise typer.BadParameter("Each line says of which media and model it is.", param_hint="--format")
        with explained():
            work = run_embeddings_import(
                settings_of_deployment(), path, skip_unknown=skip_unknown, dry_run=dry_run, as_json=as_json
            )
            raise typer.Exit(asyncio.run(work))
    if source is None:
        raise typer.BadParameter(
            "Say whose annotations these are: model:NAME@VERSION, or user:ID for what people drew.",
            param_hint="--source",
        )
    if images is not None and file_format is not FileFormat.COCO:
        raise typer.BadParameter("Only lists of COCO results need it.", param_hint="--images")
    with explained():
        settings = settings_of_deployment()
        raise typer.Exit(
            asyncio.run(
                run_import(
                    settings,
                    path,
                    Format(file_format),
                    source=source,
                    owner_id=owner,
                    described_by=images,
                    skip_unknown=skip_unknown,
                    dry_run=dry_run,
                    as_json=as_json,
                )
            )
        )


@group.command()
def export(
    path: Annotated[Path, typer.Argument(help="A COCO file; of the others a new folder, or an archive NAME.zip.")],
    file_format: FormatOption,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CLAUSE",
            help="Such as label=cat, confidence>=0.5, source=model:x@2, and of media purpose=COMMUNITY, owner_id=ann, "
            "created_at<2026-01-31.",
        ),
    ] = None,
    confidences: Annotated[
        bool, typer.Option("--confidences", help="YOLO: as the sixth column; what trains on labels takes five.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the annotations of READY media, or the embeddings of media, to a file that is there once it is complete."""
    if file_format is EMBEDDINGS:
        from service.commands.embeddings import run_export as run_embeddings_export

        with explained():
            model = model_of(where or [])
            raise typer.Exit(
                asyncio.run(run_embeddings_export(settings_of_deployment(), path, model=model, as_json=as_json))
            )
    with _with_readers():
        from service.commands.annotations import run_export

    with explained():
        settings = settings_of_deployment()
        raise typer.Exit(
            asyncio.run(
                run_export(
                    settings, path, Format(file_format), where=where or [], confidences=confidences, as_json=as_json
                )
            )
        )


@group.command("forget-model")
def forget_model(model: Annotated[str, typer.Argument(metavar="NAME@VERSION")]) -> None:
    """Forget how many numbers a model's vectors have, where the first was wrong: only if nothing is embedded by it."""
    from service.commands.embeddings import run_forget_model

    with explained():
        raise typer.Exit(asyncio.run(run_forget_model(settings_of_deployment(), model)))
