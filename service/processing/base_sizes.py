"""How large the base is: the one upright picture that every rendition of an original is cut from. Decodes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from service.policies import RenditionPolicy

# Smaller renditions are cut from a picture of this longer side even where none of it is wanted: so their pixels do
# not depend on what else a request asks for.
BASE_SIDE: Final = 1080

# Only the base of a panorama, whose short side has to serve a square, can be larger: such a one is not handed out.
MAX_BASE_PIXELS: Final = BASE_SIDE * BASE_SIDE


def base_size(size: tuple[int, int], renditions: Iterable[RenditionPolicy]) -> tuple[int, int]:
    """The smallest size, in pixels, from which every rendition can be cut without enlarging anything.

    Never less than BASE_SIDE (of what there is), so that what is made first has the pixels that it would have beside
    all others: drafting a JPEG to less would also cost quality.
    """
    long, short = max(size), min(size)
    scale = min(1.0, max((BASE_SIDE / long, *(r.max_side / (short if r.crop else long) for r in renditions))))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
