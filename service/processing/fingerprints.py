"""What stands for a picture: a placeholder to show while it loads, and a hash to find its likes."""

from __future__ import annotations

import base64
from typing import Final

import imagehash
import thumbhash
from PIL import Image

from service.models import Fingerprints
from service.processing.base_sizes import BASE_SIDE
from service.processing.colour import flatten
from service.processing.renditions import fit, scaled
from service.processing.work import Work

# A perceptual hash depends on the path by which pixels were had (up to 12 bits): always from this size, made from one
# of BASE_SIDE, whatever renditions are wanted.
_CANONICAL_SIDE: Final = 720

# From so many pixels a side `imagehash.phash` takes its frequencies.
_HASHED_SIDE: Final = 32

# What `perceptual_hash.TRANSFORMS` are called by Pillow, which rotates the other way round.
_TRANSPOSES: Final = (
    Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.ROTATE_270,
    Image.Transpose.ROTATE_180,
    Image.Transpose.ROTATE_90,
    Image.Transpose.TRANSVERSE,
    Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.TRANSPOSE,
)

# ThumbHash keeps frequencies up to 7 per side; it takes up to 100 pixels, and time in proportion to them.
_THUMBHASH_SIDE: Final = 32


def describe(work: Work) -> None:
    """Fill in placeholder, dominant colour and perceptual hashes, where they are wanted."""
    if not work.request.fingerprints:
        return
    canonical = _canonical(work)
    small = canonical.resize(fit(canonical.size, _THUMBHASH_SIDE), Image.Resampling.LANCZOS)
    # What `phash` would make of it first; so it need not begin with all pixels each time.
    hashed = canonical.convert("L").resize((_HASHED_SIDE, _HASHED_SIDE), Image.Resampling.LANCZOS)
    work.fingerprints = Fingerprints(
        thumbhash=_thumbhash(small),
        dominant_color=_dominant_color(small),
        perceptual_hash=str(imagehash.phash(hashed)),
        transformed_hashes=tuple(str(imagehash.phash(hashed.transpose(turn))) for turn in _TRANSPOSES),
    )
    work.note(f"imagehash {imagehash.__version__}", hash="phash", side=_CANONICAL_SIDE)


def _canonical(work: Work) -> Image.Image:
    target = fit(work.image.size, _CANONICAL_SIDE)
    for picture in work.pictures.values():
        if picture.size == target:
            return flatten(picture)
    return flatten(scaled(scaled(work.image, fit(work.image.size, BASE_SIDE)), target))


def _thumbhash(small: Image.Image) -> str:
    pixels = list(small.convert("RGBA").tobytes())
    encoded = thumbhash.rgba_to_thumb_hash(small.width, small.height, pixels)
    return base64.b64encode(bytes(encoded)).decode()


def _dominant_color(small: Image.Image) -> str:
    clusters = small.quantize(8).convert("RGB").getcolors() or []
    _, color = max(clusters, key=lambda cluster: cluster[0])
    if not isinstance(color, tuple):
        raise TypeError(f"an RGB picture's colours are tuples, not {color!r}")
    return "#{:02x}{:02x}{:02x}".format(*color)
