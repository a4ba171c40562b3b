"""Upright, on the small picture, where turning costs nothing."""

from __future__ import annotations

from typing import Final

from PIL import Image

from service.processing.work import Work

# Exif 2.32, tag 0x0112: what must be done to the stored picture.
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def turn_upright(work: Work) -> None:
    """Apply the orientation that the metadata asked for."""
    work.image = upright(work.image, work.orientation)


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """`image` turned as EXIF `orientation` (1 to 8) asks; itself if it stands already."""
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)
