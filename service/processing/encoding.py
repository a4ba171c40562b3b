"""Pixels into files: JPEG, WebP and AVIF, each at the settings that were measured to be worth their CPU."""

from __future__ import annotations

import io
from typing import Final

from PIL import Image, features

from service.models import MediaFormat
from service.processing.colour import flatten

QUALITY: Final = 75
AVIF_QUALITY: Final = 58
# Of libwebp's 0-6 and aom's 0-10: slower ones cost twice the CPU for a few per cent of bytes.
WEBP_METHOD: Final = 4
URGENT_WEBP_METHOD: Final = 2
AVIF_SPEED: Final = 8
URGENT_AVIF_SPEED: Final = 9

ENCODERS: Final = ", ".join(f"{name} {features.version(name)}" for name in ("libjpeg_turbo", "webp", "avif"))


def encode(picture: Image.Image, target: MediaFormat, *, urgent: bool) -> bytes:
    """`picture` (RGB, or RGBA where something shows through) as a file without metadata. ValueError for MP4."""
    encoded = io.BytesIO()
    if target is MediaFormat.JPEG:
        flatten(picture).save(encoded, "JPEG", quality=QUALITY, progressive=True, optimize=True)
    elif target is MediaFormat.WEBP:
        picture.save(encoded, "WEBP", quality=QUALITY, method=URGENT_WEBP_METHOD if urgent else WEBP_METHOD)
    elif target is MediaFormat.AVIF:
        picture.save(
            # One thread: the jail lets no other be started.
            *(encoded, "AVIF"),
            quality=AVIF_QUALITY,
            speed=URGENT_AVIF_SPEED if urgent else AVIF_SPEED,
            max_threads=1,
        )
    else:
        raise ValueError(f"no picture is encoded as {target}")
    return encoded.getvalue()
