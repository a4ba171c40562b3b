"""What a jailed child answers, checked as input from a stranger: its decoder may no longer be ours."""

from __future__ import annotations

import asyncio
import signal
from typing import Final

from service.errors import FailureCode, ProcessingFailed
from service.models import (
    BasePicture,
    EmbeddedMetadata,
    Fingerprints,
    ProcessedFile,
    Receipt,
    Rendition,
    ViewImage,
)
from service.processing.base_sizes import MAX_BASE_PIXELS, base_size
from service.processing.detect import agrees, sniff
from service.processing.wire import (
    LENGTH_BYTES,
    MAX_HEADER_BYTES,
    REPLY,
    BaseHeader,
    Limits,
    Processed,
    ProcessingRequest,
    RenditionHeader,
    Reply,
    Viewed,
    ViewRequest,
)

# Fractions that add up to the whole may exceed it by the last bits.
_ROUNDING: Final = 1e-9


def verdict(code: int, limits: Limits) -> ProcessingFailed:
    """What a child's end without an answer says about the file."""
    if code >= 0:
        return internal(f"the jailed child ended with status {code}")
    if -code == signal.SIGXCPU:
        return hostile(f"Decoding the file takes more than {limits.cpu_s} seconds.")
    if -code == signal.SIGKILL:
        return ProcessingFailed(
            FailureCode.DECODE_LIMIT_EXCEEDED,
            "The system ended the decoder, most likely for want of memory.",
            retryable=True,
        )
    return hostile(f"The decoder broke on this file ({signal.Signals(-code).name}).")


def hostile(message: str) -> ProcessingFailed:
    """The file is at fault, and looks as if it were meant to be."""
    return ProcessingFailed(FailureCode.DECODE_LIMIT_EXCEEDED, message, quarantine=True)


def internal(detail: str) -> ProcessingFailed:
    """We are at fault; `detail` is for the log."""
    failure = ProcessingFailed(
        FailureCode.INTERNAL, "The picture could not be processed through a fault of ours.", retryable=True
    )
    failure.add_note(detail)
    return failure


def another_task() -> ProcessingFailed:
    """The answer is to another kind of request."""
    return internal("the child did another task than it was given")


async def read_header(reply: asyncio.StreamReader) -> Reply:
    """What an answer begins with. Raises ProcessingFailed, IncompleteReadError, pydantic's ValidationError."""
    length = int.from_bytes(await reply.readexactly(LENGTH_BYTES), "big")
    if length > MAX_HEADER_BYTES:
        raise hostile("The file made its decoder answer without end.")
    return REPLY.validate_json(await reply.readexactly(length))


async def read_file(reply: asyncio.StreamReader, answer: Processed, request: ProcessingRequest) -> ProcessedFile:
    """What follows `answer`, if it is what `request` asks. Raises ProcessingFailed, IncompleteReadError."""
    content_type = answer.content_type or request.content_type
    if not (agrees(content_type, request.content_type) and _as_asked(answer.renditions, request)):
        raise hostile("The file made its decoder answer something that was not asked.")
    renditions = []
    for header in answer.renditions:
        body = await reply.readexactly(header.bytes)
        if sniff(body) != header.format.content_type:
            raise hostile("The file made its decoder answer something that is no picture.")
        renditions.append(Rendition(header.name, header.format, header.width, header.height, body))
    told, place = answer.metadata, (answer.metadata.latitude, answer.metadata.longitude)
    return ProcessedFile(
        content_type=content_type,
        width=answer.width,
        height=answer.height,
        renditions=tuple(renditions),
        frame_count=answer.frame_count,
        duration_ms=answer.duration_ms,
        fingerprints=None if answer.fingerprints is None else Fingerprints(**answer.fingerprints.model_dump()),
        metadata=EmbeddedMetadata(
            captured_at=told.captured_at,
            camera_make=told.camera_make,
            camera_model=told.camera_model,
            location=None if place[0] is None or place[1] is None else (place[0], place[1]),
        ),
        receipts=tuple(Receipt(**receipt.model_dump()) for receipt in answer.receipts),
        base=None if answer.base is None else await _read_base(reply, answer.base, answer, request),
    )


async def _read_base(
    reply: asyncio.StreamReader, header: BaseHeader, answer: Processed, request: ProcessingRequest
) -> BasePicture:
    original_size = (answer.width, answer.height)
    if (
        not request.keep_base
        or header.size != base_size(original_size, request.renditions)
        or header.width * header.height > MAX_BASE_PIXELS
    ):
        raise hostile("The file made its decoder hand out something that was not asked.")
    pixels = await reply.readexactly(header.byte_length)
    return BasePicture(header.mode, header.width, header.height, pixels, original_size)


async def read_view(reply: asyncio.StreamReader, answer: Viewed, request: ViewRequest) -> ViewImage:
    """What follows `answer`, if it is what `request` asks. Raises ProcessingFailed, IncompleteReadError."""
    box = answer.box
    fractions = (box.x, box.y, box.width, box.height, box.x + box.width, box.y + box.height)
    if max(answer.width, answer.height) > request.max_side or not all(0 <= part <= 1 + _ROUNDING for part in fractions):
        raise hostile("The file made its decoder show something that was not asked.")
    # Pixels are all that is taken: whatever they are, nobody has to decode them.
    body = await reply.readexactly(answer.byte_length)
    return ViewImage(body, answer.mode, answer.width, answer.height, box)


def _as_asked(headers: tuple[RenditionHeader, ...], request: ProcessingRequest) -> bool:
    wanted = [(policy.name, format_, policy.max_side) for policy in request.renditions for format_ in policy.formats]
    return len(headers) == len(wanted) and all(
        (header.name, header.format) == (name, format_) and max(header.width, header.height) <= max_side
        for header, (name, format_, max_side) in zip(headers, wanted, strict=True)
    )
