"""The steps for what moves. A jail's work of its own: its codecs take memory, which most workers need for pictures."""

from __future__ import annotations

import warnings
from typing import BinaryIO, Final

from service.models import MediaFormat, MediaKind
from service.policies import kind_of
from service.processing import pipeline
from service.processing.clips import check_clip_limits, open_clip, read_still, read_turn
from service.processing.fingerprints import describe
from service.processing.frames import count_frames
from service.processing.limits import check_limits
from service.processing.metadata import read_metadata
from service.processing.opening import open_original
from service.processing.orientation import turn_upright
from service.processing.preview import preview_animation, preview_clip
from service.processing.renditions import encode_all, resize_all
from service.processing.trusted_clips import trusted_clips, trusted_preview_request
from service.processing.wire import REQUEST, ProcessingRequest, ViewRequest
from service.processing.work import Work

CLIP_STEPS: Final[tuple[pipeline.Step, ...]] = (
    open_clip,
    check_clip_limits,
    read_still,
    turn_upright,
    resize_all,
    encode_all,
    describe,
    preview_clip,
)
ANIMATION_STEPS: Final[tuple[pipeline.Step, ...]] = (*pipeline.STEPS, preview_animation)

# Where only the PREVIEW is wanted, looking for a still would cost as much again.
CLIP_PREVIEW_STEPS: Final[tuple[pipeline.Step, ...]] = (open_clip, check_clip_limits, read_turn, preview_clip)
ANIMATION_PREVIEW_STEPS: Final[tuple[pipeline.Step, ...]] = (
    open_original,
    check_limits,
    count_frames,
    read_metadata,
    preview_animation,
)


def steps_for(request: ProcessingRequest) -> tuple[pipeline.Step, ...]:
    """What makes what `request` asks of a clip or an animated picture."""
    formats = {format_ for policy in request.renditions for format_ in policy.formats}
    stills = request.fingerprints or request.keep_base or formats != {MediaFormat.MP4}
    if kind_of(request.content_type) is MediaKind.VIDEO:
        return CLIP_STEPS if stills else CLIP_PREVIEW_STEPS
    return ANIMATION_STEPS if stills else ANIMATION_PREVIEW_STEPS


def run(source: BinaryIO, request: bytes, reply: BinaryIO) -> None:
    """Do one job on a clip or an animated picture and say how it ended, as `wire` describes."""
    asked = REQUEST.validate_json(request)
    if isinstance(asked, ViewRequest):
        raise TypeError("a view is made by the steps for pictures")
    pipeline.take_all(steps_for(asked), Work(source, asked), reply)


def warm_up() -> None:
    """Run every path once on trusted files: in the jail, whatever is not loaded yet cannot be loaded."""
    # Of pictures, those that move are a part.
    pipeline.warm_up()
    warnings.simplefilter("ignore")
    for content_type, clip in trusted_clips():
        pipeline.rehearse(run, clip, trusted_preview_request(content_type), "processed")
