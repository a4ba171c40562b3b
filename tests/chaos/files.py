"""Small real photos, no two alike; one with so many comments that it goes up in parts."""

from __future__ import annotations

import io
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from service.models import MediaPurpose
from service.policies import POLICIES

_COMMENT = b"\xff\xfe\xff\xff" + bytes(65_533)
_AFTER_START = 2
IN_PARTS_BYTES = POLICIES[MediaPurpose.COMMUNITY].multipart_threshold + 1


def write_photo(path: Path, random: Random, *, in_parts: bool) -> None:
    """A JPEG of 160 x 120 pixels; `in_parts`: larger than what goes up in one piece, and as cheap to decode."""
    noise = np.random.default_rng(random.getrandbits(64)).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(noise).resize((160, 120)).save(encoded, "JPEG", quality=85)
    photo = encoded.getvalue()
    padding = _COMMENT * (IN_PARTS_BYTES // len(_COMMENT) + 1) if in_parts else b""
    path.write_bytes(photo[:_AFTER_START] + padding + photo[_AFTER_START:])
