"""Pillow as most people would use it: decode in full, each size from the whole, default settings of the encoders."""

from __future__ import annotations

import io
from pathlib import Path

import PIL
import pillow_heif
from PIL import Image, ImageOps

from benchmarks.images.tasks import FORMATS, QUALITY, Outputs, contest, sizes_of


def naive(photo: Path, task: str) -> Outputs:
    """The same outputs."""
    outputs = {}
    with Image.open(photo) as opened:
        upright = ImageOps.exif_transpose(opened).convert("RGB")
    for side, crop in sizes_of(task):
        if crop:
            picture = ImageOps.fit(upright, (side, side), Image.Resampling.LANCZOS)
        else:
            picture = ImageOps.contain(upright, (side, side), Image.Resampling.LANCZOS)
        for name in FORMATS[task]:
            encoded = io.BytesIO()
            picture.save(encoded, name.upper(), quality=QUALITY[name])
            outputs[f"{side}.{name}"] = encoded.getvalue()
    return outputs


if __name__ == "__main__":
    pillow_heif.register_heif_opener()
    contest(naive, f"Pillow {PIL.__version__}")
