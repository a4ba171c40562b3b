"""Photos of a phone's size, from small ones: `python -m benchmarks.images.scenes FOLDER NAME...`.

No large photo comes with the project. A sample of 1 megapixel or less is enlarged, and what enlarging cannot give is
added: detail of every finer octave with equal power (natural pictures have a spectrum of about 1/f), strong where the
sample is busy and absent where it is smooth, and a sensor's noise. What remains at 1080 pixels is therefore mostly the
real photo, and the bytes of the file are a phone's.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Final

import numpy as np
import pillow_heif
from PIL import ExifTags, Image

SAMPLES: Final = Path(__file__).parents[2] / "service/dev/samples"
# Of the photos as stored: a phone held upright, to be turned by its orientation tag.
SIZES: Final = {"12": (4032, 3024), "48": (8064, 6048), "tiny": (64, 48)}

_TILE: Final = 1024
# In levels of 255: of the sensor's noise, and of detail for each level of local gradient.
_NOISE: Final = 1.5
_DETAIL: Final = 0.6


def photo(sample: str, width: int, height: int, seed: int = 0) -> Image.Image:
    """`sample` as a picture of `width` x `height` pixels; the same on every run."""
    random = np.random.default_rng(seed)
    small = Image.open(SAMPLES / sample).convert("RGB")
    if (small.width > small.height) != (width > height):
        small = small.transpose(Image.Transpose.ROTATE_90)
    scale = max(width / small.width, height / small.height)
    left, top = (small.width - width / scale) / 2, (small.height - height / scale) / 2
    box = (left, top, left + width / scale, top + height / scale)
    pixels = np.array(small.resize((width, height), Image.Resampling.BICUBIC, box=box))
    down, across = np.gradient(np.asarray(small.convert("L"), np.float32))
    busy = Image.fromarray(np.hypot(across, down).astype(np.float32))
    activity = np.asarray(busy.resize((width, height), Image.Resampling.BILINEAR, box=box))
    detail = _octaves(random, max(1, math.ceil(math.log2(max(scale, 1))) + 1))
    noise = random.standard_normal((_TILE, _TILE, 3), dtype=np.float32)
    for y in range(0, height, _TILE):
        for x in range(0, width, _TILE):
            part = pixels[y : y + _TILE, x : x + _TILE]
            rows, columns = part.shape[:2]
            finer = _DETAIL * activity[y : y + rows, x : x + columns] * detail[:rows, :columns]
            part[:] = np.clip(part + finer[..., None] + _NOISE * noise[:rows, :columns] + 0.5, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels)


def _octaves(random: np.random.Generator, count: int) -> np.ndarray:
    total = np.zeros((_TILE, _TILE), np.float32)
    for octave in range(count):
        cells = _TILE >> octave
        grid = Image.fromarray(random.standard_normal((cells, cells), dtype=np.float32))
        layer = np.asarray(grid.resize((_TILE, _TILE), Image.Resampling.BICUBIC))
        total += layer / layer.std()
    return np.asarray(total / total.std())


def write(folder: Path, name: str) -> None:
    """`name`: a sample, its size and a suffix, as in raccoon-12.jpg."""
    stem, _, suffix = name.partition(".")
    sample, _, size = stem.partition("-")
    picture = photo(f"{sample}.jpg", *SIZES[size])
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    if suffix == "png":
        picture.save(folder / name, compress_level=6)
    elif suffix == "heic":
        pillow_heif.from_pillow(picture).save(folder / name, quality=60)
    else:
        picture.save(folder / name, quality=92, exif=exif)


if __name__ == "__main__":
    for each in sys.argv[2:]:
        write(Path(sys.argv[1]), each)
