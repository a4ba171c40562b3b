"""First step: the declared type, the first bytes and the decoder must all agree on what the file is."""

from __future__ import annotations

import os
from typing import Final

from PIL import AvifImagePlugin, Image

from service.errors import FailureCode, ProcessingFailed
from service.processing.detect import HEAD_BYTES, agrees, sniff
from service.processing.heif import HeifPicture
from service.processing.iso_boxes import boxes_of
from service.processing.limits import refuse_large_canvas
from service.processing.work import Work

# The jail lets no other be started.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1

_DECODERS: Final = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/webp": "WEBP",
    "image/gif": "GIF",
    "image/avif": "AVIF",
    "image/heic": HeifPicture.format,
    "image/heif": HeifPicture.format,
}
# A phone's JPEG that carries a second picture (gain map, depth, burst) announces itself as MPO.
_FORMATS: Final = {"JPEG": ("JPEG", "MPO")}

_ISO_MEDIA: Final = frozenset({"image/avif", "image/heic", "image/heif"})


def open_original(work: Work) -> None:
    """Read the header, nothing more. TYPE_MISMATCH, UNSUPPORTED_FORMAT, CORRUPT_FILE, or TOO_MANY_PIXELS."""
    work.byte_length = work.source.seek(0, os.SEEK_END)
    work.source.seek(0)
    work.content_type = agreed_type(work.source.read(HEAD_BYTES), work.request.content_type)
    if work.content_type not in _DECODERS:
        raise ProcessingFailed(
            FailureCode.UNSUPPORTED_FORMAT,
            f"{work.content_type} cannot be processed. Upload the picture as one of {', '.join(_DECODERS)}.",
        )
    refuse_large_canvas(work)
    work.source.seek(0)
    image = _open(work)
    expected = _DECODERS[work.content_type]
    if image.format not in _FORMATS.get(expected, (expected,)):
        raise ProcessingFailed(
            FailureCode.TYPE_MISMATCH, f"The file begins like {work.content_type}, but is {image.format}."
        )
    work.image = image
    work.stored_size = image.size
    if work.content_type in _ISO_MEDIA:
        work.coding = _coding(work)


def agreed_type(head: bytes, declared: str) -> str:
    """What the file is, which `declared` must name; TYPE_MISMATCH if it does not."""
    found = sniff(head)
    if found is None or not agrees(found, declared):
        raise ProcessingFailed(
            FailureCode.TYPE_MISMATCH,
            f"The file was announced as {declared}, but it is {found or 'of no known type'}. "
            "Send the picture itself, with its true content type.",
        )
    return found


def _open(work: Work) -> Image.Image:
    try:
        return Image.open(work.source, formats=[_DECODERS[work.content_type]])
    except MemoryError:
        raise
    except Exception as error:
        # Wide on purpose: header parsers let SyntaxError, KeyError, struct.error and more escape.
        raise ProcessingFailed(
            FailureCode.CORRUPT_FILE,
            "The file begins like a picture, but its header cannot be read. It may be damaged: upload it again.",
        ) from error


def _coding(work: Work) -> tuple[int, int] | None:
    """Colour primaries and transfer characteristics from the first `nclx` (ISO/IEC 14496-12, 12.1.5)."""
    position = work.source.tell()
    try:
        for body in boxes_of(work.source, b"meta", b"iprp", b"ipco", b"colr"):
            if body[:4] == b"nclx" and len(body) >= 8:
                return int.from_bytes(body[4:6], "big"), int.from_bytes(body[6:8], "big")
        return None
    finally:
        work.source.seek(position)
