"""SSIMULACRA2 of outputs: `python -m benchmarks.images.quality PHOTO FOLDER`, in the environment that has it.

The reference is lossless: the whole photo decoded, upright, resized once with LANCZOS. 100 is the same picture, 70 is
high quality, 50 medium. Prints, as JSON, the mean and the bytes of each format.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pillow_heif
from PIL import Image, ImageOps
from ssimulacra2 import compute_ssimulacra2


def references(photo: Path, sides: Sequence[int]) -> dict[int, list[Image.Image]]:
    """What perfect outputs of each longer side would be; of 200, the square in the middle.

    Where its middle is, libraries round each in their own way: half a pixel would count for more than any encoder.
    """
    with Image.open(photo) as opened:
        upright = ImageOps.exif_transpose(opened).convert("RGB")
    return {side: _squares(upright, side) if side == 200 else [_contained(upright, side)] for side in sides}


def _contained(upright: Image.Image, side: int) -> Image.Image:
    return ImageOps.contain(upright, (side, side), Image.Resampling.LANCZOS)


def _squares(upright: Image.Image, side: int) -> list[Image.Image]:
    long = round(side * max(upright.size) / min(upright.size))
    whole = _contained(upright, long)
    places = {(long - side) // 2, (long - side + 1) // 2}
    boxes = [(at, 0, at + side, side) if whole.width > whole.height else (0, at, side, at + side) for at in places]
    exact = ImageOps.fit(upright, (side, side), Image.Resampling.LANCZOS)
    return [exact, *(whole.crop(box) for box in boxes)]


def best_score(candidates: Sequence[Image.Image], output: Path) -> float:
    """SSIMULACRA2 of one output, against the reference that it is most like."""
    return max(score(reference, output) for reference in candidates)


def score(reference: Image.Image, output: Path) -> float:
    """SSIMULACRA2 of one output against one reference. ValueError if it is of another size."""
    with Image.open(output) as opened:
        picture = opened.convert("RGB")
    if picture.size != reference.size:
        raise ValueError(f"{output.name} is {picture.size}, not {reference.size}")
    with tempfile.TemporaryDirectory() as scratch:
        pair = [str(Path(scratch, name)) for name in ("reference.png", "output.png")]
        reference.save(pair[0], compress_level=1)
        picture.save(pair[1], compress_level=1)
        return float(compute_ssimulacra2(*pair))


def main() -> None:
    pillow_heif.register_heif_opener()
    # Each folder holds one contestant's outputs.
    photo, folders = Path(sys.argv[1]), [Path(each) for each in sys.argv[2:]]
    perfect = references(photo, sorted({int(each.stem) for folder in folders for each in folder.iterdir()}))
    result: dict[str, dict[str, dict[str, float]]] = {}
    for folder in folders:
        formats: dict[str, list[tuple[float, int]]] = {}
        for output in sorted(folder.iterdir()):
            scored = best_score(perfect[int(output.stem)], output), output.stat().st_size
            formats.setdefault(output.suffix[1:], []).append(scored)
        result[folder.name] = {
            name: {"score": sum(each[0] for each in scores) / len(scores), "bytes": sum(each[1] for each in scores)}
            for name, scores in formats.items()
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
