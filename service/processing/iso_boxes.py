"""Boxes of an ISO base media file (ISO/IEC 14496-12, 4.2), found without reading what lies between them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Final

# What is looked for has a few dozen bytes, and no file that a camera writes has so many boxes on its way there.
_MAX_BODY_BYTES: Final = 4_096
_MAX_BOXES: Final = 10_000


def boxes_of(file: BinaryIO, *path: bytes) -> Iterator[bytes]:
    """The first bytes of each box under `path`, such as `moov`, `mvhd`. A box that is cut off ends the search."""
    yield from _under(file, 0, file.seek(0, 2), path)


def _under(file: BinaryIO, at: int, end: int, path: tuple[bytes, ...]) -> Iterator[bytes]:
    for _ in range(_MAX_BOXES):
        file.seek(at)
        header = file.read(16)
        size, body = int.from_bytes(header[:4], "big"), at + 8
        if size == 1:
            size, body = int.from_bytes(header[8:16], "big"), at + 16
        elif size == 0:
            size = end - at
        if len(header) < 8 or size < body - at or at + size > end:
            return
        if header[4:8] == path[0]:
            if path[1:]:
                # This one has a version and flags before its children.
                skipped = 4 if path[0] == b"meta" else 0
                yield from _under(file, body + skipped, at + size, path[1:])
            else:
                file.seek(body)
                yield file.read(min(at + size - body, _MAX_BODY_BYTES))
        at += size
