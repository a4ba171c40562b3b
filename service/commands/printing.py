"""How commands print: results on stdout, for people or as JSON; progress and problems on stderr."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import orjson
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

_GAP = "  "


def result_console() -> Console:
    """stdout. Lines stay whole: a terminal wraps a long URL itself, and copies it in one piece."""
    return Console(highlight=False, soft_wrap=True)


def problem_console() -> Console:
    """stderr."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def print_table(console: Console, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Rows under bold headings, each column as wide as it needs to be."""
    lines = [[printable(cell) for cell in row] for row in (headings, *rows)]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    for number, line in enumerate(lines):
        padded = _GAP.join(set_cell_size(cell, width) for cell, width in zip(line, widths, strict=True))
        console.print(Text(padded.rstrip(), style="" if number else "bold"))


def printable(text: str) -> str:
    """What others wrote, on one line and without the characters that steer a terminal."""
    return "".join(each if each.isprintable() else "?" for each in " ".join(text.split()))


def json_line(value: object) -> str:
    """One line of JSON."""
    return orjson.dumps(value).decode()


def counted(number: int, one: str, several: str | None = None) -> str:
    """How many there are of what: `1 hold`, `1,200 holds`. `several`: what does not end with an s."""
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"


def human_size(byte_size: int) -> str:
    """Bytes in decimal units, as shops count them."""
    size = float(byte_size)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
