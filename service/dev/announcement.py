"""What the person who started the stack reads: one banner with every address."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from service.dev.folder import URLS


def announce(console: Console, urls: Mapping[str, str], folder: Path) -> None:
    """Print the banner."""
    table = Table.grid(padding=(0, 2))
    for label, name in (
        ("Demo page", "demo"),
        ("GraphQL and GraphiQL", "graphql"),
        ("Edge (CDN)", "edge"),
        ("S3", "s3"),
    ):
        table.add_row(f"[bold]{label}[/]", f"[link={urls[name]}]{urls[name]}[/link]")
    table.add_row("")
    table.add_row("For scripts", f"{folder / URLS} (addresses and tokens)")
    table.add_row("Logs", str(folder / "logs"))
    table.add_row("Stop", "Ctrl-C; the data stays")
    console.print(Panel(table, title="The media service is ready", border_style="green", expand=False))
