"""The pipeline: named steps, one after the other, in a process that holds nothing but the file and a pipe."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import BinaryIO, Final

from PIL import Image

from service.errors import FailureCode, ProcessingFailed
from service.processing.colour import to_srgb
from service.processing.decoding import decode, shrink
from service.processing.fingerprints import describe
from service.processing.limits import check_limits
from service.processing.metadata import read_metadata, strip_metadata
from service.processing.opening import open_original
from service.processing.orientation import turn_upright
from service.processing.renditions import encode_all, resize_all
from service.processing.trusted import trusted_pictures, trusted_request
from service.processing.wire import LENGTH_BYTES, Crashed, Processed, ProcessingRequest, Refused, RenditionHeader, Reply
from service.processing.work import Work

STEPS: Final[tuple[Callable[[Work], None], ...]] = (
    open_original,
    check_limits,
    decode,
    read_metadata,
    shrink,
    to_srgb,
    strip_metadata,
    turn_upright,
    resize_all,
    encode_all,
    describe,
)

# `check_limits` sets limits by format, measured; Pillow's single one would only warn at half of them.
Image.MAX_IMAGE_PIXELS = None


def run(source: BinaryIO, request: bytes, reply: BinaryIO) -> None:
    """Do one job and say how it ended, as `wire` describes."""
    work = Work(source, ProcessingRequest.model_validate_json(request))
    answer = _outcome(work)
    header = answer.model_dump_json().encode()
    reply.write(len(header).to_bytes(LENGTH_BYTES, "big") + header)
    if isinstance(answer, Processed):
        for rendition in work.renditions:
            reply.write(rendition.body)


def _outcome(work: Work) -> Reply:
    step: Callable[[Work], None] = STEPS[0]
    try:
        for step in STEPS:
            step(work)
    except ProcessingFailed as refusal:
        return Refused(failure=refusal.failure, message=refusal.message, quarantine=refusal.quarantine)
    except MemoryError:
        return Refused(
            failure=FailureCode.DECODE_LIMIT_EXCEEDED,
            message="Decoding the picture takes more memory than allowed. Upload a smaller version.",
            quarantine=True,
        )
    except Exception as error:  # noqa: BLE001 - the process' edge: what escapes here is our fault, and must be told
        return Crashed(detail=f"{step.__name__}: {error!r}"[:4_000])
    width, height = work.size
    return Processed(
        width=width,
        height=height,
        thumbhash=work.thumbhash,
        dominant_color=work.dominant_color,
        perceptual_hash=work.perceptual_hash,
        renditions=tuple(
            RenditionHeader(name=r.name, format=r.format, width=r.width, height=r.height, bytes=len(r.body))
            for r in work.renditions
        ),
    )


def warm_up() -> None:
    """Run every path once on trusted pictures: in the jail, whatever is not loaded yet cannot be loaded."""
    # Parsers warn about odd files; there is nobody to tell.
    warnings.simplefilter("ignore")
    for content_type, picture in trusted_pictures():
        reply = io.BytesIO()
        run(io.BytesIO(picture), trusted_request(content_type), reply)
        if b'"outcome":"processed"' not in reply.getvalue():
            raise RuntimeError(f"the pipeline failed on a trusted {content_type}: {reply.getvalue()[:1_000]!r}")
    run(io.BytesIO(b"not a picture"), trusted_request("image/jpeg"), io.BytesIO())
