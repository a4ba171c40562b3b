"""Second step: what the header asks for must be payable before a single pixel is decoded."""

from __future__ import annotations

import re
from typing import BinaryIO, Final

from service.errors import FailureCode, ProcessingFailed
from service.policies import MAX_PIXELS
from service.processing.iso_boxes import boxes_of
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
# Larger than any segment, and nothing beside what decoding takes.
_WINDOW_BYTES: Final = 1024 * 1024
_START_OF_SCAN, _END_OF_IMAGE = b"\xda", b"\xd9"


# Where a WebP's first chunk, by its name, has the width and height of the canvas, and in how many bits each (RFC 9649).
_WEBP_SIDES: Final = {b"VP8X": (24, 24), b"VP8L": (21, 14), b"VP8 ": (26, 16)}
_WEBP_HEADER_BYTES: Final = 30


def check_limits(work: Work) -> None:
    """TOO_MANY_PIXELS or DECODE_LIMIT_EXCEEDED, from the header and the order of segments alone."""
    limit = MAX_PIXELS[work.content_type]
    if work.content_type == "image/jpeg":
        scans = _scans_of(work)
        if scans > MAX_SCANS:
            raise ProcessingFailed(
                FailureCode.DECODE_LIMIT_EXCEEDED,
                f"The JPEG is cut into more than {MAX_SCANS} scans. Save it again with another program.",
                quarantine=True,
            )
        if scans > 1 or work.image.info.get("progressive"):
            limit = min(limit, PROGRESSIVE_MAX_PIXELS)
    check_pixels(work, work.stored_size, limit)


def check_pixels(work: Work, size: tuple[int, int], limit: int) -> None:
    """CORRUPT_FILE if a picture of `size` has no pixels, TOO_MANY_PIXELS if more than `limit`."""
    width, height = size
    if not (width and height):
        raise ProcessingFailed(FailureCode.CORRUPT_FILE, "The picture has no pixels. Upload it again from the source.")
    if max(width, height) > MAX_SIDE or width * height > limit:
        raise ProcessingFailed(
            FailureCode.TOO_MANY_PIXELS,
            f"The picture is {width} x {height} pixels; at most {limit // 1_000_000} megapixels "
            f"and {MAX_SIDE} a side can be processed. Upload a smaller version.",
            quarantine=width * height > _HOSTILE_PIXELS_PER_BYTE * work.byte_length,
        )


def refuse_large_canvas(work: Work) -> None:
    """TOO_MANY_PIXELS for what would not get past opening, or costs memory by it: libwebp makes two of each canvas."""
    work.source.seek(0)
    if work.content_type == "image/webp":
        _refuse_large_webp(work)
    elif work.content_type == "image/avif":
        # ImageSpatialExtentsProperty (ISO/IEC 23008-12, 6.5.3): version and flags, width, height.
        for body in boxes_of(work.source, b"meta", b"iprp", b"ipco", b"ispe"):
            size = int.from_bytes(body[4:8], "big"), int.from_bytes(body[8:12], "big")
            check_pixels(work, size, MAX_PIXELS["image/avif"])


def _refuse_large_webp(work: Work) -> None:
    header = work.source.read(_WEBP_HEADER_BYTES)
    at, bits = _WEBP_SIDES.get(header[12:16], (0, 0))
    if at and len(header) == _WEBP_HEADER_BYTES:
        packed = int.from_bytes(header[at:], "little")
        width, height = packed & ((1 << bits) - 1), packed >> bits & ((1 << bits) - 1)
        # Lossy ones have 14 bits for each side, below 2 that ask to enlarge it; the others store one less.
        size = (width & 0x3FFF, height & 0x3FFF) if bits == 16 else (width + 1, height + 1)
        check_pixels(work, size, MAX_PIXELS["image/webp"])


def _scans_of(work: Work) -> int:
    position = work.source.tell()
    scans = count_scans(work.source)
    work.source.seek(position)
    return scans


def count_scans(jpeg: BinaryIO) -> int:
    """How many scans a JPEG holds, counting no further than one beyond `MAX_SCANS`; reads a window at a time."""
    scans, position = 0, 2
    start, window = 0, _window(jpeg, 0)
    # Less than a marker with its length: the file has ended.
    while scans <= MAX_SCANS and len(window) >= 4:
        marker = _MARKER.search(window, position - start)
        if marker is None or marker.end() + 2 > len(window):
            # From the marker that is cut off, or the byte that may begin one; or else a segment is skipped.
            position = start + (marker.start() if marker else max(len(window) - 1, position - start))
            start, window = position, _window(jpeg, position)
            continue
        if marker[1] == _END_OF_IMAGE:
            break
        scans += marker[1] == _START_OF_SCAN
        length = int.from_bytes(window[marker.end() : marker.end() + 2], "big")
        position = start + marker.end() + length
    return scans


def _window(jpeg: BinaryIO, position: int) -> bytes:
    jpeg.seek(position)
    return jpeg.read(_WINDOW_BYTES)
