"""The first steps for a clip: open it, hold it to the limits, and find the picture that stands for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from typing import Final

import av
import numpy as np
from av.video.frame import VideoFrame

from service.errors import FailureCode, ProcessingFailed
from service.policies import MAX_CLIP_S, MAX_PIXELS
from service.processing.base_sizes import base_size
from service.processing.clip_colours import PictureReader
from service.processing.clip_source import VIDEO_CODECS, ClipSource, orientation_of
from service.processing.detect import HEAD_BYTES
from service.processing.metadata import metadata_of_clip
from service.processing.opening import agreed_type
from service.processing.wire import MAX_SIDE
from service.processing.work import Work

LIBAV: Final = f"PyAV {av.__version__}"

# A container and its sound round their ends up by a frame or two.
_SLACK_S: Final = 1.0
# Slow motion of phones is recorded at 240 a second.
MAX_FRAME_RATE: Final = 300

# Where the picture is looked for, as parts of the whole: a beginning is often black, an end says goodbye.
_PLACES: Final = (0.1, 0.3, 0.5, 0.7, 0.0)
_EARLIEST_S: Final = 1.0
# If no key frame will do, so many pictures from the first on are looked at, and these of them.
_OPENING_FRAMES: Final = 90
_OPENING_STRIDE: Final = 10
# Of a thumbnail of so many pixels a side, in grey: how much it must vary (standard deviation) to show something.
_LOOK_SIDE: Final = 32
_TELLING: Final = 14.0


def open_clip(work: Work) -> None:
    """Read the header, nothing more. TYPE_MISMATCH, UNSUPPORTED_FORMAT or CORRUPT_FILE."""
    work.byte_length = work.source.seek(0, os.SEEK_END)
    work.source.seek(0)
    work.content_type = agreed_type(work.source.read(HEAD_BYTES), work.request.content_type)
    work.clip = clip = open_source(work)
    if clip is None or not clip.decodable:
        raise ProcessingFailed(
            FailureCode.UNSUPPORTED_FORMAT,
            "The file holds sound, but no moving pictures. Upload a clip with pictures."
            if clip is None
            else f"The clip's pictures are in a coding that is not taken. Convert it to {', '.join(VIDEO_CODECS)}.",
        )
    work.metadata = metadata_of_clip(clip.container.metadata, work.request.metadata)
    work.note(LIBAV)


def open_source(work: Work) -> ClipSource | None:
    """The file of `work`, opened from its beginning. CORRUPT_FILE if that fails."""
    try:
        return ClipSource.open(work.source, work.content_type)
    except MemoryError:
        raise
    except Exception as error:
        # Wide on purpose: demuxers answer with many kinds of errors, those of the operating system among them.
        raise ProcessingFailed(
            FailureCode.CORRUPT_FILE,
            "The file begins like a clip, but its header cannot be read. It may be damaged: upload it again.",
        ) from error


def check_clip_limits(work: Work) -> None:
    """CLIP_TOO_LONG, TOO_MANY_PIXELS, DECODE_LIMIT_EXCEEDED or CORRUPT_FILE, before a picture is decoded."""
    clip = opened(work)
    width, height = clip.picture.width, clip.picture.height
    if not (width and height):
        raise ProcessingFailed(
            FailureCode.CORRUPT_FILE, "The clip's pictures have no size that can be decoded. Save it again."
        )
    limit = MAX_PIXELS[work.request.content_type]
    if max(width, height) > MAX_SIDE or width * height > limit:
        raise ProcessingFailed(
            FailureCode.TOO_MANY_PIXELS,
            f"The clip is {width} x {height} pixels; at most 3840 x 2160 can be processed. Upload a smaller version.",
        )
    work.stored_size = (max(1, round(width * clip.pixel_aspect())), height)
    told_s, limit_s = clip.duration_s, MAX_CLIP_S + _SLACK_S
    if told_s > limit_s:
        raise too_long()
    # Headers lie, and browsers record WebM as it comes, without going back to say how long it was.
    found = clip.extent(limit_s=limit_s, max_pictures=round(MAX_FRAME_RATE * limit_s))
    clip.close()
    work.clip = open_source(work)
    if found.ends_s > limit_s:
        raise too_long()
    if not found.pictures:
        raise damaged()
    duration_s = found.ends_s if found.ends_s > told_s + _SLACK_S else told_s or found.ends_s
    if found.pictures > MAX_FRAME_RATE * (duration_s + _SLACK_S):
        raise ProcessingFailed(
            FailureCode.DECODE_LIMIT_EXCEEDED,
            f"The clip has more than {MAX_FRAME_RATE} pictures a second. Save it again with another program.",
            quarantine=True,
        )
    work.duration_ms = round(1_000 * duration_s)
    work.note(LIBAV)


def damaged() -> ProcessingFailed:
    return ProcessingFailed(
        FailureCode.CORRUPT_FILE, "The clip is damaged or incomplete. Upload it again from the source."
    )


def too_long() -> ProcessingFailed:
    return ProcessingFailed(
        FailureCode.CLIP_TOO_LONG, f"The clip lasts longer than {MAX_CLIP_S} seconds. Upload a shorter one."
    )


def opened(work: Work) -> ClipSource:
    """The clip that `open_clip` has opened."""
    if work.clip is None:
        raise RuntimeError("open_clip comes first")
    return work.clip


def read_turn(work: Work) -> None:
    """How the clip stands, which its pictures say, where none of them is wanted. CORRUPT_FILE if none decodes."""
    frame = next(_candidates(opened(work), 0.0), None)
    if frame is None:
        raise damaged()
    work.orientation = orientation_of(frame)
    work.note(LIBAV)


def read_still(work: Work) -> None:
    """Find the picture that stands for the clip, at the size of the largest rendition. CORRUPT_FILE if none decodes."""
    clip = opened(work)
    frame = _telling_frame(clip, (work.duration_ms or 0) / 1_000)
    if frame is None:
        raise damaged()
    work.orientation = orientation_of(frame)
    work.image = PictureReader(base_size(work.stored_size, work.request.renditions)).read(frame)
    work.note(LIBAV, at_s=round(clip.time_of(frame) or 0.0, 3))


def _telling_frame(clip: ClipSource, duration_s: float) -> VideoFrame | None:
    best, best_variation = None, -1.0
    for frame in _candidates(clip, duration_s):
        variation = _variation(frame)
        if variation >= _TELLING:
            return frame
        if variation > best_variation:
            best, best_variation = frame, variation
    return best


def _candidates(clip: ClipSource, duration_s: float) -> Iterator[VideoFrame]:
    seen = set()
    for place in _PLACES:
        at = max(place * duration_s, min(_EARLIEST_S, duration_s / 2)) if place else 0.0
        try:
            frame = clip.keyframe_at(at)
        except av.error.FFmpegError:
            continue
        if frame is not None and frame.pts not in seen:
            seen.add(frame.pts)
            yield frame
    try:
        yield from islice(clip.first_pictures(), 0, _OPENING_FRAMES, _OPENING_STRIDE)
    except av.error.FFmpegError:
        return


def _variation(frame: VideoFrame) -> float:
    grey = frame.reformat(_LOOK_SIDE, _LOOK_SIDE, format="gray", threads=1).to_ndarray()
    return float(np.std(grey))
