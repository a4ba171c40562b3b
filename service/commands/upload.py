"""`upload`: photos go up with a progress bar each, and signed URLs come back."""

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

from service.client import ClientError, FileDetails, MediaClient, NotReady, Progress, Rendition, UploadResult
from service.client.local_file import shown
from service.client.uploading import STILL_PROCESSING, OnProgress
from service.commands.printing import human_size, json_line, print_table, problem_console, result_console

_HEADINGS = ("Rendition", "Format", "Pixels", "Bytes", "URL")
_NOT_UPLOADED, _NOT_PROCESSED, _UNFINISHED = (
    "Not uploaded",
    "Uploaded, but could not be processed",
    "Uploaded, but not seen to become READY",
)
_MORE = "All sizes and formats: --urls, or as JSON: --json."


async def upload_photos(
    client: MediaClient,
    photos: Sequence[Path],
    *,
    purpose: str,
    private: bool,
    details: FileDetails,
    titles_from_names: bool,
    all_urls: bool,
    as_json: bool,
) -> int:
    """Upload, print what became of each photo, and return the exit code: 1 if any failed.

    A line of text and one URL a photo; the table of its renditions instead with `all_urls`.
    """
    problems = problem_console()
    with _bars(problems, photos) as on_progress:
        async with client:
            results = await client.upload(
                photos,
                purpose=purpose,
                visibility="PRIVATE" if private else None,
                details=details,
                titles_from_names=titles_from_names,
                on_progress=on_progress,
            )
    if as_json:
        for result in results:
            typer.echo(json_line(_described(result)))
    else:
        _print_media(result_console(), results, all_urls=all_urls)
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


def _print_media(console: Console, results: Sequence[UploadResult], *, all_urls: bool) -> None:
    ready = [(result, result.media) for result in results if result.media is not None]
    for result, media in ready:
        console.print(Text(f"{shown(result.path)}  {media.status}  {result.media_id}", style="bold"))
        if all_urls:
            print_table(console, _HEADINGS, map(_row, media.renditions))
        else:
            console.print(Text(min(media.renditions, key=_unlike_display).url))
    if ready and not all_urls:
        console.print(_MORE)


def _unlike_display(rendition: Rendition) -> tuple[bool, bool]:
    """Least for the picture that every viewer can show at a fair size."""
    return rendition.name != "FEED", rendition.format != "JPEG"


def _row(rendition: Rendition) -> tuple[str, ...]:
    pixels = f"{rendition.width} x {rendition.height}"
    return rendition.name, rendition.format, pixels, human_size(rendition.byte_size), rendition.url


def _print_failures(console: Console, results: Sequence[UploadResult]) -> None:
    """One paragraph for each different failure: a wrong token is not worth twenty."""
    failed: dict[tuple[str, str], list[str]] = {}
    for result in results:
        if (error := result.error) is not None:
            verdict = _verdict(error, is_sent=result.is_sent)
            again = " Trying again may help." if error.retryable and verdict != _UNFINISHED else ""
            name = f"{shown(result.path)} (id {result.media_id})" if result.is_sent else shown(result.path)
            failed.setdefault((verdict, f"{error.code}: {error.message}{again}"), []).append(name)
    for (verdict, reason), names in failed.items():
        console.print(Text(f"{verdict}: {', '.join(names)}\n  {reason}", style="red"))


def _verdict(error: ClientError, *, is_sent: bool) -> str:
    if not is_sent:
        return _NOT_UPLOADED
    return _NOT_PROCESSED if isinstance(error, NotReady) and error.code != STILL_PROCESSING else _UNFINISHED


def _described(result: UploadResult) -> Mapping[str, Any]:
    described: dict[str, Any] = {"file": shown(result.path), "id": result.media_id}
    if result.media is not None:
        renditions = [rendition.as_json() for rendition in result.media.renditions]
        return {**described, "status": result.media.status, "renditions": renditions}
    return {**described, "error": None if result.error is None else describe_error(result.error)}


def describe_error(error: ClientError) -> Mapping[str, Any]:
    """An error as JSON for scripts."""
    return {"code": error.code, "message": error.message, "retryable": error.retryable}
