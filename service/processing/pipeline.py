"""The pipeline: named steps, one after the other, in a process that holds nothing but the file and a pipe."""

from __future__ import annotations

import io
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from typing import BinaryIO, Final

from PIL import Image

from service.errors import FailureCode, ProcessingFailed
from service.models import MediaKind, Receipt
from service.policies import kind_of
from service.processing.clips import check_clip_limits, open_clip, read_still
from service.processing.colour import to_srgb
from service.processing.decoding import decode, shrink
from service.processing.fingerprints import describe
from service.processing.frames import count_frames
from service.processing.limits import check_limits
from service.processing.metadata import read_metadata, strip_metadata
from service.processing.opening import open_original
from service.processing.orientation import turn_upright
from service.processing.preview import preview_animation, preview_clip
from service.processing.renditions import encode_all, resize_all
from service.processing.trusted import trusted_pictures, trusted_request, trusted_view
from service.processing.trusted_clips import trusted_clips, trusted_preview_request
from service.processing.view import VIEW_STEPS, begin_view, viewed
from service.processing.wire import (
    LENGTH_BYTES,
    REQUEST,
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
    preview_animation,
)

CLIP_STEPS: Final[tuple[Step, ...]] = (
    open_clip,
    check_clip_limits,
    read_still,
    turn_upright,
    resize_all,
    encode_all,
    describe,
    preview_clip,
)

# `check_limits` sets limits by format, measured; Pillow's single one would only warn at half of them.
Image.MAX_IMAGE_PIXELS = None


def run(source: BinaryIO, request: bytes, reply: BinaryIO) -> None:
    """Do one job and say how it ended, as `wire` describes."""
    asked = REQUEST.validate_json(request)
    work = begin_view(source, asked) if isinstance(asked, ViewRequest) else Work(source, asked)
    answer = _outcome(work)
    header = answer.model_dump_json().encode()
    reply.write(len(header).to_bytes(LENGTH_BYTES, "big") + header)
    if isinstance(answer, Processed):
        for rendition in work.renditions:
            reply.write(rendition.body)
    elif isinstance(answer, Viewed) and work.shown is not None:
        reply.write(work.shown.body)


def steps_for(content_type: str) -> tuple[Step, ...]:
    """What is done to a file of `content_type`."""
    return CLIP_STEPS if kind_of(content_type) is MediaKind.VIDEO else STEPS


def _outcome(work: Work) -> Reply:
    steps = VIEW_STEPS if work.view is not None else steps_for(work.request.content_type)
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
        run(io.BytesIO(picture), trusted_view(content_type), reply := io.BytesIO())
        if b'"outcome":"viewed"' not in reply.getvalue():
            raise RuntimeError(f"no view of a trusted {content_type}: {reply.getvalue()[:1_000]!r}")
    for content_type, clip in trusted_clips():
        run(io.BytesIO(clip), trusted_preview_request(content_type), reply := io.BytesIO())
        if b'"outcome":"processed"' not in reply.getvalue():
            raise RuntimeError(f"no preview of a trusted {content_type}: {reply.getvalue()[:1_000]!r}")
    run(io.BytesIO(b"not a picture"), trusted_request("image/jpeg"), io.BytesIO())
