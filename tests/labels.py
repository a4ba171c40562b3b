"""Food labels made in code, as a phone would photograph them."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest
from PIL import ExifTags, Image, ImageDraw, ImageFont

_FONTS: Final = (
    Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"),
    Path("/usr/share/fonts/TTF/DejaVuSans.ttf"),
)

LABEL: Final = (
    "Nutrition information",
    "Typical values per 100 g",
    "Energy 1046 kJ / 250 kcal",
    "Carbohydrate 42 g",
    "Protein 10 g",
    "Salt 0.8 g",
)
SIZE: Final = (1200, 1600)
_LEFT, _TOP, _STEP, _LETTERS = 120, 500, 130, 52


def require_tesseract() -> None:
    """Skip, or fail where nothing may be skipped, without Tesseract and a font to write with."""
    if shutil.which("tesseract") is None or not any(font.exists() for font in _FONTS):
        directions = "Needs Tesseract and a font: apt-get install tesseract-ocr fonts-dejavu-core"
        pytest.fail(directions) if os.environ.get("CI") else pytest.skip(directions)


def label_picture(lines: Sequence[str] = LABEL, *, headline: str = "") -> Image.Image:
    """An upright label: `lines` below one another, `headline` far above them."""
    font = ImageFont.truetype(next(str(font) for font in _FONTS if font.exists()), _LETTERS)
    picture = Image.new("RGB", SIZE, (250, 250, 245))
    draw = ImageDraw.Draw(picture)
    draw.text((_LEFT, 120), headline, font=font, fill=(20, 20, 30))
    for index, line in enumerate(lines):
        draw.text((_LEFT, _TOP + index * _STEP), line, font=font, fill=(20, 20, 30))
    return picture


def place_of(index: int) -> tuple[float, float]:
    """Where a line's left edge and middle are, as fractions of the upright picture."""
    return _LEFT / SIZE[0], (_TOP + index * _STEP + _LETTERS * 0.6) / SIZE[1]


def photographed(picture: Image.Image, *, lying: bool = False) -> bytes:
    """A JPEG; `lying`: stored on its side with EXIF orientation 6, as phones do."""
    exif = Image.Exif()
    if lying:
        picture = picture.transpose(Image.Transpose.ROTATE_90)
        exif[ExifTags.Base.Orientation] = 6
    encoded = io.BytesIO()
    picture.save(encoded, "JPEG", quality=90, exif=exif)
    return encoded.getvalue()
