"""Pixels into files: JPEG, WebP and AVIF, each at the settings that were measured to be worth their CPU.

`make bench-images` measures them: CPU, bytes and SSIMULACRA2 of every output, beside other libraries'.
"""

from __future__ import annotations

import io
from typing import Final

from PIL import Image, features

from service.models import MediaFormat
from service.processing.colour import flatten

# With Robidoux's tables one more than the usual 75: a twelfth fewer bytes than Annex K's at 75, as like the original.
JPEG_QUALITY: Final = 76
WEBP_QUALITY: Final = 75
AVIF_QUALITY: Final = 58

# Pixels up to which a picture is small: cheap to encode with care, and seen most often.
SMALL_WEBP: Final = 200 * 200
SMALL_AVIF: Final = 720 * 720
# Of libwebp's 0 to 6. 4 takes 2.3 times the CPU of 2, for 5 % fewer bytes; 3 costs what 4 does.
WEBP_METHOD: Final = 2
CAREFUL_WEBP_METHOD: Final = 4
# Of libavif's 0 to 10; for pictures 10 is the same as 9. 8 takes 3.5 times the CPU of 9, for a tenth fewer bytes of a
# picture of 720 pixels and a quarter of one of 200, but 3 % of one of 1080, at like quality.
AVIF_SPEED: Final = 9
CAREFUL_AVIF_SPEED: Final = 8

ENCODERS: Final = ", ".join(f"{name} {features.version(name)}" for name in ("libjpeg_turbo", "webp", "avif"))

# Nicolas Robidoux's table, for luma and chroma alike: number 3 in mozjpeg's `jcparam.c`
# (https://github.com/mozilla/mozjpeg), its default, at quality 50.
_ROBIDOUX: Final = (
    *(16, 16, 16, 18, 25, 37, 56, 85),
    *(16, 17, 20, 27, 34, 40, 53, 75),
    *(16, 20, 24, 31, 43, 62, 91, 135),
    *(18, 27, 31, 40, 53, 74, 106, 156),
    *(25, 34, 43, 53, 69, 94, 131, 189),
    *(37, 40, 62, 74, 94, 124, 169, 238),
    *(56, 53, 91, 106, 131, 169, 226, 311),
    *(85, 75, 135, 156, 189, 238, 311, 418),
)


def quantisation_table(quality: int) -> list[int]:
    """Robidoux's table in natural order, scaled for `quality` (1 to 100) as libjpeg scales for baseline JPEG."""
    percent = 5_000 // quality if quality < 50 else 200 - 2 * quality
    return [min(255, max(1, (value * percent + 50) // 100)) for value in _ROBIDOUX]


_TABLES: Final = (quantisation_table(JPEG_QUALITY), quantisation_table(JPEG_QUALITY))


def encode(picture: Image.Image, target: MediaFormat, *, urgent: bool) -> bytes:
    """`picture` (RGB, or RGBA where something shows through) as a file without metadata. ValueError for MP4."""
    encoded = io.BytesIO()
    if target is MediaFormat.JPEG:
        flatten(picture).save(encoded, "JPEG", qtables=_TABLES, subsampling="4:2:0", progressive=True, optimize=True)
    elif target is MediaFormat.WEBP:
        careful = not urgent and _pixels(picture) <= SMALL_WEBP
        method = CAREFUL_WEBP_METHOD if careful else WEBP_METHOD
        picture.save(encoded, "WEBP", quality=WEBP_QUALITY, method=method)
    elif target is MediaFormat.AVIF:
        careful = not urgent and _pixels(picture) <= SMALL_AVIF
        speed = CAREFUL_AVIF_SPEED if careful else AVIF_SPEED
        # One thread: the jail lets no other be started.
        picture.save(encoded, "AVIF", quality=AVIF_QUALITY, speed=speed, max_threads=1)
    else:
        raise ValueError(f"no picture is encoded as {target}")
    return encoded.getvalue()


def _pixels(picture: Image.Image) -> int:
    return picture.width * picture.height
