"""Files of the newer formats made to break a decoder; the older ones are in `tests.hostile`."""

from __future__ import annotations

import functools
import io
import struct
import zlib

import numpy as np
from PIL import Image

from tests import photos
from tests.hostile import page, png_chunk


@functools.cache
def good_files() -> dict[str, bytes]:
    """A small good picture of each kind that decoders treat apart, by name; the name begins with its format."""
    scene = photos.scene(96, 64)
    clear = scene.convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(scene.size))
    return {
        "jpeg": _saved(scene, "JPEG", exif=photos.private_exif()),
        "jpeg progressive": _saved(scene, "JPEG", progressive=True),
        "jpeg cmyk": _saved(scene.convert("CMYK"), "JPEG"),
        "png": _saved(scene, "PNG"),
        "png palette": _saved(scene.quantize(16), "PNG", transparency=0),
        "png animated": photos.animation("PNG"),
        "webp": _saved(scene, "WEBP"),
        "webp lossless": _saved(clear, "WEBP", lossless=True),
        "webp animated": photos.animation("WEBP"),
        "gif": _saved(scene.quantize(16), "GIF", transparency=0),
        "gif animated": photos.animation("GIF"),
        "avif": _saved(clear, "AVIF", speed=10),
        "avif animated": photos.animation("AVIF"),
        "heic": photos.heic(scene),
        "heic grid": photos.heic(photos.scene(128, 128), tile_size=64),
        "heic clear": photos.heic(clear),
    }


def content_type_of(name: str) -> str:
    """What a file of `good_files` is to be announced as."""
    return f"image/{name.split(maxsplit=1)[0]}"


def with_trailer(original: bytes) -> bytes:
    """A good picture that is also a web page and an archive."""
    return original + page() + b"PK\x05\x06" + b"\x00" * 18


def begun(original: bytes) -> bytes:
    """The right first bytes, then noise."""
    return original[:64] + np.random.default_rng(1).bytes(4_000)


def iso_claiming(original: bytes, width: int, height: int) -> bytes:
    """A HEIC or AVIF whose every `ispe` box asks for `width` x `height` pixels."""
    claim = b"ispe\x00\x00\x00\x00" + struct.pack(">II", width, height)
    parts = original.split(b"ispe")
    return claim.join([parts[0], *(part[12:] for part in parts[1:])])


def grid_claiming(rows: int, columns: int, side: int) -> bytes:
    """A HEIC of four tiles that says it has `rows` x `columns`, and `side` x `side` pixels."""
    grid = bytearray(iso_claiming(good_files()["heic grid"], side, side))
    # ImageGrid (ISO/IEC 23008-12, 6.6.2.3): version, flags for 32-bit sides, rows and columns less one, sides.
    data = grid.index(b"\x00\x00\x01\x01\x00\x80\x00\x80")
    grid[data : data + 8] = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, side & 0xFFFF, side & 0xFFFF)
    return bytes(grid)


def grid_of_itself() -> bytes:
    """A HEIC whose grid is its own first tile."""
    grid = bytearray(good_files()["heic grid"])
    # SingleItemTypeReferenceBox (ISO/IEC 14496-12, 8.11.12): from whom, how many, to whom.
    reference = grid.index(b"dimg") + 4
    grid[reference + 4 : reference + 6] = grid[reference : reference + 2]
    return bytes(grid)


def nested_boxes(depth: int = 20_000) -> bytes:
    """A HEIC whose boxes lie `depth` within one another."""
    size = 8 * depth
    boxes = b"".join(struct.pack(">I", size - 8 * level) + b"iprp" for level in range(depth))
    return (
        b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"
        + struct.pack(">I", size + 12)
        + b"meta\x00\x00\x00\x00"
        + boxes
    )


def many_items(items: int = 60_000) -> bytes:
    """A HEIC that lists `items` pictures and holds none."""
    entries = b"".join(
        struct.pack(">I4sIHH4sx", 21, b"infe", 2 << 24, item & 0xFFFF, 0, b"hvc1") for item in range(items)
    )
    listed = struct.pack(">I4sIH", 14 + len(entries), b"iinf", 0, items & 0xFFFF) + entries
    return (
        b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"
        + struct.pack(">I4sI", 12 + len(listed), b"meta", 0)
        + listed
    )


def gif_claiming(width: int, height: int) -> bytes:
    """A GIF of one pixel on a screen of `width` x `height`."""
    one = bytearray(_saved(Image.new("P", (1, 1)), "GIF"))
    one[6:10] = struct.pack("<HH", width, height)
    return bytes(one)


def gif_of_many_frames(frames: int = 200_000) -> bytes:
    """A GIF of `frames` frames of one pixel each, in a few bytes each."""
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + b"\x00\x00\x00\xff\xff\xff" + frame * frames + b"\x3b"


def webp_canvas(side: int = 1 << 24) -> bytes:
    """An extended WebP whose canvas has `side` x `side` pixels."""
    canvas = struct.pack("<I", 0x10) + (side - 1).to_bytes(3, "little") * 2
    body = b"WEBPVP8X" + struct.pack("<I", 10) + canvas + good_files()["webp"][12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def profile_bomb() -> bytes:
    """A PNG whose colour profile unpacks to 20 megabytes."""
    png = good_files()["png"]
    return png[:33] + png_chunk(b"iCCP", b"bomb\x00\x00" + zlib.compress(b"\x00" * 20_000_000, 9)) + png[33:]


def large_profile(container: str) -> bytes:
    """A picture with 9 megabytes of noise for a profile."""
    return _saved(photos.scene(96, 64), container, icc_profile=np.random.default_rng(3).bytes(9_000_000))


def matroska() -> bytes:
    """The head of a film that is no WebM."""
    return b"\x1a\x45\xdf\xa3\x8b\x42\x82\x88matroska" + b"\x18\x53\x80\x67" + bytes(200)


def _saved(picture: Image.Image, container: str, **options: object) -> bytes:
    encoded = io.BytesIO()
    picture.save(encoded, container, **options)
    return encoded.getvalue()
