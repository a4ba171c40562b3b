"""The PREVIEW: a clip, or an animated picture, as a small MP4 that plays everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Final, cast

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from service.errors import FailureCode, ProcessingFailed
from service.models import MediaFormat, Rendition, RenditionName
from service.policies import MAX_CLIP_S
from service.processing.animation import check_animation, shown_frames
from service.processing.clip_colours import PictureReader, needs_mapping
from service.processing.clip_source import ClipSource
from service.processing.clips import LIBAV, damaged, open_source, too_long
from service.processing.orientation import upright
from service.processing.preview_encoding import (
    CRF,
    MAX_BIT_RATE,
    MAX_RATE,
    PRESET,
    Pace,
    PreviewEncoder,
    Sound,
    frame_of,
    preview_size,
)
from service.processing.wire import MAX_RENDITION_BYTES
from service.processing.work import Work

ENCODER: Final = f"{LIBAV}, libx264, aac"
# So much of a clip may be beyond decoding before it counts as damaged.
_MAX_DAMAGED_PACKETS: Final = 100
_SLACK_S: Final = 2.0


def preview_clip(work: Work) -> None:
    """Make the PREVIEW of a clip, where it is wanted. CORRUPT_FILE, or CLIP_TOO_LONG if its header told less."""
    if not work.wants(RenditionName.PREVIEW):
        return
    source = open_source(work)
    if source is None:
        raise RuntimeError("a clip that has no pictures was not refused")
    with closing(source):
        size = preview_size(work.size, _max_side(work))
        _keep(work, size, _ClipPreview(work, source, size).made())


def preview_animation(work: Work) -> None:
    """Make the PREVIEW of an animated picture, where it is wanted. DECODE_LIMIT_EXCEEDED or CORRUPT_FILE."""
    if not work.wants(RenditionName.PREVIEW) or work.frame_count < 2:
        return
    check_animation(work)
    size = preview_size(work.size, _max_side(work))
    encoder, pace = PreviewEncoder(size), Pace()
    ends = 0.0
    for picture, seconds, lasts in shown_frames(work, size, pace.keeps):
        if picture is not None:
            encoder.add_picture(frame_of(picture), seconds)
        ends = seconds + lasts
    if not encoder.begun:
        raise damaged()
    _keep(work, size, encoder.finish(ends))


class _ClipPreview:
    """Pictures and sound of `source` on their way into a preview of `size` pixels."""

    def __init__(self, work: Work, source: ClipSource, size: tuple[int, int]) -> None:
        self._orientation = work.orientation
        self._source = source
        self._encoder = PreviewEncoder(size, _sound_of(source))
        self._pace = Pace()
        self._reader = PictureReader((size[1], size[0]) if work.transposed else size)
        self._ends_s = 0.0
        self._damaged = 0

    def made(self) -> bytes:
        """The whole file."""
        streams = [stream for stream in (self._source.picture, self._source.sound) if stream is not None]
        for packet in self._source.container.demux(*streams):
            for frame in self._decoded(packet):
                seconds = self._source.time_of(frame)
                if seconds is not None and seconds > MAX_CLIP_S + _SLACK_S:
                    raise too_long()
                if isinstance(frame, VideoFrame):
                    self._show(frame, self._ends_s if seconds is None else seconds)
                elif seconds is not None:
                    self._encoder.add_sound(frame, seconds)
        if not self._encoder.begun:
            raise damaged()
        return self._encoder.finish(self._ends_s)

    def _decoded(self, packet: Packet[Stream]) -> Sequence[VideoFrame | AudioFrame]:
        try:
            # Only streams of pictures and sound are asked for.
            return cast("Packet[VideoStream] | Packet[AudioStream]", packet).decode()
        except av.error.FFmpegError as error:
            self._damaged += 1
            if self._damaged > _MAX_DAMAGED_PACKETS:
                raise damaged() from error
            return []

    def _show(self, frame: VideoFrame, seconds: float) -> None:
        lasts = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else 1 / MAX_RATE
        self._ends_s = max(self._ends_s, seconds + lasts)
        if seconds < 0 or not self._pace.keeps(seconds):
            return
        if self._orientation != 1 or needs_mapping(frame):
            frame = frame_of(upright(self._reader.read(frame), self._orientation))
        self._encoder.add_picture(frame, seconds)


def _sound_of(source: ClipSource) -> Sound | None:
    return None if source.sound is None else Sound(source.sound.sample_rate, source.sound.channels)


def _max_side(work: Work) -> int:
    return next(policy.max_side for policy in work.request.renditions if policy.name is RenditionName.PREVIEW)


def _keep(work: Work, size: tuple[int, int], body: bytes) -> None:
    if len(body) > MAX_RENDITION_BYTES:
        raise ProcessingFailed(
            FailureCode.DECODE_LIMIT_EXCEEDED, "The preview would be too large. Upload a shorter one."
        )
    work.renditions.append(Rendition(RenditionName.PREVIEW, MediaFormat.MP4, *size, body))
    work.note(ENCODER, preset=PRESET, crf=CRF, max_bit_rate=MAX_BIT_RATE)
