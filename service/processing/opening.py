"""First step: the declared type, the first bytes and the decoder must all agree on what the file is."""

from __future__ import annotations

import os
from typing import Final

from PIL import Image

from service.errors import FailureCode, ProcessingFailed
from service.processing.detect import HEAD_BYTES, sniff
from service.processing.work import Work

_DECODERS: Final = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP"}
# A phone's JPEG that carries a second picture (gain map, depth, burst) announces itself as MPO.
_NAMES: Final = {"JPEG": "image/jpeg", "MPO": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}


def open_original(work: Work) -> None:
    """Read the header, nothing more. TYPE_MISMATCH, UNSUPPORTED_FORMAT or CORRUPT_FILE."""
    declared = work.request.content_type
    work.byte_length = work.source.seek(0, os.SEEK_END)
    work.source.seek(0)
    found = sniff(work.source.read(HEAD_BYTES))
    work.source.seek(0)
    if found != declared:
        raise ProcessingFailed(
            FailureCode.TYPE_MISMATCH,
            f"The file was announced as {declared}, but it is {found or 'of no known type'}. "
            "Send the picture itself, with its true content type.",
        )
    if declared not in _DECODERS:
        raise ProcessingFailed(
            FailureCode.UNSUPPORTED_FORMAT,
            f"{declared} cannot be processed. Convert it to one of {', '.join(_DECODERS)} and upload it again.",
        )
    image = _open(work)
    if _NAMES.get(image.format or "") != declared:
        raise ProcessingFailed(FailureCode.TYPE_MISMATCH, f"The file begins like {declared}, but is {image.format}.")
    work.image = image
    work.stored_size = image.size


def _open(work: Work) -> Image.Image:
    try:
        return Image.open(work.source, formats=[_DECODERS[work.request.content_type]])
    except Exception as error:
        # Wide on purpose: header parsers let SyntaxError, KeyError, struct.error and more escape.
        raise ProcessingFailed(
            FailureCode.CORRUPT_FILE,
            "The file begins like a picture, but its header cannot be read. It may be damaged: upload it again.",
        ) from error
