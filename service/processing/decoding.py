"""Decode once, at the smallest scale that serves every rendition."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from PIL import Image

from service.errors import FailureCode, ProcessingFailed
from service.policies import RenditionPolicy
from service.processing.modes import resampleable
from service.processing.renditions import BASE_SIDE
from service.processing.work import Work

# What no draft has scaled is averaged in whole blocks first, down to this many times the size: two fifths of the CPU,
# and after encoding the same quality.
_REDUCING_GAP: Final = 1.5


def decode(work: Work) -> None:
    """Have the pixels. CORRUPT_FILE if they cannot be had, all of them."""
    box = base_size(work.stored_size, work.request.renditions)
    try:
        # Only JPEG has a draft: scaled in the DCT, never below `box`.
        work.image.draft(None, box)
        work.image.load()
    except MemoryError:
        raise
    except Exception as error:
        # Wide on purpose: given damaged files, decoders let SyntaxError, struct.error and more escape.
        raise ProcessingFailed(
            FailureCode.CORRUPT_FILE, "The picture is damaged or incomplete. Upload it again from the source."
        ) from error


def shrink(work: Work) -> None:
    """Down to the size that `base_size` tells, still as stored: every later step then costs little."""
    image = resampleable(work.image)
    box = base_size(work.stored_size, work.request.renditions)
    if image.size != box:
        image = image.resize(box, Image.Resampling.LANCZOS, reducing_gap=_REDUCING_GAP)
    work.image = image


def base_size(size: tuple[int, int], renditions: Iterable[RenditionPolicy]) -> tuple[int, int]:
    """The smallest size, in pixels, from which every rendition can be cut without enlarging anything.

    Never less than BASE_SIDE (of what there is), so that what is made first has the pixels that it would have beside
    all others: drafting a JPEG to less would also cost quality.
    """
    long, short = max(size), min(size)
    scale = min(1.0, max((BASE_SIDE / long, *(r.max_side / (short if r.crop else long) for r in renditions))))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
