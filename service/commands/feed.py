"""`feed`: a page of READY media, with the picture that fits the slot."""

from __future__ import annotations

import typer
from rich.text import Text

from service.client import DisplayHint, FeedPage, MediaClient
from service.client.answers import FeedMedia
from service.commands.outages import telling_outages
from service.commands.printing import human_size, json_line, print_table, problem_console, result_console

_HEADINGS = ("ID", "Created", "Owner", "Title", "Pixels", "Length", "Display", "Bytes", "URL")


async def show_feed(
    client: MediaClient, *, purpose: str, first: int, after: str | None, hint: DisplayHint | None, as_json: bool
) -> None:
    """Print one page and, if there is another, its cursor. Raises ClientError."""
    client.on_outage = telling_outages(problem_console())
    async with client:
        page = await client.feed(purpose=purpose, first=first, after=after, hint=hint)
    if as_json:
        typer.echo(json_line(page.as_json()))
    else:
        _print_page(page)


def _print_page(page: FeedPage) -> None:
    console = result_console()
    if not page.media:
        console.print("Nothing here yet.")
        return
    print_table(console, _HEADINGS, map(_row, page.media))
    if page.next_cursor is not None:
        console.print(Text(f"There is more: --after {page.next_cursor}"))


def _row(media: FeedMedia) -> tuple[str, ...]:
    created = media.created_at.strftime("%Y-%m-%d %H:%M:%S")
    pixels = f"{media.width} x {media.height}" if media.width else ""
    shown = media.display
    facts = media.id, created, media.owner_id, media.title or "", pixels, _length(media.duration_ms)
    if shown is None:
        return *facts, "", "", ""
    display = f"{shown.name} {shown.format} {shown.width} x {shown.height}"
    return *facts, display, human_size(shown.byte_size), shown.url


def _length(duration_ms: int | None) -> str:
    """Of what moves, in minutes and seconds, begun ones counted."""
    if duration_ms is None:
        return ""
    minutes, seconds = divmod(-(-duration_ms // 1000), 60)
    return f"{minutes}:{seconds:02}"
