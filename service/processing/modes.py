"""Any picture as L, LA, RGB, RGBA or CMYK with 8 bits a channel: what can be averaged and encoded."""

from __future__ import annotations

from typing import Final

import numpy as np
from PIL import Image

_PLAIN: Final = frozenset({"L", "LA", "RGB", "RGBA", "CMYK"})


def resampleable(image: Image.Image) -> Image.Image:
    """`image` itself, or a conversion that keeps what can be seen of it."""
    if image.mode.startswith("I"):
        return _eight_bit(image)
    if "transparency" in image.info:
        return _keyed(image)
    if image.mode in _PLAIN:
        return image
    if image.mode in ("1", "F"):
        return image.convert("L")
    return image.convert("RGBA" if image.mode in ("PA", "RGBa", "La") else "RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    # Pillow's own conversion of 16 bits to 8 clips instead of scaling.
    samples = np.asarray(image)
    grey = Image.fromarray((samples >> 8).astype(np.uint8))
    key = image.info.get("transparency")
    if isinstance(key, int):
        grey.putalpha(Image.fromarray(np.where(samples == key, 0, 255).astype(np.uint8)))
    return grey


def _keyed(image: Image.Image) -> Image.Image:
    """Where one colour, or entries of a palette, stand for transparent."""
    key = image.info["transparency"]
    if isinstance(key, tuple) and max(key, default=0) > 255:
        # 16 bits a channel were read as their higher 8, but the key was not (PNG, third edition, 11.3.1.1).
        image.info["transparency"] = tuple(part >> 8 for part in key)
    return image.convert("RGBA")
