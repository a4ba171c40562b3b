"""Colours that a container describes by number (ITU-T H.273) instead of by a profile: wide gamuts and high range."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

_Matrix = npt.NDArray[np.float64]
_Samples = npt.NDArray[np.float32]

# Red, green and blue as x, y (H.273, table 2); the white of all of them is D65.
_SRGB: Final = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
_PRIMARIES: Final = {
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),  # BT.2020
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),  # Display P3
}
_D65: Final = (0.3127, 0.3290)

_LINEAR, _PQ, _HLG = 8, 16, 18

# Light of 203 cd/m2 is white on paper (ITU-R BT.2408), which stands for sRGB's white here.
_REFERENCE_WHITE: Final = 203.0
# Up to here light is shown as it is; what is brighter is bent below sRGB's white.
_KNEE: Final = 0.5


def to_srgb_from(image: Image.Image, coding: tuple[int, int]) -> Image.Image | None:
    """`image` (RGB) with its primaries and transfer, `coding`, turned into sRGB's; None if they are as good as sRGB."""
    primaries, transfer = coding
    bright = transfer in (_PQ, _HLG)
    if primaries not in _PRIMARIES and not bright and transfer != _LINEAR:
        return None
    light: _Samples = _linear(transfer)[np.asarray(image)]
    if transfer == _HLG:
        light = _displayed(light)
    if primaries in _PRIMARIES:
        light = light @ _matrix(_PRIMARIES[primaries]).T.astype(np.float32)
    if bright:
        light = _tone_mapped(light)
    return Image.fromarray(_encoded(light))


def _linear(transfer: int) -> _Samples:
    """Light by 8-bit code, 1.0 for white."""
    code: _Matrix = np.arange(256) / 255
    light: _Matrix
    if transfer == _PQ:
        # SMPTE ST 2084
        root = code ** (32 / 2523)
        light = (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (16384 / 2610)
        return (light * 10_000 / _REFERENCE_WHITE).astype(np.float32)
    if transfer == _HLG:
        # ITU-R BT.2100, table 5
        light = np.where(code <= 0.5, code**2 / 3, (np.exp((code - 0.55991073) / 0.17883277) + 0.28466892) / 12)
    elif transfer == _LINEAR:
        light = code
    else:
        light = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    return light.astype(np.float32)


def _displayed(scene: _Samples) -> _Samples:
    """HLG's light of the scene as a display of 1,000 cd/m2 shows it (BT.2100, table 5: gamma 1.2)."""
    luminance = scene @ np.array([0.2627, 0.6780, 0.0593], dtype=np.float32)
    gain = (1_000 / _REFERENCE_WHITE) * np.maximum(luminance, 1e-6)[..., np.newaxis] ** 0.2
    return (scene * gain).astype(np.float32)


def _tone_mapped(light: _Samples) -> _Samples:
    """Below 1.0 whatever the peak, each pixel scaled as a whole so that it keeps its hue."""
    peak = np.maximum(light.max(axis=-1, keepdims=True), 1e-6)
    bent = np.where(peak <= _KNEE, peak, 1 - (1 - _KNEE) * np.exp((_KNEE - peak) / (1 - _KNEE)))
    mapped: _Samples = (light * (bent / peak)).astype(np.float32)
    return mapped


def _encoded(light: _Samples) -> npt.NDArray[np.uint8]:
    light = np.clip(light, 0, 1)
    code = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    rounded: npt.NDArray[np.uint8] = np.rint(255 * code).astype(np.uint8)
    return rounded


def _matrix(primaries: tuple[tuple[float, float], ...]) -> _Matrix:
    """From light in `primaries` to light in sRGB's."""
    matrix: _Matrix = np.linalg.inv(_to_xyz(_SRGB)) @ _to_xyz(primaries)
    return matrix


def _to_xyz(primaries: tuple[tuple[float, float], ...]) -> _Matrix:
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    white = np.array([_D65[0] / _D65[1], 1, (1 - sum(_D65)) / _D65[1]])
    matrix: _Matrix = columns * np.linalg.solve(columns, white)
    return matrix
