"""What every format says, in the same words: pictures, categories and boxes, each with its place in the file."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import Final

# Beyond any picture's pixels: arithmetic on it stays exact enough, and finite.
LARGEST: Final = 1e7
# A place and a name are told to people, in one line of a report.
MAX_TOLD: Final = 200
# Twice what a media's longest text may have, and longer than addresses are.
MAX_TEXT: Final = 4_000


class Format(enum.StrEnum):
    COCO = "coco"
    VOC = "voc"
    YOLO = "yolo"


@dataclass(frozen=True, slots=True)
class CategoryRecord:
    """A class of things: what boxes call it within the file, and its label."""

    key: str
    label: str
    place: str


@dataclass(frozen=True, slots=True)
class PictureRecord:
    """A picture. `names`: file names and addresses that may say which media it is; `media_id`, `sha256`: say so.

    `width`, `height`: in pixels, as the file states them; 0 where it does not.
    """

    key: str
    names: tuple[str, ...]
    place: str
    width: float = 0
    height: float = 0
    media_id: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class BoxRecord:
    """Something in a picture. `box`: x, y, width, height from the top left; None: somewhere in it, or all of it.

    In pixels of the picture; in YOLO's files in fractions of it.
    """

    picture: str
    category: str
    box: tuple[float, float, float, float] | None
    confidence: float
    place: str
    text: str | None = None


@dataclass(frozen=True, slots=True)
class LeftOutRecord:
    """Something that is no box, and is not taken: a crowd."""


@dataclass(frozen=True, slots=True)
class UnreadableRecord:
    """Something that makes no sense. `picture`: whose annotations are therefore not taken, where that is known."""

    place: str
    message: str
    picture: str | None = None


Record = CategoryRecord | PictureRecord | BoxRecord | LeftOutRecord | UnreadableRecord


class Unreadable(Exception):
    """One record of a file makes no sense; the others may."""

    def __init__(self, place: str, message: str) -> None:
        super().__init__(f"{place}: {message}")
        self.place = place
        self.message = message


def text_from(text: str, place: str) -> str:
    """The same text. Raises Unreadable for one so long that thousands of it would not fit in memory."""
    if len(text) > MAX_TEXT:
        raise Unreadable(place, f"it has more than {MAX_TEXT:,} characters")
    return text


def number_from(value: object, place: str) -> float:
    """A number, or the text of one. Raises Unreadable for anything else, NaN and infinities included."""
    if isinstance(value, str):
        value = _parsed(value, place)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise Unreadable(place, "a number is missing here" if value is None else "this is not a number")
    if not math.isfinite(value) or abs(value) > LARGEST:
        raise Unreadable(place, f"{value} is not a number that can be used here")
    return float(value)


def _parsed(text: str, place: str) -> float:
    try:
        # Python would also take digits of other scripts, and 1_0 for 10.
        if text.isascii() and "_" not in text:
            return float(text)
    except ValueError:
        pass
    raise Unreadable(place, f"{told(text)} is not a number")


def confidence_from(value: object, place: str) -> float:
    """A confidence from 0 to 1; 1 where there is none: somebody drew it. Raises Unreadable."""
    if value is None:
        return 1.0
    number = number_from(value, place)
    if not 0 <= number <= 1:
        raise Unreadable(place, f"a confidence is from 0 to 1, not {number:g}")
    return number


def told(text: str) -> str:
    """What a file says, as it may stand in a report: in one line, not too long, in quotes."""
    return repr(text if len(text) <= MAX_TOLD else f"{text[:MAX_TOLD]}...")
