"""Colours as the web expects them: 8-bit sRGB, with an alpha channel only where something shows through."""

from __future__ import annotations

import io
from typing import Final

from PIL import Image, ImageCms

from service.processing.nclx import to_srgb_from
from service.processing.work import Work

_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))

# Profiles of printing presses, with their tables, take up to 3 MB.
_MAX_PROFILE_BYTES: Final = 8 * 1024 * 1024


def to_srgb(work: Work) -> None:
    """Convert through the embedded profile, or else as the container names its colours.

    Ignored: a broken or unfitting profile, as browsers do, and PNG's gAMA and cHRM, which without a profile repeat
    sRGB's values or are wrong.
    """
    image, alpha = _split_alpha(work.image)
    converted = _through_profile(image, work.icc_profile) or _through_coding(image, work.coding) or image.convert("RGB")
    if alpha is not None:
        converted.putalpha(alpha)
    work.image = converted


def _split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    if image.mode not in ("LA", "RGBA"):
        return image, None
    alpha = image.getchannel("A")
    opaque = alpha.getextrema() == (255, 255)
    return image.convert(image.mode.removesuffix("A")), None if opaque else alpha


def _through_profile(image: Image.Image, profile: bytes | None) -> Image.Image | None:
    if profile is None or len(profile) > _MAX_PROFILE_BYTES:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return None
        return ImageCms.profileToProfile(image, source, _SRGB, outputMode="RGB")
    except Exception:  # noqa: BLE001 - a profile is untrusted metadata: any failure to read it means "none"
        return None


def _through_coding(image: Image.Image, coding: tuple[int, int] | None) -> Image.Image | None:
    return None if coding is None or image.mode != "RGB" else to_srgb_from(image, coding)


def flatten(image: Image.Image) -> Image.Image:
    """On white, where JPEG and hashes know no transparency."""
    if image.mode != "RGBA":
        return image
    background = Image.new("RGB", image.size, (255, 255, 255))
    background.paste(image, mask=image.getchannel("A"))
    return background
