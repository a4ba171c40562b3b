"""From a file's boxes to fractions of the upright picture. Pure."""

from __future__ import annotations

from typing import Final

from service.annotation_exchange.records import BoxRecord, PictureRecord, Unreadable
from service.models import BoundingBox

# Fractions are kept to a ten-thousandth of a pixel of the largest picture; so what was exported comes back the same.
_DIGITS: Final = 9
_LEAST: Final = 1e-9


def unit_of(picture: PictureRecord, size: tuple[float, float]) -> tuple[float, float]:
    """Width and height in pixels that the picture's boxes are measured in. `size`: the media's own, upright.

    The file's, if it states one: a picture scaled down is still the same. Raises Unreadable if it cannot be one.
    """
    if not picture.width or not picture.height:
        return size
    stated = (picture.width, picture.height)
    if min(stated) <= 0 or not _alike(stated, size):
        turned = " It seems to be turned: boxes must be of the upright picture." if _alike(stated[::-1], size) else ""
        raise Unreadable(
            picture.place,
            f"the file says {stated[0]:g} x {stated[1]:g} pixels, the media has {size[0]:g} x {size[1]:g}.{turned}",
        )
    return stated


def _alike(stated: tuple[float, float], size: tuple[float, float]) -> bool:
    # Whoever scales a picture rounds each side to whole pixels.
    width, height = stated
    return abs(width - height * size[0] / size[1]) <= 1 or abs(height - width * size[1] / size[0]) <= 1


def fractions_of(record: BoxRecord, unit: tuple[float, float], size: tuple[float, float]) -> BoundingBox | None:
    """A box as fractions, from what is measured in `unit` (1, 1 for fractions); cut where it is up to a pixel outside.

    Rounding, and tools that count pixels otherwise, lead that far. `size`: the media's, in pixels. Raises Unreadable
    for a box that is empty or further outside.
    """
    if record.box is None:
        return None
    x, y, width, height = record.box
    if width <= 0 or height <= 0:
        raise Unreadable(record.place, "the box is empty")
    left, across = _span(x / unit[0], width / unit[0], size[0], record.place)
    top, down = _span(y / unit[1], height / unit[1], size[1], record.place)
    return BoundingBox(left, top, across, down)


def _span(start: float, length: float, pixels: float, place: str) -> tuple[float, float]:
    """One side of a box: where it begins and how long it is."""
    end, slack = start + length, (1 + 1e-6) / pixels
    if start < -slack or end > 1 + slack:
        raise Unreadable(place, "the box reaches more than a pixel outside the picture")
    if start < 0 or end > 1:
        start = max(start, 0.0)
        length = min(end, 1.0) - start
    if length <= 0 or start > 1:
        raise Unreadable(place, "the box is empty")
    return round(start, _DIGITS), max(round(length, _DIGITS), _LEAST)
