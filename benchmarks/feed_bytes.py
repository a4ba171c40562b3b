"""Bytes of the pictures of a feed, as `display(hint)` chooses them, against everybody's FULL JPEG.

`python -m benchmarks.feed_bytes`. Twenty photos go through the pipeline: the samples as they are, and photos of three
megapixels made of them, lying and upright. What is chosen is what the service would choose; seconds are estimated.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from benchmarks.images.ours import request_for
from benchmarks.images.scenes import SAMPLES, photo
from schema.values import DisplayHint
from service.display import choose_for_slot
from service.documents import RenditionDocument
from service.models import MediaFormat, NetworkQuality, RenditionName
from service.processing import pipeline
from service.processing.work import Work

PICTURES = 20
LYING, UPRIGHT = (2016, 1512), (1512, 2016)
JPEG_ONLY, MODERN = (MediaFormat.JPEG,), (MediaFormat.AVIF, MediaFormat.WEBP)

# Upper bounds of the Network Information API's effective types, and what is usual beyond them, in kbit/s.
SPEEDS = {
    NetworkQuality.SLOW_2G: 50,
    NetworkQuality.TWO_G: 70,
    NetworkQuality.THREE_G: 700,
    NetworkQuality.FOUR_G: 9_000,
    NetworkQuality.FIVE_G: 60_000,
    NetworkQuality.WIFI: 40_000,
}


@dataclass(frozen=True, slots=True)
class Device:
    name: str
    css_pixels: int
    ratio: float


DEVICES = (
    Device("phone, 360 px, 3 x", 360, 3),
    Device("phone, 360 px, 2 x", 360, 2),
    Device("grid, 100 px, 2 x", 100, 2),
)


def photos() -> Iterator[tuple[str, bytes]]:
    """Content types and files."""
    samples = sorted(SAMPLES.glob("*.jpg"))
    for path in samples:
        yield "image/jpeg", path.read_bytes()
    yield "image/heic", (SAMPLES / "whiskers.heic").read_bytes()
    made = list(product((LYING, UPRIGHT, LYING), samples))[: PICTURES - len(samples) - 1]
    for seed, (size, path) in enumerate(made):
        buffer = io.BytesIO()
        photo(path.name, *size, seed=seed).save(buffer, "JPEG", quality=92)
        yield "image/jpeg", buffer.getvalue()


def renditions_of(content_type: str, file: bytes) -> list[RenditionDocument]:
    """Every still that a community photo gets, as its document lists it."""
    work = Work(io.BytesIO(file), request_for(content_type, "nine"))
    for step in pipeline.STEPS:
        step(work)
    return [
        RenditionDocument(
            name=each.name.value,
            format=each.format.value,
            width=each.width,
            height=each.height,
            bytes=len(each.body),
            key="",
            sha256="",
        )
        for each in work.renditions
    ]


def naive_bytes(feed: Sequence[list[RenditionDocument]]) -> int:
    return sum(
        each["bytes"]
        for stored in feed
        for each in stored
        if (each["name"], each["format"]) == (RenditionName.FULL, MediaFormat.JPEG)
    )


def chosen_for(feed: Sequence[list[RenditionDocument]], hint: DisplayHint) -> list[RenditionDocument]:
    chosen = (choose_for_slot(stored, hint.slot) for stored in feed)
    return [each for each in chosen if each is not None]


def sizes_of(chosen: Sequence[RenditionDocument]) -> str:
    """Which renditions they are and how wide: fewer bytes of a smaller picture are no saving but a choice."""
    counts = Counter(each["name"] for each in chosen)
    widths = {name: sorted({each["width"] for each in chosen if each["name"] == name}) for name in counts}
    return ", ".join(
        f"{count} {name} ({'-'.join(map(str, dict.fromkeys((widths[name][0], widths[name][-1]))))} px)"
        for name, count in counts.most_common()
    )


def main() -> None:
    pipeline.warm_up()
    feed = [renditions_of(*each) for each in photos()]
    naive = naive_bytes(feed)
    print(f"{len(feed)} pictures; FULL as JPEG for everybody: {naive / 1000:,.0f} kB\n")
    print(f"{'slot':20} {'accepts':12} {'network':9} {'kB':>7} {'of naive':>9} {'seconds':>8} {'naive':>7}  shown")
    for device, accept, (network, kbits) in product(DEVICES, (JPEG_ONLY, MODERN), SPEEDS.items()):
        hint = DisplayHint(
            width=device.css_pixels, device_pixel_ratio=device.ratio, accept=list(accept), network=network
        )
        chosen = chosen_for(feed, hint)
        size = sum(each["bytes"] for each in chosen)
        formats = "JPEG" if accept is JPEG_ONLY else "AVIF, WebP"
        print(
            f"{device.name:20} {formats:12} {network:9} {size / 1000:7,.0f} {size / naive:8.0%} "
            f"{size * 8 / 1000 / kbits:8.1f} {naive * 8 / 1000 / kbits:7.1f}  {sizes_of(chosen)}"
        )


if __name__ == "__main__":
    main()
