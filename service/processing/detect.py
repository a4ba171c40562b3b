"""What a file is, by its first bytes alone: a name or a declared type is only a claim."""

from __future__ import annotations

import codecs
import re
from typing import Final

# Enough to see past every signature below, and past the preamble of an SVG or HTML document.
HEAD_BYTES: Final = 512

_SIGNATURES: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"PK\x05\x06", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"\x7fELF", "application/x-executable"),
    (b"MZ", "application/x-executable"),
    (b"\x1a\x45\xdf\xa3", "video/webm"),
)

# Brands of ISO base media files (`ftyp` box): major first, then compatible ones. `mif1` and `msf1` say "an image or
# a sequence" only, so a more telling compatible brand wins over them.
_BRANDS: Final[dict[bytes, str]] = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"hevc": "image/heic",
    b"hevx": "image/heic",
    b"heim": "image/heic",
    b"heis": "image/heic",
    b"qt  ": "video/quicktime",
}
_GENERIC_BRANDS: Final = frozenset({b"mif1", b"msf1", b"miaf"})

_MARKUP: Final = re.compile(rb"<(svg|!doctype|html|head|body|script|\?xml)\b", re.IGNORECASE)
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


def sniff(head: bytes) -> str | None:
    """The content type that the first `HEAD_BYTES` of a file stand for; None if they match nothing known."""
    for signature, content_type in _SIGNATURES:
        if head.startswith(signature):
            return content_type
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if head[4:8] == b"ftyp":
        return _iso_media(head)
    return _text(head)


def _iso_media(head: bytes) -> str:
    size = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, size - 3, 4))]
    for brand in brands:
        if brand in _BRANDS:
            return _BRANDS[brand]
    return "image/heif" if brands[0] in _GENERIC_BRANDS else "video/mp4"


def _text(head: bytes) -> str | None:
    if not head or _CONTROL.search(head) or not _is_utf8(head):
        return None
    markup = _MARKUP.search(head)
    if markup is None:
        return "text/plain"
    return "image/svg+xml" if b"<svg" in head.lower() else "text/html"


def _is_utf8(head: bytes) -> bool:
    try:
        # Not final: the last character may be cut off.
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True
