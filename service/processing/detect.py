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
)

_EBML: Final = b"\x1a\x45\xdf\xa3"
_DOC_TYPE: Final = b"\x42\x82"
_DOC_TYPES: Final = {b"webm": "video/webm", b"matroska": "video/x-matroska"}

# Brands of ISO base media files (`ftyp` box): major first, then compatible ones; the first that is listed decides.
# `mif1`, `msf1` and `miaf` say "an image or a sequence" only, so a more telling one wins over them.
_BRANDS: Final[dict[bytes, str]] = {
    **dict.fromkeys((b"avif", b"avis"), "image/avif"),
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs"), "image/heic"),
    b"qt  ": "video/quicktime",
    **dict.fromkeys((b"isom", *(b"iso%d" % number for number in range(2, 10)), b"mp41", b"mp42"), "video/mp4"),
    **dict.fromkeys((b"avc1", b"hvc1", b"M4V ", b"M4VH", b"M4VP", b"MSNV", b"XAVC", b"dash"), "video/mp4"),
    **dict.fromkeys((b"M4A ", b"M4B "), "audio/mp4"),
    b"jp2 ": "image/jp2",
    b"crx ": "image/x-canon-cr3",
}
_GENERIC_BRANDS: Final = frozenset({b"mif1", b"msf1", b"miaf"})
# QuickTime files are older than `ftyp`, and may begin with any of these.
_QUICKTIME_BOXES: Final = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})

_ALIKE: Final = frozenset({"image/heic", "image/heif"})

_MARKUP: Final = re.compile(rb"<(svg|!doctype|html|head|body|script|\?xml)\b", re.IGNORECASE)
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


def sniff(head: bytes) -> str | None:
    """The content type that the first `HEAD_BYTES` of a file stand for; None if they match nothing known."""
    for signature, content_type in _SIGNATURES:
        if head.startswith(signature):
            return content_type
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if head.startswith(_EBML):
        return _matroska(head)
    if head[4:8] == b"ftyp":
        return _iso_media(head)
    if head[4:8] in _QUICKTIME_BOXES:
        return "video/quicktime"
    return _text(head)


def agrees(found: str | None, declared: str) -> bool:
    """Whether a file that is `found` may be called `declared`. HEIC, which is HEIF with HEVC inside, has both names."""
    return found is not None and (found == declared or {found, declared} <= _ALIKE)


def _iso_media(head: bytes) -> str | None:
    size = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, size - 3, 4))]
    for brand in brands:
        if brand in _BRANDS:
            return _BRANDS[brand]
        if brand[:2] in (b"3g", b"3G"):
            return "video/3gpp"
    return "image/heif" if brands[0] in _GENERIC_BRANDS else None


def _matroska(head: bytes) -> str | None:
    """By the document type in the EBML header (RFC 8794, 11.2); None if it does not say."""
    end, at = _element(head, len(_EBML))
    while at < min(end, len(head)):
        name, (after, content) = head[at : at + 2], _element(head, at + 2)
        if name == _DOC_TYPE:
            return _DOC_TYPES.get(head[content:after].rstrip(b"\x00"))
        if after <= at:
            break
        at = after
    return None


def _element(head: bytes, at: int) -> tuple[int, int]:
    """Where an element ends and its content begins, its size being at `at` (RFC 8794, 4); (0, 0) if it is cut off.

    In the header all names but the first have two bytes.
    """
    if at >= len(head) or not head[at]:
        return 0, 0
    length = 9 - head[at].bit_length()
    size = int.from_bytes(head[at : at + length], "big") & ((1 << (7 * length)) - 1)
    return at + length + size, at + length


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
