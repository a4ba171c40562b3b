"""pyvips as its documentation recommends: `thumbnail`, which shrinks on load; then smaller ones from that in memory."""

from __future__ import annotations

import os
from pathlib import Path

import pyvips

from benchmarks.images.tasks import FORMATS, QUALITY, Outputs, contest, sizes_of

# "same": the CPU that ours gives the encoders of each size; otherwise libvips' own choice, but AVIF as quick as ours:
# by its own choice that alone takes seconds.
_SAME = os.environ.get("EFFORT") == "same"


def libvips(photo: Path, task: str) -> Outputs:
    """The same outputs, without hashes and placeholder."""
    outputs: Outputs = {}
    sizes = sizes_of(task)
    base = pyvips.Image.thumbnail(str(photo), sizes[0][0], size="down").copy_memory()
    for side, crop in sizes:
        if crop:
            picture = base.thumbnail_image(side, height=side, crop="centre").copy_memory()
        else:
            picture = base if side == sizes[0][0] else base.thumbnail_image(side, height=side).copy_memory()
        for name in FORMATS[task]:
            outputs[f"{side}.{name}"] = _encoded(picture, name, side)
    return outputs


def _encoded(picture: pyvips.Image, name: str, side: int) -> bytes:
    quality = QUALITY[name]
    if name == "jpeg":
        return picture.jpegsave_buffer(Q=quality, interlace=True, optimize_coding=True, keep="none")
    if name == "webp":
        return picture.webpsave_buffer(Q=quality, effort=2 if _SAME and side > 200 else 4, keep="none")
    # libheif's speed is 9 less the effort.
    effort = 0 if side > 720 else 1
    return picture.heifsave_buffer(Q=quality, compression="av1", effort=effort, keep="none")


if __name__ == "__main__":
    pyvips.cache_set_max(0)
    version = ".".join(str(pyvips.version(part)) for part in range(3))
    contest(libvips, f"libvips {version}")
