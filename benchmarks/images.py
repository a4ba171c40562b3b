"""What a 12-megapixel phone photo costs, against plain Pillow in the same run: `python -m benchmarks.images`."""

from __future__ import annotations

import asyncio
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import imagehash
import thumbhash
from PIL import Image, ImageOps

from service.models import MediaPurpose
from service.policies import POLICIES
from service.processing import pipeline
from service.processing.jail import Jail
from service.processing.wire import ProcessingRequest

ROUNDS = 5
REQUEST = ProcessingRequest(content_type="image/jpeg", renditions=POLICIES[MediaPurpose.COMMUNITY].renditions)


@dataclass(frozen=True)
class Cost:
    cpu_s: float
    peak_mb: float
    bytes: int


def ours(original: Path) -> int:
    """The pipeline, without its jail."""
    reply = io.BytesIO()
    with original.open("rb") as source:
        pipeline.run(source, REQUEST.model_dump_json().encode(), reply)
    return len(reply.getvalue())


def plain_pillow(original: Path) -> int:
    """The same outputs, written as most people would: decode in full, resize each from the whole, default settings."""
    total = 0
    with Image.open(original) as opened:
        upright = ImageOps.exif_transpose(opened).convert("RGB")
    for side in (200, 720, 1080):
        picture = upright.copy()
        if side == 200:
            picture = ImageOps.fit(picture, (side, side), Image.Resampling.LANCZOS)
        else:
            picture.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=None)
        for container in ("JPEG", "WEBP"):
            encoded = io.BytesIO()
            picture.save(encoded, container, quality=75)
            total += len(encoded.getvalue())
    thumbhash.image_to_thumb_hash(str(original))
    imagehash.phash(upright)
    return total


def cost_of(work: Callable[[Path], int], original: Path) -> Cost:
    """CPU and the growth of resident memory, in a forked child of its own; median of the rounds."""
    costs = []
    for _ in range(ROUNDS):
        readable, writable = os.pipe()
        pid = os.fork()
        if pid == 0:
            before = time.process_time()
            size = work(original)
            os.write(writable, f"{time.process_time() - before} {size}".encode())
            os._exit(0)
        _, _, usage = os.wait4(pid, 0)
        cpu_s, size_text = os.read(readable, 100).split()
        os.close(readable)
        os.close(writable)
        costs.append(Cost(float(cpu_s), usage.ru_maxrss / 1_000, int(size_text)))
    return Cost(
        statistics.median(cost.cpu_s for cost in costs),
        statistics.median(cost.peak_mb for cost in costs),
        costs[0].bytes,
    )


async def jailed(originals: dict[str, Path]) -> None:
    async with Jail(memory_bytes=1_500_000_000, cpu_s=20) as jail:
        for name, path in originals.items():
            times = []
            for _ in range(3 * ROUNDS):
                start = time.perf_counter()
                await jail.process(path, REQUEST)
                times.append(time.perf_counter() - start)
            print(f"  {name:<28} {1e3 * statistics.median(times):7.0f} ms until every rendition is back")


def make(name: str, folder: Path) -> Path:
    """In a process of its own, so that drawing the picture does not count as memory of those that read it."""
    path = folder / name
    script = f"import tests.photos as p, pathlib; pathlib.Path({str(path)!r}).write_bytes(p.{name}())"
    subprocess.run([sys.executable, "-c", script], check=True)
    return path


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        phone, small = (make(name, Path(scratch)) for name in ("phone_photo", "small_photo"))
        pipeline.warm_up()
        naive, own = cost_of(plain_pillow, phone), cost_of(ours, phone)
        print(
            f"12-megapixel JPEG of {phone.stat().st_size / 1e6:.1f} MB to 3 sizes x 2 formats, placeholder and hashes:"
        )
        for name, cost in (("plain Pillow", naive), ("the pipeline", own)):
            print(f"  {name:<28} {cost.cpu_s:7.2f} CPU s {cost.peak_mb:6.0f} MB at peak {cost.bytes / 1e3:6.0f} kB out")
        print(f"  ratio {naive.cpu_s / own.cpu_s:28.1f} x CPU {naive.peak_mb / own.peak_mb:8.1f} x memory")
        print("Through the jail:")
        asyncio.run(jailed({"12 megapixels": phone, "320 x 240": small}))


if __name__ == "__main__":
    main()
