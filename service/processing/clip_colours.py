"""Pictures of a clip as sRGB: matrix and range as the file says, wide gamut and high dynamic range mapped to what
screens show."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Final, cast

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from PIL import Image, ImageFilter

from service.processing.nclx import to_srgb_from

_Size = tuple[int, int]

# ITU-T H.273, table 4: matrix coefficients.
_MATRICES: Final = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
# Where a file says nothing: high definition is BT.709, what came before BT.601, as players assume.
_HIGH_DEFINITION_LINES: Final = 720

# Nodes a side: its 51 steps of 5 fall on whole 8-bit codes.
_NODES: Final = 52


class PictureReader:
    """Turns frames of one clip into RGB pictures of `size` pixels, not yet upright."""

    def __init__(self, size: _Size) -> None:
        self._size = size
        self._scaler = VideoReformatter()

    def read(self, frame: VideoFrame) -> Image.Image:
        """`frame` scaled, in sRGB. Whatever libav raises of a damaged one escapes."""
        scaled = self._scaler.reformat(
            frame,
            *self._size,
            format="rgb24",
            src_colorspace=matrix_of(frame),
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.JPEG,
            interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT,
            threads=1,
        )
        picture = Image.fromarray(scaled.to_ndarray())
        mapping = _mapping(frame.color_primaries, frame.color_trc)
        return picture if mapping is None else picture.filter(mapping)


def needs_mapping(frame: VideoFrame) -> bool:
    """Whether its colours are other than those of common screens."""
    return _mapping(frame.color_primaries, frame.color_trc) is not None


def matrix_of(frame: VideoFrame) -> Colorspace:
    """The coefficients between `frame`'s planes and RGB, as it says, or else as players assume."""
    told = _MATRICES.get(int(frame.colorspace))
    if told is not None:
        return told
    return Colorspace.ITU709 if min(frame.width, frame.height) >= _HIGH_DEFINITION_LINES else Colorspace.ITU601


@functools.lru_cache(maxsize=16)
def _mapping(primaries: int, transfer: int) -> ImageFilter.Color3DLUT | None:
    """What the colours of H.273's `primaries` and `transfer` become in sRGB; None if they are as good as that."""
    steps = np.linspace(0, 255, _NODES).astype(np.uint8)
    # Red changes fastest, as Pillow wants it.
    blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")
    every = Image.fromarray(np.stack([red, green, blue], axis=-1).reshape(_NODES, -1, 3))
    mapped = to_srgb_from(every, (primaries, transfer))
    if mapped is None:
        return None
    table = np.asarray(mapped, dtype=np.float32).ravel() / 255
    # Pillow takes arrays too, and keeps them: a twentieth of the memory of a list. Its types know only sequences.
    return ImageFilter.Color3DLUT(_NODES, cast("Sequence[float]", table))


def warm_mappings() -> None:
    """Work out those that phones need: BT.2020 with PQ, HLG and BT.709, and Display P3 with BT.709."""
    for primaries, transfer in ((9, 16), (9, 18), (9, 1), (9, 14), (12, 1)):
        _mapping(primaries, transfer)
