"""Files made to break a decoder, built in code so that each says what is wrong with it."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

from tests.photos import scene, small_photo


def text() -> bytes:
    """Prose under the name of a picture."""
    return b"This is a shopping list, not a photo. " * 40


def page() -> bytes:
    """A web page with a script, for a server that would echo it back."""
    return b"<!DOCTYPE html><html><body><script>alert(document.cookie)</script></body></html>"


def truncated_jpeg() -> bytes:
    """An upload that stopped half-way."""
    whole = small_photo(7)
    return whole[: len(whole) // 2]


def headless_jpeg() -> bytes:
    """The right first bytes, then noise."""
    return b"\xff\xd8\xff\xe0" + np.random.default_rng(1).bytes(2_000)


def png_bomb(side: int = 13_000) -> bytes:
    """169 megapixels of nothing in some 500 kB: half a gigabyte when decoded."""
    row = b"\x00" * (1 + 3 * side)
    packer = zlib.compressobj(9)
    packed = b"".join([*(packer.compress(row) for _ in range(side)), packer.flush()])
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        png_chunk(kind, body) for kind, body in ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b""))
    )


def png_claiming(width: int, height: int) -> bytes:
    """A PNG with next to no data behind its header."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\x00" * 1_000)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """A PNG chunk with its length and checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def webp_claiming(side: int = 9_400) -> bytes:
    """A lossless WebP of a few dozen bytes whose header asks for `side` x `side` pixels."""
    bits = (side - 1) | (side - 1) << 14
    body = b"\x2f" + struct.pack("<I", bits) + b"\x00" * 8
    chunk = b"VP8L" + struct.pack("<I", len(body)) + body + b"\x00" * (len(body) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def jpeg_claiming(width: int, height: int) -> bytes:
    """A small JPEG whose frame header asks for other dimensions than its data fills."""
    jpeg = bytearray(small_photo(7))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(jpeg)


def many_scans(scans: int = 300, width: int = 640, height: int = 480) -> bytes:
    """A progressive JPEG whose last scan is repeated: each visits every block again."""
    encoded = io.BytesIO()
    scene(width, height).save(encoded, "JPEG", progressive=True)
    jpeg = encoded.getvalue()
    last = jpeg.rindex(b"\xff\xda")
    return jpeg[:last] + jpeg[last:-2] * scans + b"\xff\xd9"


def compressed_text_bomb() -> bytes:
    """A PNG whose comment unpacks to 20 megabytes."""
    encoded = io.BytesIO()
    scene(64, 64).save(encoded, "PNG")
    png = encoded.getvalue()
    comment = b"Comment\x00\x00" + zlib.compress(b"\x00" * 20_000_000, 9)
    return png[:33] + png_chunk(b"zTXt", comment) + png[33:]


def polyglot() -> bytes:
    """A good JPEG that is also a web page and an archive."""
    return small_photo(7) + page() + b"PK\x05\x06" + b"\x00" * 18


def with_segment(marker: int, body: bytes, jpeg: bytes | None = None) -> bytes:
    """A good JPEG with one more segment right after its start."""
    picture = jpeg or small_photo(7)
    return picture[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body + picture[2:]


def looping_exif() -> bytes:
    """Metadata whose directory points at itself."""
    entry = struct.pack("<HHII", 0x8769, 4, 1, 8)
    tiff = b"II*\x00" + struct.pack("<I", 8) + struct.pack("<H", 1) + entry + struct.pack("<I", 8)
    return with_segment(0xE1, b"Exif\x00\x00" + tiff)


def wild_exif(seed: int) -> bytes:
    """Metadata that begins well and goes on at random."""
    noise = np.random.default_rng(seed).bytes(400)
    return with_segment(0xE1, b"Exif\x00\x00MM\x00*\x00\x00\x00\x08" + noise)


def bad_profile() -> bytes:
    """A colour profile of noise."""
    return with_segment(0xE2, b"ICC_PROFILE\x00\x01\x01" + np.random.default_rng(2).bytes(600))


def wrong_checksum_png() -> bytes:
    """A PNG with a bit flipped in its data."""
    encoded = io.BytesIO()
    Image.new("RGB", (64, 64), (9, 9, 9)).save(encoded, "PNG")
    png = bytearray(encoded.getvalue())
    png[png.index(b"IDAT") + 10] ^= 0x40
    return bytes(png)
