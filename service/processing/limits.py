"""Second step: what the header asks for must be payable before a single pixel is decoded."""

from __future__ import annotations

import re
from typing import Final

from service.errors import FailureCode, ProcessingFailed
from service.policies import MAX_PIXELS
from service.processing.wire import MAX_SIDE
from service.processing.work import Work

# A decoder keeps the coefficients of a JPEG of several scans in memory, however small the picture that is wanted.
PROGRESSIVE_MAX_PIXELS: Final = 50_000_000

# Encoders write about 10; each scan visits every block again, so a small file of many scans costs minutes.
MAX_SCANS: Final = 100

# No camera or editor packs so many pixels into a byte; a file that exceeds a limit *and* this was made to.
_HOSTILE_PIXELS_PER_BYTE: Final = 200

# ITU T.81, B.1.1.2: within entropy-coded data 0xFF is followed by 0x00, a restart marker, or another 0xFF.
_MARKER: Final = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")
_START_OF_SCAN, _END_OF_IMAGE = b"\xda", b"\xd9"


def check_limits(work: Work) -> None:
    """TOO_MANY_PIXELS or DECODE_LIMIT_EXCEEDED, from the header and the order of segments alone."""
    width, height = work.stored_size
    limit = MAX_PIXELS[work.request.content_type]
    if work.image.info.get("progressive"):
        limit = min(limit, PROGRESSIVE_MAX_PIXELS)
    if not (width and height):
        raise ProcessingFailed(FailureCode.CORRUPT_FILE, "The picture has no pixels. Upload it again from the source.")
    if max(width, height) > MAX_SIDE or width * height > limit:
        raise ProcessingFailed(
            FailureCode.TOO_MANY_PIXELS,
            f"The picture is {width} x {height} pixels; at most {limit // 1_000_000} megapixels "
            f"and {MAX_SIDE} a side can be processed. Upload a smaller version.",
            quarantine=width * height > _HOSTILE_PIXELS_PER_BYTE * work.byte_length,
        )
    if work.request.content_type == "image/jpeg":
        _check_scans(work)


def _check_scans(work: Work) -> None:
    position = work.source.tell()
    work.source.seek(0)
    scans = count_scans(work.source.read())
    work.source.seek(position)
    if scans > MAX_SCANS:
        raise ProcessingFailed(
            FailureCode.DECODE_LIMIT_EXCEEDED,
            f"The JPEG is cut into more than {MAX_SCANS} scans. Save it again with another program.",
            quarantine=True,
        )


def count_scans(jpeg: bytes) -> int:
    """How many scans a JPEG holds, counting no further than one beyond `MAX_SCANS`."""
    scans, position = 0, 2
    while scans <= MAX_SCANS and (marker := _MARKER.search(jpeg, position)):
        if marker[1] == _END_OF_IMAGE:
            break
        scans += marker[1] == _START_OF_SCAN
        length = int.from_bytes(jpeg[marker.end() : marker.end() + 2], "big")
        position = marker.end() + length
    return scans
