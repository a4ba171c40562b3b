"""Pictures and sound into a small MP4 that starts to play before it has arrived whole: H.264, AAC, nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Final, NamedTuple

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.bitstream import BitStreamFilterContext
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation, VideoReformatter
from av.video.stream import VideoStream
from PIL import Image

from service.processing.clip_colours import matrix_of
from service.processing.memory_file import RereadableFile

MAX_RATE: Final = 30
# 16:9 at 720p; portrait clips get the same, upright.
_ASPECT: Final = Fraction(9, 16)
_TIME_BASE: Final = Fraction(1, 90_000)
# A display shows the next picture in time if this one comes a little early; phones' clocks are not exact.
_EARLY_S: Final = 0.1 / MAX_RATE

PRESET: Final = "veryfast"
CRF: Final = 26
MAX_BIT_RATE: Final = 2_000_000
AUDIO_BIT_RATE: Final = 96_000
_KEY_FRAME_EVERY: Final = 2 * MAX_RATE
# ITU-T H.264, table 7-1: supplemental enhancement information.
_H264_SEI: Final = 6
# ITU-T H.273: BT.709, as matrix, primaries and transfer alike.
_BT709: Final = 1
# Of one AAC frame.
_AAC_SAMPLES: Final = 1024


def preview_size(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    """`size` scaled down, if need be, into `max_side` by 9/16 of it, either way up; even, as 4:2:0 wants it."""
    long, short = max(size), min(size)
    scale = min(1.0, max_side / long, float(max_side * _ASPECT) / short)
    width, height = (max(2, round(side * scale / 2) * 2) for side in size)
    # Rounding to even must not enlarge, except where there is nothing smaller.
    return min(width, max(2, size[0] // 2 * 2)), min(height, max(2, size[1] // 2 * 2))


class Sound(NamedTuple):
    """What a source's sound is like: samples a second, and how many channels."""

    rate: int
    channels: int


def frame_of(picture: Image.Image) -> VideoFrame:
    """An RGB picture as libav takes it."""
    return VideoFrame.from_ndarray(np.asarray(picture), format="rgb24")


class Pace:
    """Which pictures to keep of a source that may have more of them than `MAX_RATE` a second, or come unevenly."""

    def __init__(self) -> None:
        self._due = 0.0

    def keeps(self, seconds: float) -> bool:
        """Whether the picture at `seconds`, after all those asked for earlier, is one to show."""
        if seconds + _EARLY_S < self._due:
            return False
        self._due = max(self._due, seconds - 1 / MAX_RATE) + 1 / MAX_RATE
        return True


