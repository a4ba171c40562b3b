"""Wall clocks of single processes that go wrong while they run, by a library that is built here and preloaded."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("skewed_clock.c")


def build_clock(folder: Path) -> Path | None:
    """The library that is to be preloaded, built in `folder`; None where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    library = folder / "skewed_clock.so"
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True, timeout=60)
    return library


class SkewedClock:
    """The clock of one process, kept over its restarts; right until told otherwise."""

    def __init__(self, library: Path, file: Path) -> None:
        self._library, self._file = library, file
        self.skew(0)

    @property
    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self._library), "CHAOS_CLOCK": str(self._file)}

    def skew(self, seconds: float) -> None:
        """From now on it is so many seconds ahead, or behind if negative."""
        content = struct.pack("q", int(seconds * 1e9))
        if not self._file.exists():
            self._file.write_bytes(content)
            return
        # In place: the process has it mapped.
        with self._file.open("r+b") as file:
            file.write(content)
