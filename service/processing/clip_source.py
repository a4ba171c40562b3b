"""A clip as libav reads it, held to one container, one thread and the open file: it can reach nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO, Final, NamedTuple, NoReturn, cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.buffer import Buffer
from av.codec.context import CodecContext
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from service.policies import MAX_PIXELS

# One demuxer each: playlists, concatenations and devices, which open other files, are never tried.
_CONTAINERS: Final = {"video/mp4": "mov", "video/quicktime": "mov", "video/webm": "matroska"}

# What phones, cameras and browsers write. Every other decoder of libav stays out of reach, PNG and text included.
VIDEO_CODECS: Final = ("h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "h263", "mjpeg", "prores")
AUDIO_CODECS: Final = (
    *("aac", "mp3", "opus", "vorbis", "alac", "ac3", "eac3", "amr_nb", "amr_wb"),
    *("pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_f32le", "pcm_u8", "pcm_alaw", "pcm_mulaw"),
)
_DECODERS: Final = {"mp3": "mp3float", "amr_nb": "amrnb", "amr_wb": "amrwb", "av1": "libdav1d"}

MAX_STREAMS: Final = 32
_READ_BYTES: Final = 256 * 1024
# Of a container's own times, in a second.
_TICKS: Final = 1_000_000


class Extent(NamedTuple):
    """When the last packet ends, in seconds, and how many of them hold pictures."""

    ends_s: float
    pictures: int


@dataclass(slots=True)
class ClipSource:
    """An open clip. `sound` is None for a silent one. Times are seconds since the first of both begins."""

    container: InputContainer
    picture: VideoStream
    sound: AudioStream | None
    start_s: float

    @classmethod
    def open(cls, file: BinaryIO, content_type: str) -> ClipSource | None:
        """From the beginning of `file`; None if it holds sound alone.

        ValueError if it holds neither; whatever libav raises escapes.
        """
        file.seek(0)
        container = av.open(
            file,
            "r",
            format=_CONTAINERS[content_type],
            options={
                "codec_whitelist": ",".join(_DECODERS.get(name, name) for name in (*VIDEO_CODECS, *AUDIO_CODECS)),
                "max_streams": str(MAX_STREAMS),
                "threads": "1",
            },
            metadata_errors="replace",
            buffer_size=_READ_BYTES,
            io_open=_refuse_to_open,
        )
        picture = next(filter(_moves, container.streams.video), None)
        if picture is None:
            heard = len(container.streams.audio)
            container.close()
            if not heard:
                raise ValueError("neither pictures nor sound")
            return None
        # Not before: libav forgets the size of what it may not decode, and with it why it is refused.
        _prepare(picture, max_pixels=MAX_PIXELS[content_type])
        sound = next((stream for stream in container.streams.audio if _decodable(stream, AUDIO_CODECS)), None)
        if sound is not None:
            _prepare(sound)
        return cls(container, picture, sound, (container.start_time or 0) / _TICKS)

    @property
    def decodable(self) -> bool:
        """Whether its pictures are in a coding that is decoded here."""
        return _decodable(self.picture, VIDEO_CODECS)

    @property
    def duration_s(self) -> float:
        """The longest that any part of its header says; 0 if none does."""
        streams = [stream for stream in (self.picture, self.sound) if stream is not None]
        told = [float(stream.duration * stream.time_base) for stream in streams if stream.duration and stream.time_base]
        return max(0.0, *told, (self.container.duration or 0) / _TICKS)

    def extent(self, *, limit_s: float, max_pictures: int) -> Extent:
        """As its packets say, whatever its header does: reads all of it, decodes nothing, and stops beyond a limit.

        What comes after a place that cannot be read does not count.
        """
        ends_s, pictures = 0.0, 0
        streams = [stream for stream in (self.picture, self.sound) if stream is not None]
        try:
            for packet in self.container.demux(*streams):
                if packet.pts is not None and packet.time_base:
                    ends_s = max(ends_s, float((packet.pts + (packet.duration or 0)) * packet.time_base) - self.start_s)
                    pictures += packet.stream is self.picture
                if ends_s > limit_s or pictures > max_pictures:
                    break
        except av.error.FFmpegError:
            pass
        return Extent(ends_s, pictures)

    def pixel_aspect(self) -> Fraction:
        """How wide a stored pixel is to be shown, for a height of 1. Absurd ones are ignored."""
        aspect = self.picture.sample_aspect_ratio or Fraction(1)
        return aspect if Fraction(1, 4) <= aspect <= 4 else Fraction(1)

    def keyframe_at(self, seconds: float) -> VideoFrame | None:
        """The key frame that is shown at or before `seconds`; None if there is none that can be decoded."""
        self.picture.codec_context.skip_frame = "NONKEY"
        self.container.seek(round((seconds + self.start_s) * _TICKS), backward=True)
        return next(self._pictures(), None)

    def first_pictures(self) -> Iterator[VideoFrame]:
        """Every picture, from the first on."""
        self.picture.codec_context.skip_frame = "DEFAULT"
        self.container.seek(0, backward=True)
        return self._pictures()

    def _pictures(self) -> Iterator[VideoFrame]:
        for packet in self.container.demux(self.picture):
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                # One damaged picture is no reason to go without the next.
                continue
            yield from frames

    def time_of(self, frame: av.VideoFrame | av.AudioFrame) -> float | None:
        """When `frame` is to be shown or heard; None if the file does not say."""
        if frame.pts is None or frame.time_base is None:
            return None
        return float(frame.pts * frame.time_base) - self.start_s

    def close(self) -> None:
        self.container.close()


def orientation_of(frame: VideoFrame) -> int:
    """The turn that the track's display matrix asks for, as an EXIF orientation (1 to 8).

    ISO/IEC 14496-12, 6.2.2: nine numbers, row by row; (a, b) is where a step to the right goes, (c, d) a step down.
    """
    matrix = cast("Mapping[str, Buffer]", frame.side_data).get("DISPLAYMATRIX")
    if matrix is None:
        return 1
    a, b, _, c, d = np.frombuffer(bytes(matrix), dtype=np.int32)[:5].tolist()
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return {(1, 1): 1, (-1, 1): 2, (-1, -1): 3, (1, -1): 4}[_sign(a), _sign(d)]
    return {(1, 1): 5, (1, -1): 6, (-1, -1): 7, (-1, 1): 8}[_sign(b), _sign(c)]


def _sign(value: int) -> int:
    return int(math.copysign(1, value))


def _refuse_to_open(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    raise PermissionError("a clip may not refer to other files")


def _moves(stream: Stream) -> bool:
    return not stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails)


def _decodable(stream: Stream, codecs: tuple[str, ...]) -> bool:
    # A stream whose coding is not known to libav at all has no codec context.
    context: CodecContext | None = stream.codec_context
    return context is not None and context.codec.canonical_name in codecs


def _prepare(stream: VideoStream | AudioStream, **options: int) -> None:
    context: CodecContext | None = stream.codec_context
    if context is not None:
        context.thread_count = 1
        context.options = {name: str(value) for name, value in options.items()}