class PreviewEncoder:
    """One MP4 in memory. Pictures and sound may come in any order, each in its own order of time."""

    def __init__(self, size: tuple[int, int], sound: Sound | None = None) -> None:
        self._file = RereadableFile()
        # `bitexact`: no dates, no program's name. `faststart` reads it all again, to put the index first.
        self._container: OutputContainer = av.open(
            self._file,
            "w",
            format="mp4",
            container_options={"movflags": "+faststart", "fflags": "+bitexact", "empty_hdlr_name": "1"},
            io_open=lambda url, flags, options: self._file.reader(),
        )
        self._scaler = VideoReformatter()
        self._size = size
        self._held: VideoFrame | None = None
        self._held_pts = -1
        self._lasting: dict[int, int] = {}
        self._last_coded: Packet[VideoStream] | None = None
        self._pictures = self._add_pictures()
        # x264 would write its settings into the stream.
        self._bare = BitStreamFilterContext(f"filter_units=remove_types={_H264_SEI}", "h264")
        self._sound = None if sound is None else _Sound(self._container, sound)

    def _add_pictures(self) -> VideoStream:
        stream = self._container.add_stream(
            "libx264",
            rate=MAX_RATE,
            options={
                "preset": PRESET,
                "crf": str(CRF),
                "profile": "high",
                "level": "3.1",
                "maxrate": str(MAX_BIT_RATE),
                "bufsize": str(2 * MAX_BIT_RATE),
                "flags": "+bitexact",
            },
        )
        stream.width, stream.height = self._size
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.thread_count = 1
        context.time_base = _TIME_BASE
        context.gop_size = _KEY_FRAME_EVERY
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = ColorRange.MPEG
        return stream

    def add_picture(self, picture: VideoFrame, seconds: float) -> None:
        """Show `picture`, scaled to the preview's size, from `seconds` on. Dropped if not after the last one."""
        pts = round(seconds / _TIME_BASE)
        if pts <= self._held_pts:
            return
        frame = self._scaler.reformat(
            picture,
            *self._size,
            format="yuv420p",
            src_colorspace=matrix_of(picture),
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            interpolation=Interpolation.BICUBIC,
            threads=1,
        )
        self._encode_held(pts)
        frame.pts, frame.time_base = pts, _TIME_BASE
        frame.color_primaries, frame.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        # Which pictures are key frames is for the encoder to say, whatever they were in the source.
        frame.pict_type = PictureType.NONE
        self._held, self._held_pts = frame, pts

    @property
    def begun(self) -> bool:
        """Whether there is a picture to show."""
        return self._held is not None

    def _encode_held(self, until_pts: int) -> None:
        """How long a picture lasts is known when the next one comes."""
        if self._held is not None:
            self._lasting[self._held_pts] = max(1, until_pts - self._held_pts)
            self._mux_pictures(self._pictures.encode(self._held))

    def add_sound(self, sound: AudioFrame, seconds: float) -> None:
        """Let `sound` be heard from `seconds` on; gaps are filled with silence. Nothing if the preview is silent."""
        if self._sound is not None:
            self._container.mux(self._sound.encoded(sound, seconds))

    def finish(self, ends_s: float) -> bytes:
        """The whole file; its last picture stays until `ends_s`."""
        if self._held is None:
            raise ValueError("a preview has at least one picture")
        ends_pts = round(ends_s / _TIME_BASE)
        self._encode_held(ends_pts)
        self._mux_pictures(self._pictures.encode(None))
        self._mux_last(max(ends_pts, self._held_pts + 1))
        if self._sound is not None:
            self._container.mux(self._sound.rest())
        self._container.close()
        return self._file.getvalue()

    def _mux_pictures(self, packets: Iterable[Packet[VideoStream]]) -> None:
        for packet in packets:
            # x264 takes every picture to last as long as its rate says.
            if packet.pts is not None:
                packet.duration = self._lasting.pop(packet.pts)
            for bare in self._bare.filter(packet):
                if self._last_coded is not None:
                    self._container.mux(self._last_coded)
                self._last_coded = bare

    def _mux_last(self, ends_pts: int) -> None:
        # A track lasts until its last sample's decoding time plus duration (ISO/IEC 14496-12, 8.6.1.2), and that sample
        # need not be the last to be shown: it is given the time that is left.
        packet = self._last_coded
        if packet is None or packet.pts is None:
            raise RuntimeError("the encoder kept every picture to itself")
        packet.dts, packet.duration = packet.pts, ends_pts - packet.pts
        self._container.mux(packet)


class _Sound:
    """AAC-LC, mono or stereo."""

    def __init__(self, container: OutputContainer, source: Sound) -> None:
        # The rate of discs and its fractions stay in their family; all others become that of film.
        self._rate = 44_100 if source.rate in (11_025, 22_050, 44_100, 88_200) else 48_000
        self._layout = "mono" if source.channels == 1 else "stereo"
        self._stream = container.add_stream("aac", rate=self._rate, layout=self._layout, options={"flags": "+bitexact"})
        self._stream.codec_context.bit_rate = AUDIO_BIT_RATE
        self._resampler = self._new_resampler(first_pts="0")

    def _new_resampler(self, **options: str) -> AudioResampler:
        # `async`: what is missing becomes silence, so that sound and pictures stay together.
        return AudioResampler(
            "fltp", self._layout, self._rate, frame_size=_AAC_SAMPLES, options={"async": "1", **options}
        )

    def encoded(self, frame: AudioFrame, seconds: float) -> list[Packet[AudioStream]]:
        frame.pts, frame.time_base = round(seconds * frame.sample_rate), Fraction(1, frame.sample_rate)
        try:
            ready = self._resampler.resample(frame)
        except ValueError:
            # It has another rate or layout than those before.
            ready = self._resampler.resample(None)
            self._resampler = self._new_resampler()
            ready += self._resampler.resample(frame)
        return [packet for each in ready for packet in self._stream.encode(each)]

    def rest(self) -> list[Packet[AudioStream]]:
        ready = self._resampler.resample(None)
        return [packet for each in (*ready, None) for packet in self._stream.encode(each)]
