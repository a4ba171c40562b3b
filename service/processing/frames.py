"""How many frames an animated picture has and how long it lasts, from its structure alone: nothing is decoded.

Counting goes no further than `MAX_ANIMATION_FRAMES`, since what comes after is not shown; lasting is of those counted.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import BinaryIO, Final

from service.policies import MAX_ANIMATION_FRAMES
from service.processing.iso_boxes import boxes_of
from service.processing.work import Work

# Browsers show frames that ask for less as if they had said nothing, a tenth of a second.
_SHORTEST_MS: Final = 10
_UNSAID_MS: Final = 100

_MAX_CHUNKS: Final = 100_000


def shown_ms(delay_ms: float) -> int:
    """How long browsers show a frame whose file asks for `delay_ms`."""
    return round(delay_ms) if delay_ms > _SHORTEST_MS else _UNSAID_MS


def count_frames(work: Work) -> None:
    """Fill in `frame_count` and, of animations, `duration_ms`. A structure that ends early has the frames before."""
    format_name = work.image.format or ""
    # Pillow would have to decode a GIF to know; of the others it tells at no cost, and most hold a single frame.
    if format_name != "GIF" and not getattr(work.image, "is_animated", False):
        return
    position = work.source.tell()
    work.source.seek(0)
    if format_name == "AVIF":
        work.frame_count = min(work.image.n_frames, MAX_ANIMATION_FRAMES)  # type: ignore[attr-defined]
        work.duration_ms = _track_ms(work.source)
    elif format_name in _DELAYS:
        found = list(itertools.islice(_DELAYS[format_name](work.source), MAX_ANIMATION_FRAMES))
        if len(found) > 1:
            work.frame_count, work.duration_ms = len(found), sum(map(shown_ms, found))
    work.source.seek(position)


def _gif_delays(reader: BinaryIO) -> Iterator[float]:
    """Of each image descriptor, what the graphic control extension before it asks for (GIF89a, 20 and 23)."""
    screen = reader.read(13)
    reader.read(_color_table_bytes(screen[10:11]))
    delay_ms = 0.0
    while introducer := reader.read(1):
        if introducer == b"\x21":
            label, first = reader.read(1), _sub_block(reader)
            if label == b"\xf9" and len(first) >= 3:
                delay_ms = 10.0 * int.from_bytes(first[1:3], "little")
            if first:
                _skip_sub_blocks(reader)
        elif introducer == b"\x2c":
            descriptor = reader.read(9)
            if len(descriptor) < 9:
                return
            yield delay_ms
            delay_ms = 0.0
            reader.read(_color_table_bytes(descriptor[8:9]) + 1)
            _skip_sub_blocks(reader)
        else:
            return


def _color_table_bytes(flags: bytes) -> int:
    return 3 << ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0


def _sub_block(reader: BinaryIO) -> bytes:
    size = reader.read(1)
    return reader.read(size[0]) if size else b""


def _skip_sub_blocks(reader: BinaryIO) -> None:
    while _sub_block(reader):
        pass


def _webp_delays(file: BinaryIO) -> Iterator[float]:
    """Of each ANMF chunk (RFC 9649, 2.7.1.1)."""
    file.seek(12)
    for _ in range(_MAX_CHUNKS):
        header = file.read(8)
        if len(header) < 8:
            return
        size = int.from_bytes(header[4:], "little")
        start = file.tell()
        if header[:4] == b"ANMF":
            yield float(int.from_bytes(file.read(16)[12:15], "little"))
        file.seek(start + size + size % 2)


def _png_delays(file: BinaryIO) -> Iterator[float]:
    """Of each fcTL chunk (PNG, third edition, 11.3.6.2)."""
    file.seek(8)
    for _ in range(_MAX_CHUNKS):
        header = file.read(8)
        if len(header) < 8 or header[4:] == b"IEND":
            return
        start = file.tell()
        if header[4:] == b"fcTL":
            control = file.read(26)
            over = int.from_bytes(control[22:24], "big") or 100
            yield 1_000 * int.from_bytes(control[20:22], "big") / over
        file.seek(start + int.from_bytes(header[:4], "big") + 4)


def _track_ms(file: BinaryIO) -> int | None:
    """As the header of the first track says (ISO/IEC 14496-12, 8.4.2); None if it does not."""
    for body in boxes_of(file, b"moov", b"trak", b"mdia", b"mdhd"):
        wide = body[:1] == b"\x01"
        scale, length = (body[20:24], body[24:32]) if wide else (body[12:16], body[16:20])
        per_second = int.from_bytes(scale, "big")
        if per_second:
            return min(round(1_000 * int.from_bytes(length, "big") / per_second), 2**31 - 1)
    return None


_DELAYS: Final = {"GIF": _gif_delays, "WEBP": _webp_delays, "PNG": _png_delays}
