"""The figures as Markdown, and whether what must hold holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.feed.measuring import Cell, Cells
from benchmarks.feed.pages import CANNED, UNSIGNED, WILDCARD, Page
from benchmarks.feed.servers import ADVANTAGED, APOLLO, BY_HAND, DOCUMENTED, MERCURIUS, OURS, Row
from benchmarks.feed.wire import Answer

# Of the levels measured, the one that CPU and the aims are taken from.
COMPARED = 8


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def speeds(page: Page, rows: Sequence[Row], cells: Cells, levels: Sequence[int]) -> str:
    """CPU, throughput and latency of each row for one page."""
    head = ["", "CPU ms", "x ours", "mongod ms", *(f"req/s at {each}" for each in levels)]
    head += [f"p50, p99 ms at {each}" for each in levels]
    ours = cells[OURS, page.name, COMPARED].cpu_ms

    def line(row: Row) -> list[str]:
        at = {each: cells[row.title, page.name, each] for each in levels}
        cpu = at[COMPARED]
        return [
            row.title,
            f"{cpu.cpu_ms:.2f}",
            f"{cpu.cpu_ms / ours:.2f}",
            f"{cpu.database_ms:.2f}",
            *(f"{at[each].rate:,.0f}" for each in levels),
            *(f"{at[each].p50_ms:.1f}, {at[each].p99_ms:.1f}" for each in levels),
        ]

    return table(head, [line(row) for row in rows if row.answers(page)])


def weights(answers: Mapping[tuple[str, str, bool], Answer], pages: Sequence[Page], rows: Sequence[Row]) -> str:
    """Bytes of one answer, headers included: plain, and as browsers ask for it."""

    def weight(row: Row, page: Page) -> str:
        plain, asked = (answers[row.title, page.name, compressed] for compressed in (False, True))
        return f"{plain.total:,}, {asked.total:,}{f' ({asked.encoding})' if asked.encoding else ''}"

    return table(
        ["Bytes, plain and as browsers ask", *(page.title for page in pages)],
        ([row.title, *(weight(row, page) for page in pages)] for row in rows),
    )


@dataclass(frozen=True, slots=True)
class Aim:
    """`figure` must reach `bound`; where `at_most`, it must not exceed it. `stretch`: what would be better still."""

    title: str
    figure: float
    bound: float
    stretch: float | None = None
    at_most: bool = False

    @property
    def is_met(self) -> bool:
        return self.figure <= self.bound if self.at_most else self.figure >= self.bound


def aims(cells: Cells, pages: Sequence[Page], driver: str) -> list[Aim]:
    """What must hold of ours, which uses `driver`."""

    def cell(title: str, page: str) -> Cell:
        return cells[title, page, COMPARED]

    def cpu(page: str) -> float:
        return cell(OURS, page).cpu_ms / cell(f"{BY_HAND[driver]}, {ADVANTAGED}", page).cpu_ms

    def rate(page: str, other: str, setting: str) -> float:
        return cell(OURS, page).rate / cell(f"{other}, {setting}", page).rate

    found = [
        Aim(f"CPU to {BY_HAND[driver]}, {ADVANTAGED}; {page.title}", cpu(page.name), 1.2, 0.6, at_most=True)
        for page in pages
    ]
    for other, unsigned, stretch in ((MERCURIUS, 1.5, 3.0), (APOLLO, 3.0, 5.0)):
        found += [
            Aim(f"Throughput to {other}, {each}; signing off", rate(UNSIGNED.name, other, each), unsigned, stretch)
            for each in (DOCUMENTED, ADVANTAGED)
        ]
        found += [
            Aim(f"Throughput to {other}, {DOCUMENTED}; {page.title}", rate(page.name, other, DOCUMENTED), 20)
            for page in (CANNED, WILDCARD)
        ]
    return found


def verdicts(found: Sequence[Aim]) -> str:
    return table(
        [f"At {COMPARED} connections", "Measured", "Must be", "", "Better still"],
        (
            [
                each.title,
                f"{each.figure:.2f} x",
                f"{'at most' if each.at_most else 'at least'} {each.bound:g} x",
                "met" if each.is_met else "missed",
                "" if each.stretch is None else f"{each.stretch:g} x",
            ]
            for each in found
        ),
    )
