"""Clips made in code: a scene whose corners tell whether it stands upright, with a tone to hear where that matters."""

from __future__ import annotations

import functools
import io
import struct
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Final

import av
import numpy as np
from PIL import Image

from service.processing.memory_file import RereadableFile
from tests.photos import scene

SECRET: Final = "Jane Q. Private, +52.5200+013.4050/"
Draw = Callable[[int], Image.Image]

# What writes each kind of clip: container, content type, codec of the pictures, of the sound, and what to tell them.
KINDS: Final = {
    "mp4": ("mp4", "video/mp4", "libx264", "aac", {"preset": "ultrafast"}),
    "mov": ("mov", "video/quicktime", "libx265", "aac", {"preset": "ultrafast", "x265-params": "log-level=none"}),
    "webm": ("webm", "video/webm", "libvpx-vp9", "libopus", {"deadline": "realtime", "cpu-used": "8"}),
    "vp8": ("webm", "video/webm", "libvpx", "libopus", {"deadline": "realtime", "cpu-used": "8"}),
    "mjpeg": ("mp4", "video/mp4", "mjpeg", "aac", {}),
    "av1": ("mp4", "video/mp4", "libsvtav1", "aac", {"preset": "12", "svtav1-params": "lp=1"}),
}


def content_type_of(kind: str) -> str:
    return KINDS[kind][1]


def clip(
    kind: str = "mp4",
    *,
    size: tuple[int, int] = (160, 96),
    seconds: float = 1.0,
    rate: int = 25,
    draw: Draw | None = None,
    sound: Callable[[np.ndarray], np.ndarray] | None = None,
    silent: bool = False,
    pixels: str = "yuv420p",
    pixel_aspect: Fraction | None = None,
    times: list[float] | None = None,
    tags: Mapping[str, str] | None = None,
    colours: tuple[int, int, int] | None = None,
    faststart: bool = False,
) -> bytes:
    """A clip of `kind` (see KINDS).

    `draw` gives the picture by its number (default: the scene with corners), `sound` its samples (-1 to 1) by their
    times; `times` when each picture is shown (default: evenly); `colours`: primaries, transfer and matrix as numbers.
    """
    format_name, _, codec, sound_codec, options = KINDS[kind]
    file = RereadableFile()
    options_of_container = {"movflags": "+faststart"} if faststart else {}
    with av.open(
        file, "w", format=format_name, container_options=options_of_container, io_open=lambda *_: file.reader()
    ) as output:
        output.metadata.update(tags or {})
        pictures = output.add_stream(codec, rate=rate, options={"g": str(rate), **options})
        pictures.width, pictures.height = size
        pictures.pix_fmt = "yuvj420p" if kind == "mjpeg" else pixels
        pictures.codec_context.time_base = Fraction(1, 90_000)
        if pixel_aspect is not None:
            pictures.codec_context.sample_aspect_ratio = pixel_aspect
        if colours is not None:
            context = pictures.codec_context
            context.color_primaries, context.color_trc, context.colorspace = colours
        track = None if silent else output.add_stream(sound_codec, rate=48_000, layout="stereo")
        shown = times or [index / rate for index in range(round(seconds * rate))]
        for index, at in enumerate(shown):
            frame = av.VideoFrame.from_ndarray(np.asarray((draw or _standing(size))(index)), format="rgb24")
            frame.pts, frame.time_base = round(at * 90_000), Fraction(1, 90_000)
            output.mux(pictures.encode(frame))
        if track is not None:
            for start in range(0, round(seconds * 48_000), 960):
                output.mux(track.encode(_tone(start, sound)))
            output.mux(track.encode(None))
        output.mux(pictures.encode(None))
    return file.getvalue()


def _standing(size: tuple[int, int]) -> Draw:
    picture = _scene(size)
    return lambda index: picture


@functools.lru_cache(maxsize=4)
def _scene(size: tuple[int, int]) -> Image.Image:
    return scene(*size)


def _tone(start: int, sound: Callable[[np.ndarray], np.ndarray] | None) -> av.AudioFrame:
    times = (np.arange(960) + start) / 48_000
    samples = (np.sin(2 * np.pi * 440 * times) * 0.3 if sound is None else sound(times)).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(np.stack([samples, samples]), format="fltp", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
    return frame


# The turn that a viewer must make under each EXIF orientation, as the matrix of ISO/IEC 14496-12, 6.2.2: (a, b, c, d).
_MATRICES: Final = {
    1: (1, 0, 0, 1),
    2: (-1, 0, 0, 1),
    3: (-1, 0, 0, -1),
    4: (1, 0, 0, -1),
    5: (0, 1, 1, 0),
    6: (0, 1, -1, 0),
    7: (0, -1, -1, 0),
    8: (0, -1, 1, 0),
}


def turned(original: bytes, orientation: int) -> bytes:
    """An MP4 or QuickTime clip whose pictures a viewer must turn as EXIF `orientation` says."""
    a, b, c, d = (value << 16 for value in _MATRICES[orientation])
    plain = _matrix(1 << 16, 0, 0, 1 << 16)
    at = original.index(plain, original.index(b"tkhd"))
    return original[:at] + _matrix(a, b, c, d) + original[at + len(plain) :]


def _matrix(a: int, b: int, c: int, d: int) -> bytes:
    return b"".join(value.to_bytes(4, "big", signed=True) for value in (a, b, 0, c, d, 0, 0, 0, 1 << 30))


def without_duration(webm: bytes) -> bytes:
    """A WebM clip as browsers record it: its header does not say how long it is (Duration becomes Void, RFC 9559)."""
    at = webm.index(b"\x44\x89\x88")
    return webm[:at] + b"\xec\x89" + bytes(9) + webm[at + 11 :]


def sound_only(with_cover: bool = False) -> bytes:
    """An MP4 without moving pictures; `with_cover`, with a still one, as music has it."""
    file = RereadableFile()
    with av.open(file, "w", format="mp4") as output:
        track = output.add_stream("aac", rate=48_000, layout="stereo")
        for start in range(0, 24_000, 960):
            output.mux(track.encode(_tone(start, None)))
        output.mux(track.encode(None))
    return file.getvalue()


def gif(frames: list[Image.Image], durations_ms: list[int], **options: object) -> bytes:
    """An animated GIF that repeats for ever."""
    encoded = io.BytesIO()
    frames[0].save(encoded, "GIF", save_all=True, append_images=frames[1:], duration=durations_ms, loop=0, **options)
    return encoded.getvalue()


def gif_of_specks(size: tuple[int, int], number: int, *, at: tuple[int, int] = (0, 0)) -> bytes:
    """A plain GIF of `size`, and `number` more frames of one pixel each, `at` a place that may be beyond it."""
    first = io.BytesIO()
    Image.new("P", size, 1).save(first, "GIF")
    # GIF89a, 23, 20 and 22: shown for 20 ms; where and how large; one pixel, compressed.
    place = struct.pack("<4H", *at, 1, 1)
    speck = b"\x21\xf9\x04\x08\x02\x00\x00\x00" + b"\x2c" + place + b"\x00" + b"\x02\x02\x44\x01\x00"
    return first.getvalue()[:-1] + speck * number + b";"
