"""How much this machine, or the container on it, can do at once: processors and memory that are really ours."""

from __future__ import annotations

import math
import os
from pathlib import Path

# https://docs.kernel.org/admin-guide/cgroup-v2.html: `cpu.max` holds "$MAX $PERIOD", `memory.max` bytes, or "max".
_CGROUP = Path("/sys/fs/cgroup")


def processors(cgroup: Path = _CGROUP) -> int:
    """Processors that this process may use, its container's share of them rounded up."""
    usable = len(os.sched_getaffinity(0))
    quota, _, period = _read(cgroup / "cpu.max").partition(" ")
    if quota.isdecimal() and period.isdecimal() and int(period):
        usable = min(usable, math.ceil(int(quota) / int(period)))
    return max(1, usable)


def memory_bytes(cgroup: Path = _CGROUP) -> int:
    """Memory that this process may use: the machine's, or its container's limit."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _read(cgroup / "memory.max")
    return min(physical, int(limit)) if limit.isdecimal() else physical


def children_at_once(child_bytes: int, cgroup: Path = _CGROUP) -> int:
    """How many decoders may run side by side: one a processor, if each may take `child_bytes` of memory.

    There may be as many more that somebody waits for, and half as many on clips: two fifths of the memory are planned
    with.
    """
    return max(1, min(processors(cgroup), 2 * memory_bytes(cgroup) // (5 * child_bytes)))


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
