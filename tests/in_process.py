"""The pipeline without the jail, for tests about pictures rather than containment."""

from __future__ import annotations

import io

from PIL import Image

from service.errors import ProcessingFailed
from service.models import BoundingBox, MediaFormat, MediaKind, MediaPurpose, RenditionName
from service.policies import POLICIES, RenditionPolicy
from service.processing import pipeline
from service.processing.wire import LENGTH_BYTES, REPLY, ProcessingRequest, Refused, Reply
from service.processing.work import Work

RENDITIONS = tuple(policy for policy in POLICIES[MediaPurpose.COMMUNITY].renditions if MediaKind.IMAGE in policy.kinds)


def request_for(
    content_type: str = "image/jpeg",
    focus: BoundingBox | None = None,
    renditions: tuple[RenditionPolicy, ...] = RENDITIONS,
) -> ProcessingRequest:
    """What a community photo asks for."""
    return ProcessingRequest(content_type=content_type, renditions=renditions, focus=focus)


def reply_to(
    original: bytes, content_type: str = "image/jpeg", renditions: tuple[RenditionPolicy, ...] = RENDITIONS
) -> Reply:
    """What the jailed child would answer, its header only."""
    reply = io.BytesIO()
    request = request_for(content_type, renditions=renditions).model_dump_json().encode()
    pipeline.run(io.BytesIO(original), request, reply)
    raw = reply.getvalue()
    length = int.from_bytes(raw[:LENGTH_BYTES], "big")
    return REPLY.validate_json(raw[LENGTH_BYTES : LENGTH_BYTES + length])


def refusal_of(original: bytes, content_type: str = "image/jpeg") -> Refused:
    """The refusal that `original` must end in."""
    answer = reply_to(original, content_type)
    assert isinstance(answer, Refused), answer
    return answer


def process(original: bytes, content_type: str = "image/jpeg", focus: BoundingBox | None = None) -> Work:
    """Everything the pipeline makes of `original`; fails the test if it refuses."""
    work = Work(io.BytesIO(original), request_for(content_type, focus))
    try:
        for step in pipeline.STEPS:
            step(work)
    except ProcessingFailed as refusal:
        raise AssertionError(f"refused: {refusal.failure} {refusal.message}") from refusal
    return work


def picture(work: Work, name: RenditionName, target: MediaFormat = MediaFormat.JPEG) -> Image.Image:
    """One rendition, decoded again."""
    body = next(r.body for r in work.renditions if (r.name, r.format) == (name, target))
    return Image.open(io.BytesIO(body))


def saved(image: Image.Image, container: str, **options: object) -> bytes:
    """`image` as a file."""
    encoded = io.BytesIO()
    image.save(encoded, container, **options)
    return encoded.getvalue()
