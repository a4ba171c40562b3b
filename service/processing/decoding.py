"""Decode once, at the smallest scale that serves every rendition."""

from __future__ import annotations

from typing import Final

from PIL import Image

from service.errors import FailureCode, ProcessingFailed
from service.processing.base_sizes import base_size
from service.processing.modes import resampleable
from service.processing.work import PILLOW, Work

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


def load_base(work: Work) -> None:
    """Have the pixels as an earlier job on the same original left them: upright, sRGB, of the size to cut from."""
    base = work.request.base
    if base is None:
        raise TypeError("this job begins with the original")
    work.image = Image.frombytes(base.mode, base.size, work.source.read())
    work.content_type = work.request.content_type
    work.stored_size = base.size
    work.note(PILLOW, width=base.width, height=base.height)
