"""Pictures made in code, the same on every run: phone-like photos whose corners tell whether they stand upright."""

from __future__ import annotations

import functools
import io
import struct
import zlib
from typing import Final

import numpy as np
import pillow_heif
from PIL import ExifTags, Image

# What a viewer must see, whatever the orientation tag: clockwise from the top left.
CORNERS: Final = {
    "top_left": (220, 40, 40),
    "top_right": (40, 180, 60),
    "bottom_right": (235, 200, 40),
    "bottom_left": (40, 70, 210),
}

SERIAL: Final = "SN-8675309-PRIVATE"
OWNER: Final = "Jane Q. Private"
MAKER_NOTE: Final = b"MAKER-NOTE-SECRET"
GPS_LATITUDE: Final = (52.0, 31.0, 12.34)

# How a camera stores an upright picture under each EXIF orientation: the inverse of what a viewer must do.
_STORED_AS: Final = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def scene(width: int, height: int, seed: int = 0) -> Image.Image:
    """An upright RGB picture: soft shapes, sensor noise, and a coloured block (an eighth of each side) per corner."""
    random = np.random.default_rng(seed)
    soft = Image.fromarray(random.integers(30, 225, (12, 16, 3), dtype=np.uint8))
    pixels = np.asarray(soft.resize((width, height), Image.Resampling.BICUBIC)).copy()
    noise = random.integers(0, 17, (min(height, 512), min(width, 512), 1), dtype=np.uint8)
    repeats = (-(-height // noise.shape[0]), -(-width // noise.shape[1]), 1)
    pixels = np.clip(pixels.astype(np.int16) + np.tile(noise, repeats)[:height, :width] - 8, 0, 255).astype(np.uint8)
    down, across = max(1, height // 8), max(1, width // 8)
    pixels[:down, :across] = CORNERS["top_left"]
    pixels[:down, -across:] = CORNERS["top_right"]
    pixels[-down:, -across:] = CORNERS["bottom_right"]
    pixels[-down:, :across] = CORNERS["bottom_left"]
    return Image.fromarray(pixels)


def stored_as(upright: Image.Image, orientation: int) -> Image.Image:
    """What a camera stores of an upright picture under EXIF `orientation`."""
    turn = _STORED_AS[orientation]
    return upright if turn is None else upright.transpose(turn)


def private_exif(orientation: int = 1, *, gps: bool = True) -> Image.Exif:
    """What phones write: maker, owner, serial number, maker note and, if asked, the position."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Pear"
    exif[ExifTags.Base.Model] = "Pear Phone 12"
    exif[ExifTags.Base.Artist] = OWNER
    exif[ExifTags.Base.Orientation] = orientation
    details = exif.get_ifd(ExifTags.IFD.Exif)
    details[ExifTags.Base.BodySerialNumber] = SERIAL
    details[ExifTags.Base.CameraOwnerName] = OWNER
    details[ExifTags.Base.MakerNote] = MAKER_NOTE
    details[ExifTags.Base.DateTimeOriginal] = "2024:05:17 10:20:30"
    if gps:
        position = exif.get_ifd(ExifTags.IFD.GPSInfo)
        position[ExifTags.GPS.GPSLatitudeRef] = "N"
        position[ExifTags.GPS.GPSLatitude] = GPS_LATITUDE
        position[ExifTags.GPS.GPSLongitudeRef] = "E"
        position[ExifTags.GPS.GPSLongitude] = (13.0, 24.0, 18.0)
    return exif


@functools.lru_cache(maxsize=16)
def phone_photo(
    width: int = 4032, height: int = 3024, orientation: int = 6, *, gps: bool = True, seed: int = 0
) -> bytes:
    """A JPEG as a phone stores it: `width` x `height` stored pixels, to be turned by its orientation tag."""
    upright = scene(height, width, seed) if orientation >= 5 else scene(width, height, seed)
    stored = stored_as(upright, orientation)
    encoded = io.BytesIO()
    stored.save(encoded, "JPEG", quality=92, exif=private_exif(orientation, gps=gps), comment=OWNER.encode())
    return encoded.getvalue()


@functools.lru_cache(maxsize=64)
def small_photo(seed: int = 0, width: int = 320, height: int = 240) -> bytes:
    """A small upright JPEG, different for each seed."""
    encoded = io.BytesIO()
    scene(width, height, seed).save(encoded, "JPEG", quality=85)
    return encoded.getvalue()


def corners(picture: Image.Image) -> dict[str, tuple[int, int, int]]:
    """The colour in the middle of each corner block of a whole (not cropped) scene."""
    rgb = picture.convert("RGB")
    x, y = rgb.width // 16, rgb.height // 16
    places = {
        "top_left": (x, y),
        "top_right": (rgb.width - 1 - x, y),
        "bottom_right": (rgb.width - 1 - x, rgb.height - 1 - y),
        "bottom_left": (x, rgb.height - 1 - y),
    }
    return {name: _rgb(rgb.getpixel(place)) for name, place in places.items()}


def is_upright(picture: Image.Image, tolerance: int = 40) -> bool:
    """Whether every corner shows its own colour, within what compression changes."""
    return all(
        abs(seen - meant) <= tolerance
        for name, colour in corners(picture).items()
        for seen, meant in zip(colour, CORNERS[name], strict=True)
    )


def _rgb(pixel: float | tuple[int, ...] | None) -> tuple[int, int, int]:
    if not isinstance(pixel, tuple):
        raise TypeError(f"not an RGB pixel: {pixel!r}")
    return pixel[0], pixel[1], pixel[2]


@functools.cache
def large_png(byte_size: int, seed: int = 0) -> bytes:
    """A PNG of at least `byte_size` bytes: noise, stored as it is, without the search for a filter that suits it."""
    side = -(-int((byte_size / 3) ** 0.5) // 16) * 16 + 16
    rows = np.zeros((side, 1 + 3 * side), dtype=np.uint8)
    noise = np.random.default_rng(seed).bytes(3 * side * side)
    rows[:, 1:] = np.frombuffer(noise, dtype=np.uint8).reshape(side, 3 * side)
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = {b"IHDR": header, b"IDAT": zlib.compress(rows, 0), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks.items()
    )


def heic(picture: Image.Image, **options: object) -> bytes:
    """`picture` as phones store it; `options` are pillow-heif's, such as `tile_size` for a grid."""
    encoded = io.BytesIO()
    pillow_heif.from_pillow(picture).save(encoded, **{"quality": 80, **options})
    return encoded.getvalue()


def phone_heic(orientation: int, width: int = 160, height: int = 120, *, tile_size: int = 0) -> bytes:
    """A HEIC of `width` x `height` stored pixels, to be turned by its container, which its EXIF tag says once more."""
    upright = scene(height, width) if orientation >= 5 else scene(width, height)
    turn = _STORED_AS[orientation]
    stored = upright if turn is None else upright.transpose(turn)
    return heic(stored, exif=private_exif(orientation).tobytes(), tile_size=tile_size)


def heic_of_ten_bits(samples: np.ndarray[tuple[int, int, int], np.dtype[np.uint16]]) -> bytes:
    """Rows of RGB pixels, of 16 bits a channel, of which ten are kept."""
    encoded = io.BytesIO()
    height, width, _ = samples.shape
    pillow_heif.from_bytes("RGB;16", (width, height), samples.tobytes()).save(encoded, quality=95, chroma=444)
    return encoded.getvalue()


def animation(container: str, delays_ms: tuple[int, ...] = (70, 70, 70), *, side: int = 64) -> bytes:
    """A GIF, PNG, WebP or AVIF with a frame for each delay, the first one reddish and the others ever less so."""
    frames = [Image.new("RGB", (side, side), (max(0, 220 - 40 * index), 40, 90)) for index in range(len(delays_ms))]
    encoded = io.BytesIO()
    frames[0].save(encoded, container, save_all=True, append_images=frames[1:], duration=list(delays_ms), loop=0)
    return encoded.getvalue()
