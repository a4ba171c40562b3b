"""The frames of an animated picture as browsers show them: composited, on white, each for as long as it asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from PIL import Image

from service.errors import FailureCode, ProcessingFailed
from service.policies import MAX_ANIMATION_FRAMES, MAX_ANIMATION_PIXELS, MAX_ANIMATION_S
from service.processing.colour import flatten
from service.processing.frames import shown_ms
from service.processing.modes import resampleable
from service.processing.orientation import upright
from service.processing.work import Work

_ANIMATED: Final = ("GIF", "WEBP", "PNG", "AVIF")
# Large frames are averaged in whole blocks first, down to this many times the size: a fifth of the CPU.
_REDUCING_GAP: Final = 2.0


def check_animation(work: Work) -> None:
    """DECODE_LIMIT_EXCEEDED if its frames are too many for their size, before any of them is composited."""
    width, height = work.stored_size
    _refuse_beyond_limit(width * height * work.frame_count)


def _refuse_beyond_limit(pixels: int) -> None:
    if pixels > MAX_ANIMATION_PIXELS:
        raise ProcessingFailed(
            FailureCode.DECODE_LIMIT_EXCEEDED,
            "The animation has too many frames for its size: together they hold more than "
            f"{MAX_ANIMATION_PIXELS // 1_000_000} megapixels. Upload a smaller or shorter version to have it move.",
        )


def shown_frames(
    work: Work, size: tuple[int, int], keeps: Callable[[float], bool]
) -> Iterator[tuple[Image.Image | None, float, float]]:
    """Each frame (RGB, upright, `size` pixels), when it is shown and for how long, in seconds.

    None in place of a frame whose time `keeps` declines. Ends after MAX_ANIMATION_FRAMES or MAX_ANIMATION_S, and before
    a frame that cannot be decoded. DECODE_LIMIT_EXCEEDED if they turn out to be too large together.
    """
    work.source.seek(0)
    image = Image.open(work.source, formats=_ANIMATED)
    stored = (size[1], size[0]) if work.transposed else size
    seconds, pixels = 0.0, 0
    for index in range(MAX_ANIMATION_FRAMES):
        if seconds >= MAX_ANIMATION_S or not _go_to(image, index):
            return
        # The duration of a frame is known once it is decoded.
        lasts = min(shown_ms(image.info.get("duration") or 0) / 1_000, MAX_ANIMATION_S - seconds)
        frame = _scaled(image, stored) if keeps(seconds) else None
        yield None if frame is None else upright(frame, work.orientation), seconds, lasts
        seconds += lasts
        # A GIF's canvas grows with frames that reach beyond it, whatever its header says.
        pixels += image.width * image.height
        _refuse_beyond_limit(pixels)


def _scaled(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    frame = resampleable(image)
    if frame.size != size:
        frame = frame.resize(size, Image.Resampling.BICUBIC, reducing_gap=_REDUCING_GAP)
    return flatten(frame).convert("RGB")


def _go_to(image: Image.Image, index: int) -> bool:
    try:
        image.seek(index)
        image.load()
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - the end is an EOFError, and decoders let many others escape at damaged frames
        return False
    return True
