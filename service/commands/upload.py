"""`upload`: photos go up with a progress bar each, and signed URLs come back."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.text import Text

from service.client import (
    ClientError,
    FileDetails,
    MediaClient,
    NotReady,
    Progress,
    Rendition,
    UnusableQueue,
    UploadQueue,
    UploadResult,
    see_complete,
    see_ready,
)
from service.client.errors import NOT_FOUND
from service.client.local_file import shown
from service.client.queue_rows import SENT
from service.client.readiness import STILL_PROCESSING
from service.client.tracking import OnProgress
from service.commands.outages import telling_outages
from service.commands.printing import human_size, json_line, print_table, problem_console, result_console

_HEADINGS = ("Rendition", "Format", "Pixels", "Bytes", "URL")
_NOT_UPLOADED, _NOT_PROCESSED, _UNFINISHED = (
    "Not uploaded",
    "Uploaded, but could not be processed",
    "Uploaded, but not seen to become READY",
)
_WAITING = "Trying again until it does; Ctrl-C ends that, the queue is kept."
_MORE = "All sizes and formats: --all, or as JSON: --json."
_INCOMPLETE = "Not all sizes and formats are there yet; the rest follows without any help."
# What is shown first has been waited for by then.
_PATIENCE_FOR_ALL_S = 120


@dataclass(frozen=True, slots=True)
class Order:
    """What is to become of the photos."""

    purpose: str
    private: bool
    details: FileDetails
    titles_from_names: bool

    @property
    def visibility(self) -> str | None:
        """As the API wants it; None leaves it to the purpose."""
        return "PRIVATE" if self.private else None


async def upload_photos(
    client: MediaClient, photos: Sequence[Path], order: Order, *, all_urls: bool, as_json: bool
) -> int:
    """Upload, print what became of each photo, and return the exit code: 1 if any failed.

    A line of text and one URL a photo; with `all_urls` the table of its renditions instead, once all are there.
    """
    console = problem_console()
    client.on_outage = telling_outages(console)
    with _bars(console, photos) as on_progress:
        async with client:
            results = await client.upload(
                photos,
                purpose=order.purpose,
                visibility=order.visibility,
                details=order.details,
                titles_from_names=order.titles_from_names,
                on_progress=on_progress,
            )
            if all_urls or as_json:
                results = await see_complete(client, results, patience_s=_PATIENCE_FOR_ALL_S)
    _print_results(results, all_urls=all_urls, as_json=as_json)
    return _exit_code(results)


async def upload_queued(
    client: MediaClient, photos: Sequence[Path], order: Order, queue_file: Path, *, all_urls: bool, as_json: bool
) -> int:
    """Queue the photos, upload all that waits in the queue, and print what became of it, as `upload_photos` does.

    What failed in an earlier run is tried again; what would fail for ever is told once, and taken out of the queue.
    Raises ClientError; the queue is kept.
    """
    if not photos and not await anyio.Path(queue_file).exists():
        raise UnusableQueue(f"There is no queue {shown(queue_file)}; name the photos to put into one.")
    async with client, UploadQueue(queue_file) as queue:
        await queue.retry()
        await queue.enqueue(
            photos,
            purpose=order.purpose,
            visibility=order.visibility,
            details=order.details,
            titles_from_names=order.titles_from_names,
        )
        console = problem_console()
        client.on_outage = telling_outages(console, then=_WAITING)
        waiting = await queue.status()
        # Sent by a run that was interrupted before it could say what became of them.
        earlier = [UploadResult(each.path, each.media_id, is_sent=True) for each in waiting if each.status == SENT]
        with _bars(console, [entry.path for entry in waiting]) as on_progress:
            sent = await queue.run(client, keep_sent=True, on_progress=on_progress)
            results = await see_ready(client, [*earlier, *sent], on_progress=on_progress)
            if all_urls or as_json:
                results = await see_complete(client, results, patience_s=_PATIENCE_FOR_ALL_S)
        _print_results(results, all_urls=all_urls, as_json=as_json)
        if not as_json and not results:
            result_console().print("Nothing was waiting.")
        await _take_out_told(queue, results)
        await _take_out_final(queue, console)
        left = len(await queue.status())
    if left:
        console.print(Text(f"{left} stay in the queue. To try again: {resuming(queue_file)}"))
    return _exit_code(results)


async def _take_out_told(queue: UploadQueue, results: Sequence[UploadResult]) -> None:
    """Remove what was sent and has ended, whichever way; for the rest the next run looks again."""
    told = {result.media_id for result in results if result.media is not None or _has_ended_badly(result.error)}
    sent = [entry for entry in await queue.status() if entry.status == SENT]
    await queue.forget([entry.id for entry in sent if entry.media_id in told])


def _has_ended_badly(error: ClientError | None) -> bool:
    is_end = isinstance(error, NotReady) and error.code != STILL_PROCESSING
    return is_end or (error is not None and error.code == NOT_FOUND)


async def _take_out_final(queue: UploadQueue, console: Console) -> None:
    """Remove what no later run could upload; only now that it was told why."""
    final = [entry for entry in await queue.status() if entry.is_final]
    if final:
        await queue.forget([entry.id for entry in final])
        names = ", ".join(shown(entry.path) for entry in final)
        console.print(Text(f"Taken out of the queue, no later try would do better: {names}"))


def resuming(queue_file: Path) -> str:
    """The command that goes on with a queue."""
    return f"python -m service upload --queue {shlex.quote(shown(queue_file))}"


def interrupted(queue_file: Path | None) -> str:
    """What to say to somebody who has pressed Ctrl-C."""
    if queue_file is not None:
        return f"Interrupted. What was sent is kept; to go on: {resuming(queue_file)}"
    return (
        "Interrupted. The same command goes on: photos that had gone up are not sent again, and of a large one that "
        "was on its way only the missing parts. With --queue FILE it would also wait while there is no network."
    )


def _exit_code(results: Sequence[UploadResult]) -> int:
    return int(any(result.error is not None for result in results))


def _print_results(results: Sequence[UploadResult], *, all_urls: bool, as_json: bool) -> None:
    if as_json:
        for result in results:
            typer.echo(json_line(_described(result)))
    else:
        _print_media(result_console(), results, all_urls=all_urls)
        _print_failures(problem_console(), results)


@contextmanager
def _bars(console: Console, photos: Sequence[Path]) -> Iterator[OnProgress]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[status]}"),
    )
    with Bars(*columns, console=console, disable=not console.is_terminal) as bars:
        tasks: dict[Path, TaskID] = {
            photo: bars.add_task(escape(shown(photo.name)), total=None, status="waiting") for photo in photos
        }

        def show(progress: Progress) -> None:
            # Another process may have put it into the queue meanwhile.
            if (task := tasks.get(progress.path)) is None:
                return
            bars.update(task, status=progress.status.lower())
            # Of a photo that is only followed the size is not told again.
            if progress.byte_size:
                bars.update(task, completed=progress.bytes_sent, total=progress.byte_size)

        yield show


def _print_media(console: Console, results: Sequence[UploadResult], *, all_urls: bool) -> None:
    ready = [(result, result.media) for result in results if result.media is not None]
    for result, media in ready:
        known = "  (already yours, nothing sent)" if result.is_duplicate else ""
        console.print(Text(f"{shown(result.path)}  {media.status}  {result.media_id}{known}", style="bold"))
        if all_urls:
            print_table(console, _HEADINGS, map(_row, media.renditions))
            if not media.renditions_complete:
                console.print(_INCOMPLETE)
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
    described: dict[str, Any] = {"file": shown(result.path), "id": result.media_id, "duplicate": result.is_duplicate}
    if result.media is not None:
        renditions = [rendition.as_json() for rendition in result.media.renditions]
        complete = result.media.renditions_complete
        return {**described, "status": result.media.status, "renditionsComplete": complete, "renditions": renditions}
    return {**described, "error": None if result.error is None else describe_error(result.error)}


def describe_error(error: ClientError) -> Mapping[str, Any]:
    """An error as JSON for scripts."""
    return {"code": error.code, "message": error.message, "retryable": error.retryable}
