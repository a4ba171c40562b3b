"""`upload`: photos go up with a progress bar each, and their signed URLs come back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.text import Text

from service.client import ClientError, FileDetails, MediaClient, Progress, Rendition, UploadResult
from service.client.local_file import shown
from service.client.uploading import OnProgress
from service.commands.printing import human_size, json_line, print_table, problem_console, result_console

_HEADINGS = ("Rendition", "Format", "Pixels", "Bytes", "URL")


async def upload_photos(
    client: MediaClient,
    photos: Sequence[Path],
    *,
    purpose: str,
    private: bool,
    details: FileDetails,
    as_json: bool,
) -> int:
    """Upload, print what became of each photo, and return the exit code: 1 if any failed."""
    problems = problem_console()
    with _bars(problems, photos) as on_progress:
        async with client:
            results = await client.upload(
                photos,
                purpose=purpose,
                visibility="PRIVATE" if private else None,
                details=details,
                on_progress=on_progress,
            )
    if as_json:
        for result in results:
            typer.echo(json_line(_described(result)))
    else:
        _print_media(result_console(), results)
        _print_failures(problems, results)
    return int(any(result.error is not None for result in results))


@contextmanager
def _bars(console: Console, photos: Sequence[Path]) -> Iterator[OnProgress]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[status]}"),
    )
    with Bars(*columns, console=console, disable=not console.is_terminal) as bars:
        tasks: list[TaskID] = [
            bars.add_task(escape(shown(photo.name)), total=None, status="waiting") for photo in photos
        ]

        def show(progress: Progress) -> None:
            bars.update(
                tasks[progress.index],
                completed=progress.bytes_sent,
                total=progress.byte_size or None,
                status=progress.status.lower(),
            )

        yield show


def _print_media(console: Console, results: Sequence[UploadResult]) -> None:
    for result in results:
        if result.media is not None:
            console.print(Text(f"{shown(result.path)}  {result.media.status}  {result.media_id}", style="bold"))
            print_table(console, _HEADINGS, map(_row, result.media.renditions))


def _row(rendition: Rendition) -> tuple[str, ...]:
    pixels = f"{rendition.width} x {rendition.height}"
    return rendition.name, rendition.format, pixels, human_size(rendition.byte_size), rendition.url


def _print_failures(console: Console, results: Sequence[UploadResult]) -> None:
    """One paragraph for each different failure: a wrong token is not worth twenty."""
    failed: dict[tuple[str, str], list[UploadResult]] = {}
    for result in results:
        if result.error is not None:
            failed.setdefault((result.error.code, result.error.message), []).append(result)
    for (code, message), alike in failed.items():
        names = ", ".join(shown(result.path) for result in alike)
        again = " Trying again may help." if alike[0].error and alike[0].error.retryable else ""
        console.print(Text(f"Not uploaded: {names}\n  {code}: {message}{again}", style="red"))


def _described(result: UploadResult) -> Mapping[str, Any]:
    described: dict[str, Any] = {"file": shown(result.path), "id": result.media_id}
    if result.media is not None:
        renditions = [rendition.as_json() for rendition in result.media.renditions]
        return {**described, "status": result.media.status, "renditions": renditions}
    return {**described, "error": None if result.error is None else describe_error(result.error)}


def describe_error(error: ClientError) -> Mapping[str, Any]:
    """An error as JSON for scripts."""
    return {"code": error.code, "message": error.message, "retryable": error.retryable}
