"""How long a picture takes through the jail, until its renditions are back: `python -m benchmarks.jail`."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks.images.ours import request_for
from service.processing.jail import Jail
from tests import photos

ROUNDS: Final = 15
TASKS: Final = {"first": "200 and 720 in JPEG", "six": "200, 720 and 1080 in JPEG and WebP"}


async def measure(originals: dict[str, Path]) -> None:
    """Print the median of each task on each original, one job at a time."""
    async with Jail(memory_bytes=1_500_000_000, cpu_s=20) as jail:
        for name, path in originals.items():
            for task, outputs in TASKS.items():
                times = []
                for _ in range(ROUNDS):
                    start = time.perf_counter()
                    await jail.process(path, request_for("image/jpeg", task))
                    times.append(time.perf_counter() - start)
                print(f"{name:<14} {outputs:<36} {1e3 * statistics.median(times):5.0f} ms")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        originals = {"12 megapixels": Path(folder, "large.jpg"), "320 x 240": Path(folder, "small.jpg")}
        originals["12 megapixels"].write_bytes(photos.phone_photo())
        originals["320 x 240"].write_bytes(photos.small_photo())
        asyncio.run(measure(originals))


if __name__ == "__main__":
    main()
