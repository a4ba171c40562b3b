"""What every contestant is asked for, and how it is measured: the same in each process.

Knows no library that decodes, so that whoever imports it loads none.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

# Longer side in pixels, and whether the picture is cropped to a square; largest first.
SIZES: Final = ((1080, False), (720, False), (200, True))
URGENT_SIZES: Final = SIZES[1:]
FORMATS: Final[dict[str, tuple[str, ...]]] = {
    "first": ("jpeg",),
    "six": ("jpeg", "webp"),
    "nine": ("jpeg", "webp", "avif"),
}
# Our own stand in `service.processing.encoding`: for JPEG 76, by other tables, with fewer bytes and as good.
QUALITY: Final = {"jpeg": 75, "webp": 75, "avif": 58}

Outputs = dict[str, bytes]
Work = Callable[[Path, str], Outputs]


def sizes_of(task: str) -> tuple[tuple[int, bool], ...]:
    """Which sizes `task` wants."""
    return URGENT_SIZES if task == "first" else SIZES


def contest(work: Work, tool: str) -> None:
    """Measure `work` on the photo named on the command line, and print the figures as JSON.

    Arguments: photo, task, a tiny photo to warm up with, a folder for the outputs. The peak is the growth of resident
    memory over what the warmed process held.
    """
    photo, task, tiny, folder = sys.argv[1:5]
    work(Path(tiny), task)
    start_kb = _restarted_peak_kb()
    cpu, wall = _cpu_s(), time.perf_counter()
    outputs = work(Path(photo), task)
    wall, cpu = time.perf_counter() - wall, _cpu_s() - cpu
    peak_kb = _status_kb("VmHWM")
    for name, body in outputs.items():
        (Path(folder) / name).write_bytes(body)
    figures = {"tool": tool, "cpu_s": cpu, "wall_s": wall, "start_mb": start_kb / 1e3, "peak_mb": peak_kb / 1e3}
    print(json.dumps(figures))


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _restarted_peak_kb() -> int:
    # 5 restarts the high-water mark (proc(5)).
    Path("/proc/self/clear_refs").write_text("5")
    return _status_kb("VmRSS")


def _status_kb(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))
