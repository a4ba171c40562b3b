"""The figures as Markdown, and whether what must hold holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from benchmarks.feed.report import table
from benchmarks.search.questions import DISTANCES

Level = Mapping[str, Any]


def report(levels: Sequence[Level]) -> str:
    """Everything measured, of the greatest population first of all."""
    top = levels[-1]
    parts = [
        f"{top['count']:,} media; {top['machine']}",
        answers(top),
        exactness(top),
        *(against(level) for level in levels[-2:]),
        paging(top),
        index_sizes(top),
        loading(levels),
        growth(levels),
    ]
    return "\n\n".join(parts)


# Of fewer these percentiles are one of the worst few.
_ENOUGH_FOR_P95: Final = 100
_ENOUGH_FOR_P99: Final = 500


def _spread(times: Mapping[str, Any]) -> str:
    p95 = f"{times['p95']:.1f}" if times["count"] >= _ENOUGH_FOR_P95 else "-"
    p99 = f"{times['p99']:.1f}" if times["count"] >= _ENOUGH_FOR_P99 else "-"
    return f"{times['p50']:.1f}, {p95}, {p99}, {times['worst']:.1f} of {times['count']}"


def answers(level: Level) -> str:
    """Each kind of question: how long its answers take over HTTP, and what MongoDB looks at for one."""

    def line(row: Mapping[str, Any]) -> list[str]:
        work = row["work"]
        if work is None:
            return [row["title"], _spread(row["times"]), "", "", "", "", ""]
        counts = [f"{work[name]:,.1f}" for name in ("queries", "keys", "documents", "returned")]
        return [row["title"], _spread(row["times"]), *counts, work["index"]]

    head = [
        "A request over HTTP",
        "p50, p95, p99, most ms of how many",
        "Queries",
        "Keys examined",
        "Documents",
        "Returned",
        "Read from",
    ]
    return table(head, map(line, level["asked"].values()))


def exactness(level: Level) -> str:
    """Answers beside brute force."""
    return table(
        ["Within", "Asked", "Most media within", "Expected, 100 a question at most", "Missed", "Wrong"],
        (
            [
                str(each),
                *(f"{level['exact'][str(each)][name]:,}" for name in ("asked", "most", "expected", "missed", "wrong")),
            ]
            for each in DISTANCES
        ),
    )


def against(level: Level) -> str:
    """Ours, with rights, documents and HTTP, beside what only finds; times in ms and how often ours fits in them."""
    ours = {each: level["asked"][f"similar_{each}"]["times"]["p50"] for each in DISTANCES}

    def cell(p50: float, distance: int, recall: float, wrong: int) -> str:
        exact = "" if recall == 1 else f", finds {recall:.1%}"
        exact += f", {wrong} wrong" if wrong else ""
        return f"{p50:.2f} ({p50 / ours[distance]:.2g} x){exact}"

    memory = [level["asked"][f"similar_{each}_memory"]["times"]["p50"] for each in DISTANCES]
    rows = [
        ["ours, over HTTP", *(f"{ours[each]:.1f}" for each in DISTANCES), "", ""],
        [
            "ours, over HTTP, hashes in memory",
            *(f"{p50:.1f} ({p50 / ours[each]:.2g} x)" for each, p50 in zip(DISTANCES, memory, strict=True)),
            "",
            "",
        ],
    ]
    for peer in level["peers"]:
        told = [(each, peer["at"][str(each)]) for each in DISTANCES]
        cells = (cell(found["p50"], each, found["recall"], found["wrong"]) for each, found in told)
        size = f"{peer['bytes'] / 1e6:,.0f} MB" if peer["bytes"] else ""
        rows.append([peer["name"], *cells, f"{peer['build_s']:.1f} s", size])
    naive = level["naive"]["p50"]
    rows.append(
        [
            "aggregation that counts bits of every hash",
            *(f"{naive:,.0f} ({naive / ours[each]:,.0f} x)" for each in DISTANCES),
            "",
            "",
        ]
    )
    return table([f"{level['count']:,} media: p50 ms within", *map(str, DISTANCES), "Built in", "Memory"], rows)


def paging(level: Level) -> str:
    """The page far into the feed, by the driver alone."""
    keyset, skip = level["pages"]["keyset"], level["pages"]["skip"]
    return table(
        [f"Page {level['page']:,} of the feed, by the driver alone", "p50, p95, p99, most ms of how many", ""],
        [
            ["after a cursor", _spread(keyset), "1.0 x"],
            ["skip and limit", _spread(skip), f"{skip['p50'] / keyset['p50']:,.0f} x"],
        ],
    )


def index_sizes(level: Level) -> str:
    """Bytes of each index, the largest first."""

    def lines() -> Iterator[list[str]]:
        for collection, stats in level["sizes"].items():
            if not stats["count"]:
                continue
            used = sum(stats["indexSizes"].values())
            yield [
                f"`{collection}`",
                f"{stats['count']:,} of {stats['avgObjSize']:,} bytes",
                f"{stats['storageSize'] / 1e6:,.1f}",
            ]
            yield [f"`{collection}`, all indexes", "", f"{used / 1e6:,.1f}"]
            for name, size in sorted(stats["indexSizes"].items(), key=lambda each: -each[1]):
                yield [f"`{collection}.{name}`", f"{size / stats['count']:,.1f} bytes a document", f"{size / 1e6:,.1f}"]

    return table(["", "", "MB"], lines())


def loading(levels: Sequence[Level]) -> str:
    """What it takes to write each population."""

    def line(level: Level) -> list[str]:
        loaded = level["loaded"]
        how = "written by two processes" if level is levels[-1] else "copied by the server"
        return [
            f"{loaded['count']:,}, {how}",
            f"{loaded['insert_s']:,.1f}",
            f"{loaded['index_s']:,.1f}",
            f"{loaded['indexed_per_s']:,.0f}",
        ]

    head = ["Media", "Documents, s", "All indexes afterwards, s", "Media/s with all indexes, majority, journaled"]
    return table(head, map(line, levels))


def growth(levels: Sequence[Level]) -> str:
    """p50 in ms of each kind, and the keys examined for it, with ever more media."""

    def line(name: str, title: str) -> list[str]:
        rows = [level["asked"][name] for level in levels]
        return [title, *(f"{row['times']['p50']:.1f} ({row['work']['keys']:,.0f})" for row in rows)]

    head = ["p50 ms (keys examined)", *(f"{level['count']:,}" for level in levels)]
    named = [(name, row["title"]) for name, row in levels[-1]["asked"].items() if row["work"] is not None]
    return table(head, [line(name, title) for name, title in named if all(name in level["asked"] for level in levels)])


def failures(levels: Sequence[Level]) -> list[str]:
    """What must hold and does not: every look-alike within the distance is found, and nothing else."""
    return [
        f"{level['count']:,} media, within {distance}: {found['missed']} missed, {found['wrong']} wrong"
        for level in levels
        for distance, found in level["exact"].items()
        if found["missed"] or found["wrong"]
    ]
