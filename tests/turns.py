"""How pictures are turned."""

from __future__ import annotations

from PIL import Image

from service.perceptual_hash import Transform

# What Pillow, which rotates the other way round, calls them.
TURNS = {
    Transform.MIRRORED: Image.Transpose.FLIP_LEFT_RIGHT,
    Transform.ROTATED_90: Image.Transpose.ROTATE_270,
    Transform.ROTATED_180: Image.Transpose.ROTATE_180,
    Transform.ROTATED_270: Image.Transpose.ROTATE_90,
    Transform.MIRRORED_ROTATED_90: Image.Transpose.TRANSVERSE,
    Transform.MIRRORED_ROTATED_180: Image.Transpose.FLIP_TOP_BOTTOM,
    Transform.MIRRORED_ROTATED_270: Image.Transpose.TRANSPOSE,
}
