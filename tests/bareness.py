"""What a file holds beside its picture, by its structure rather than by what a library finds in it."""

from __future__ import annotations

from typing import Final


def foreign_parts(body: bytes) -> list[str]:
    """What a JPEG, WebP or AVIF file holds beside its picture: nothing, if it is bare."""
    if body[:2] == b"\xff\xd8":
        return _foreign_segments(body)
    return _foreign_chunks(body) if body[:4] == b"RIFF" else _foreign_boxes(body)


def _foreign_segments(body: bytes) -> list[str]:
    """All but JFIF's header of the plain kind, tables, frame, scans and restarts; and whatever follows the end."""
    found, at = [], 2
    while body[at + 1] != 0xD9:
        marker, length = body[at + 1], int.from_bytes(body[at + 2 : at + 4], "big")
        is_plain_jfif = marker == 0xE0 and body[at + 4 : at + 9] == b"JFIF\0" and length == 16
        if not is_plain_jfif and marker not in (0xDB, 0xC0, 0xC2, 0xC4, 0xDA, 0xDD):
            found.append(f"segment {marker:02x}")
        at += 2 + length
        while marker == 0xDA and not (body[at] == 0xFF and body[at + 1] not in (0, *range(0xD0, 0xD8))):
            at += 1
    return found + ["trailer"] * (at + 2 != len(body))


def _foreign_chunks(body: bytes) -> list[str]:
    found, at = [], 12
    while at < len(body):
        kind, length = body[at : at + 4], int.from_bytes(body[at + 4 : at + 8], "little")
        # Of VP8X's flags, only transparency: not ICC, EXIF, XMP or animation.
        if kind not in (b"VP8 ", b"VP8L", b"VP8X", b"ALPH") or (kind == b"VP8X" and body[at + 8] & ~0x10):
            found.append(f"chunk {kind!r}")
        at += 8 + length + length % 2
    return found + ["trailer"] * (int.from_bytes(body[4:8], "little") + 8 != len(body))


_AVIF_PATHS: Final = {
    b"": {b"ftyp", b"meta", b"mdat"},
    b"meta": {b"hdlr", b"pitm", b"iloc", b"iinf", b"iref", b"iprp"},
    b"iprp": {b"ipco", b"ipma"},
    b"ipco": {b"ispe", b"pixi", b"av1C", b"colr", b"auxC", b"pasp"},
    b"iinf": {b"infe"},
}
# Where the boxes within a box begin: after version, flags and count.
_HEADERS: Final = {b"meta": 4, b"iinf": 6}


def _foreign_boxes(body: bytes, inside: bytes = b"") -> list[str]:
    found, at = [], _HEADERS.get(inside, 0)
    while at < len(body):
        length, kind = int.from_bytes(body[at : at + 4], "big"), body[at + 4 : at + 8]
        inner = body[at + 8 : at + length]
        if kind not in _AVIF_PATHS[inside]:
            found.append(f"box {kind!r} in {inside!r}")
        elif kind == b"infe" and inner[8:12] != b"av01":
            found.append(f"item {inner[8:12]!r}")
        elif kind == b"colr" and inner[:4] != b"nclx":
            found.append(f"profile {inner[:4]!r}")
        elif kind in _AVIF_PATHS:
            found += _foreign_boxes(inner, kind)
        at += length or len(body)
    return found
