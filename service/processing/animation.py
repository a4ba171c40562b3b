"""The frames of an animated picture as browsers show them: composited, on white, each for as long as it asks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from PIL import Image

from service.policies import MAX_ANIMATION_FRAMES, MAX_ANIMATION_S
from service.processing.colour import flatten
from service.processing.frames import shown_ms
from service.processing.modes import resampleable
from service.processing.orientation import upright
from service.processing.work import Work

_ANIMATED: Final = ("GIF", "WEBP", "PNG", "AVIF")


def shown_frames(work: Work, size: tuple[int, int]) -> Iterator[tuple[Image.Image, float, float]]:
    """Each frame (RGB, upright, `size` pixels), when it is shown and for how long, in seconds.

    Ends after MAX_ANIMATION_FRAMES or MAX_ANIMATION_S, and before a frame that cannot be decoded.
    """
    work.source.seek(0)
    image = Image.open(work.source, formats=_ANIMATED)
    stored = (size[1], size[0]) if work.transposed else size
    seconds = 0.0
    for index in range(MAX_ANIMATION_FRAMES):
        if seconds >= MAX_ANIMATION_S or not _go_to(image, index):
            return
        # The duration of a frame is known once it is decoded.
        frame = flatten(resampleable(image)).convert("RGB").resize(stored, Image.Resampling.BICUBIC)
        lasts = min(shown_ms(image.info.get("duration") or 0) / 1_000, MAX_ANIMATION_S - seconds)
        yield upright(frame, work.orientation), seconds, lasts
        seconds += lasts


def _go_to(image: Image.Image, index: int) -> bool:
    try:
        image.seek(index)
        image.load()
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - the end is an EOFError, and decoders let many others escape at damaged frames
        return False
    return True
