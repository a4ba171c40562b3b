"""Named steps, one after the other, in a process that holds nothing but the file and a pipe: those for pictures."""

from __future__ import annotations

import io
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import BinaryIO, Final

from PIL import Image

from service.errors import FailureCode, ProcessingFailed
from service.models import Receipt
from service.processing.base_sizes import MAX_BASE_PIXELS
from service.processing.colour import to_srgb
from service.processing.decoding import decode, load_base, shrink
from service.processing.fingerprints import describe
from service.processing.frames import count_frames
from service.processing.limits import check_limits
from service.processing.metadata import read_metadata, strip_metadata
from service.processing.opening import open_original
from service.processing.orientation import turn_upright
from service.processing.renditions import encode_all, resize_all
from service.processing.trusted import (
    trusted_base,
    trusted_base_request,
    trusted_pictures,
    trusted_request,
    trusted_view,
)
from service.processing.view import VIEW_STEPS, begin_view, viewed
from service.processing.wire import (
    LENGTH_BYTES,
    REQUEST,
    BaseHeader,
    Crashed,
    FingerprintsHeader,
    MetadataHeader,
    Processed,
    ReceiptHeader,
    Refused,
    RenditionHeader,
    Reply,
    Viewed,
    ViewRequest,
)
from service.processing.work import PILLOW, Work

Step = Callable[[Work], None]

STEPS: Final[tuple[Step, ...]] = (
    open_original,
    check_limits,
    count_frames,
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

# From the picture that STEPS had when `turn_upright` was done.
BASE_STEPS: Final[tuple[Step, ...]] = (load_base, resize_all, encode_all, describe)

# `check_limits` sets limits by format, measured; Pillow's single one would only warn at half of them.
Image.MAX_IMAGE_PIXELS = None


def run(source: BinaryIO, request: bytes, reply: BinaryIO) -> None:
    """Do one job on a picture and say how it ended, as `wire` describes."""
    asked = REQUEST.validate_json(request)
    if isinstance(asked, ViewRequest):
        take_all(VIEW_STEPS, begin_view(source, asked), reply)
    else:
        take_all(STEPS if asked.base is None else BASE_STEPS, Work(source, asked), reply)


def take_all(steps: Sequence[Step], work: Work, reply: BinaryIO) -> None:
    """Take `work` through `steps`, and write how that ended."""
    answer = _outcome(steps, work)
    header = answer.model_dump_json().encode()
    reply.write(len(header).to_bytes(LENGTH_BYTES, "big") + header)
    if isinstance(answer, Processed):
        for rendition in work.renditions:
            reply.write(rendition.body)
        if answer.base is not None:
            reply.write(work.image.tobytes())
    elif isinstance(answer, Viewed) and work.shown is not None:
        reply.write(work.shown.body)


def _outcome(steps: Sequence[Step], work: Work) -> Reply:
    step: Step = steps[0]
    try:
        for step in steps:
            _take(step, work)
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
    return _processed(work) if work.shown is None else viewed(work.shown)


def _take(step: Step, work: Work) -> None:
    """Run one step, and keep a receipt of it."""
    work.used, work.parameters = PILLOW, {}
    wall, cpu = time.perf_counter(), time.process_time()
    step(work)
    work.receipts.append(
        Receipt(
            step=step.__name__,
            wall_ms=round(1e3 * (time.perf_counter() - wall), 3),
            cpu_ms=round(1e3 * (time.process_time() - cpu), 3),
            tool=work.used,
            parameters=work.parameters,
        )
    )


def _processed(work: Work) -> Processed:
    width, height = work.size
    learnt, place = work.metadata, work.metadata.location or (None, None)
    return Processed(
        content_type=work.content_type,
        width=width,
        height=height,
        frame_count=work.frame_count,
        duration_ms=work.duration_ms,
        fingerprints=None if work.fingerprints is None else FingerprintsHeader(**asdict(work.fingerprints)),
        metadata=MetadataHeader(
            captured_at=learnt.captured_at,
            camera_make=learnt.camera_make,
            camera_model=learnt.camera_model,
            latitude=place[0],
            longitude=place[1],
        ),
        receipts=tuple(ReceiptHeader(**asdict(receipt)) for receipt in work.receipts),
        renditions=tuple(
            RenditionHeader(name=r.name, format=r.format, width=r.width, height=r.height, bytes=len(r.body))
            for r in work.renditions
        ),
        base=_base(work) if work.request.keep_base else None,
    )


def _base(work: Work) -> BaseHeader | None:
    image = work.image
    if image.width * image.height > MAX_BASE_PIXELS:
        return None
    # Otherwise `to_srgb` has not done what it says: our fault, and better told than handed out.
    return BaseHeader.model_validate({"mode": image.mode, "width": image.width, "height": image.height})


def warm_up() -> None:
    """Run every path once on trusted pictures: in the jail, whatever is not loaded yet cannot be loaded."""
    # Parsers warn about odd files; there is nobody to tell.
    warnings.simplefilter("ignore")
    for content_type, picture in trusted_pictures():
        rehearse(run, picture, trusted_request(content_type), "processed")
        rehearse(run, picture, trusted_view(content_type), "viewed")
    for mode in ("RGB", "RGBA"):
        rehearse(run, trusted_base(mode), trusted_base_request(mode), "processed")
    rehearse(run, b"not a picture", trusted_request("image/jpeg"), "refused")


def rehearse(run: Callable[[BinaryIO, bytes, BinaryIO], None], file: bytes, request: bytes, outcome: str) -> None:
    """Do one job on a trusted file. RuntimeError unless it ends as it must."""
    run(io.BytesIO(file), request, reply := io.BytesIO())
    if f'"outcome":"{outcome}"'.encode() not in reply.getvalue():
        raise RuntimeError(f"not {outcome}, with {request!r}: {reply.getvalue()[:1_000]!r}")
