"""A folder in memory for what servers of a run of the suite store: nothing in it has to outlive the machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
# Followed by the process that made it.
SERVER_FOLDERS = "media-servers-"
# What two processes' servers have stored at the end, and as much again.
_ROOM = 6 * 1024**3


def has_room(folder: Path) -> bool:
    """Whether `folder` is there, may be written to, and has room for a whole run. Containers often have 64 MB."""
    return folder.is_dir() and os.access(folder, os.W_OK) and shutil.disk_usage(folder).free >= _ROOM


def remove_abandoned(folder: Path) -> None:
    """Remove what runs left there that were killed: memory would hold it until the machine is started anew."""
    for left in folder.glob(f"{SERVER_FOLDERS}*"):
        process = left.name.removeprefix(SERVER_FOLDERS).partition("-")[0]
        if process.isdigit() and not Path("/proc", process).exists():
            shutil.rmtree(left, ignore_errors=True)
