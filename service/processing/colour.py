"""Colours as the web expects them: 8-bit sRGB, with an alpha channel only where something shows through."""

from __future__ import annotations

import io

from PIL import Image, ImageCms

from service.processing.work import Work

_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def to_srgb(work: Work) -> None:
    """Convert through the embedded profile; a broken or unfitting profile is ignored, as browsers do."""
    image, alpha = _split_alpha(work.image)
    converted = _through_profile(image, work.icc_profile) or image.convert("RGB")
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
    if profile is None:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return None
        return ImageCms.profileToProfile(image, source, _SRGB, outputMode="RGB")
    except Exception:  # noqa: BLE001 - a profile is untrusted metadata: any failure to read it means "none"
        return None


def flatten(image: Image.Image) -> Image.Image:
    """On white, where JPEG and hashes know no transparency."""
    if image.mode != "RGBA":
        return image
    background = Image.new("RGB", image.size, (255, 255, 255))
    background.paste(image, mask=image.getchannel("A"))
    return background
