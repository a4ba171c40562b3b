"""Draws how times grow with the number of media: `python -m benchmarks.search.curve LEVELS.json PICTURE.png`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

LOOK_ALIKES = {f"similar_{each}": f"over HTTP, within {each}" for each in (3, 6, 8, 10)}
LISTS = {
    "feed_1000": "over HTTP: feed, page 1,000",
    "owner": "over HTTP: owner's list",
    "subject": "over HTTP: subject's list",
    "tag": "over HTTP: tag",
    "label": "over HTTP: label and confidence",
}


def _line(axes: Axes, levels: Sequence[Any], values: Sequence[Any], label: str, style: str) -> None:
    axes.plot([level["count"] for level in levels], values, style, label=label, markersize=4, linewidth=1.5)


def _finish(axes: Axes, title: str, unit: str) -> None:
    axes.set(xscale="log", yscale="log", title=title, xlabel="media", ylabel=unit)
    axes.grid(visible=True, which="major", alpha=0.4)
    axes.legend(fontsize=7.5)


def draw(levels: Sequence[Any], path: Path) -> None:
    """Times of look-alikes and of lists, and the index keys examined for look-alikes, all in logarithmic scales."""
    figure, (alikes, keys, lists) = plt.subplots(1, 3, figsize=(13, 4.6), layout="constrained")
    for name, label in LOOK_ALIKES.items():
        rows = [level["asked"][name] for level in levels]
        _line(alikes, levels, [row["times"]["p50"] for row in rows], label, "o-")
        _line(keys, levels, [max(row["work"]["keys"], 1) for row in rows], label, "o-")
    held = [level["asked"]["similar_10_memory"]["times"]["p50"] for level in levels]
    _line(alikes, levels, held, "over HTTP, within 10, hashes in memory", "s--")
    _line(
        alikes, levels, [level["naive"]["p50"] for level in levels], "driver alone: aggregation that counts bits", "k:"
    )
    scan = [level["peers"][0]["at"]["10"]["p50"] for level in levels]
    _line(alikes, levels, scan, "numpy alone, over hashes in memory", "k--")
    for name, label in LISTS.items():
        _line(lists, levels, [level["asked"][name]["times"]["p50"] for level in levels], label, "o-")
    _line(
        lists,
        levels,
        [level["pages"]["skip"]["p50"] for level in levels],
        "driver alone: page 1,000 by skip and limit",
        "k:",
    )
    _finish(alikes, "Look-alikes", "p50, ms")
    _finish(keys, "Look-alikes, over HTTP", "index keys examined")
    _finish(lists, "Lists", "p50, ms")
    alikes.set_ylim(top=5e6)
    lists.set_ylim(0.5, 100)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
