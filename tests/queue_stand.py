"""Upload queues on disk, filled and drained against `tests.client_stand`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from service.client import Progress, QueuedFile, UploadQueue, UploadResult
from tests.client_stand import PART_BYTES, UploadStand
from tests.photos import small_photo

# Three parts, the last one short; and a file that goes up whole.
LARGE = (small_photo() * 5)[: 2 * PART_BYTES + 300]
SMALL = small_photo()[:900]


def written(folder: Path, *bodies: bytes) -> list[Path]:
    paths = [folder / f"{number}.jpg" for number in range(len(bodies))]
    for path, body in zip(paths, bodies, strict=True):
        path.write_bytes(body)
    return paths


async def enqueued(file: Path, *photos: Path, **more: Any) -> None:
    async with UploadQueue(file) as queue:
        await queue.enqueue(photos, purpose="COMMUNITY", **more)


async def drained(
    stand: UploadStand,
    file: Path,
    *,
    lease_s: float = 10,
    network: str = "WIFI",
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> list[UploadResult]:
    async with UploadQueue(file, lease_s=lease_s) as queue, stand.client(network=network) as client:
        return await queue.run(client, on_progress=on_progress)


async def left_in(file: Path) -> list[QueuedFile]:
    async with UploadQueue(file) as queue:
        return await queue.status()
