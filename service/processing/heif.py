"""HEIC and HEIF for Pillow: pillow-heif reads the headers, libheif's own interface the pixels, without threads.

libheif starts a thread for each picture unless it is told a number of codec threads below zero (libde265 then decodes
where it is called), which pillow-heif cannot pass on. In the jail no thread can be started. Hence these calls of
libheif's C interface (libheif/heif.h) on the library that pillow-heif brings along.
"""

from __future__ import annotations

import ctypes
import importlib
from typing import Any, Final, Protocol

import pillow_heif
from PIL import Image, ImageFile

LIBHEIF: Final = f"libheif {pillow_heif.libheif_version()}"

# Thumbnails, depth maps and gain maps are further pictures to decode, from the same hands; nothing here needs them.
pillow_heif.options.THUMBNAILS = False
pillow_heif.options.DEPTH_IMAGES = False
pillow_heif.options.AUX_IMAGES = False

_NO_THREADS: Final = -1
_RGB, _MONOCHROME = 1, 2
_LAYOUTS: Final = {"L": (_MONOCHROME, 0, 0), "RGB": (_RGB, 10, 10), "RGBA": (_RGB, 11, 10)}
_OLDEST_OPTIONS: Final = 8
# `heif_error_Memory_allocation_error`
_OUT_OF_MEMORY: Final = 6


class _Error(ctypes.Structure):
    _fields_ = (("code", ctypes.c_int), ("subcode", ctypes.c_int), ("message", ctypes.c_char_p))


class _Options(ctypes.Structure):
    """`heif_decoding_options`, to the last member that is set here."""

    _fields_ = (
        ("version", ctypes.c_uint8),
        ("ignore_transformations", ctypes.c_uint8),
        ("progress", ctypes.c_void_p * 4),
        ("convert_hdr_to_8bit", ctypes.c_uint8),
        ("strict_decoding", ctypes.c_uint8),
        ("decoder_id", ctypes.c_char_p),
        ("color_conversion_options", ctypes.c_uint32 * 4),
        ("cancel_decoding", ctypes.c_void_p),
        ("color_conversion_options_ext", ctypes.c_void_p),
        ("ignore_sequence_editlist", ctypes.c_int),
        ("output_image_nclx_profile", ctypes.c_void_p),
        ("num_library_threads", ctypes.c_int),
        ("num_codec_threads", ctypes.c_int),
    )


# Symbols are looked up in what the extension links with, too.
_libheif: Final = ctypes.CDLL(importlib.import_module("_pillow_heif").__file__)
_pointer, _out = ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p)
for _name, _result, _arguments in (
    ("heif_context_alloc", _pointer, ()),
    ("heif_context_free", None, (_pointer,)),
    ("heif_context_set_max_decoding_threads", None, (_pointer, ctypes.c_int)),
    (
        *("heif_context_read_from_memory_without_copy", _Error),
        (_pointer, ctypes.c_char_p, ctypes.c_size_t, _pointer),
    ),
    ("heif_context_get_primary_image_handle", _Error, (_pointer, _out)),
    ("heif_image_handle_release", None, (_pointer,)),
    ("heif_decoding_options_alloc", ctypes.POINTER(_Options), ()),
    ("heif_decoding_options_free", None, (ctypes.POINTER(_Options),)),
    ("heif_decode_image", _Error, (_pointer, _out, ctypes.c_int, ctypes.c_int, ctypes.POINTER(_Options))),
    ("heif_image_get_plane_readonly", _pointer, (_pointer, ctypes.c_int, ctypes.POINTER(ctypes.c_int))),
    ("heif_image_get_width", ctypes.c_int, (_pointer, ctypes.c_int)),
    ("heif_image_get_height", ctypes.c_int, (_pointer, ctypes.c_int)),
    ("heif_image_release", None, (_pointer,)),
):
    _function = getattr(_libheif, _name)
    _function.restype, _function.argtypes = _result, _arguments


class _Header(Protocol):
    """What is used of `pillow_heif.HeifImage`."""

    size: tuple[int, int]
    mode: str
    info: dict[str, Any]


class HeifPicture(ImageFile.ImageFile):
    """The primary picture of a HEIF file. libheif applies crop, rotation and mirroring: the size is the upright one."""

    # Not "HEIF": that name is pillow-heif's own, threaded decoder, wherever it is registered.
    format = "HEIC"
    format_description = "HEIC and HEIF, without threads"

    _mode: str
    _file: bytes | None = None

    def _open(self) -> None:
        """SyntaxError, as Pillow wants it, if the headers cannot be read."""
        if self.fp is None:
            raise SyntaxError("no file")
        self._file = self.fp.read()
        try:
            header = header_of(self._file)
        except MemoryError:
            raise
        except Exception as error:
            raise SyntaxError(str(error)) from error
        # "RGB;10" and the like say how many bits a channel has.
        self._mode, self._size = header.mode.partition(";")[0], header.size
        self._premultiplied = self._mode.endswith("a")
        self._mode = self._mode.replace("a", "A")
        if self._mode not in _LAYOUTS:
            self._mode = "RGBA" if self._mode.endswith("A") else "RGB"
        self.info.update(
            {
                key: header.info[key]
                for key in ("exif", "xmp", "icc_profile", "nclx_profile", "bit_depth")
                if header.info.get(key)
            }
        )
        # The container turns the picture; a tag that asked for it again would turn it twice (ISO/IEC 23008-12, A.2.1).
        pillow_heif.set_orientation(self.info)
        self.tile = []

    def load(self) -> Any:
        """Decode, in the calling thread. OSError with libheif's words if the file is damaged."""
        if self._file is not None:
            file, self._file = self._file, None
            picture = decode_primary(file, self._mode)
            if self._premultiplied and picture.mode == "RGBA":
                picture = Image.frombytes("RGBa", picture.size, picture.tobytes()).convert("RGBA")
            self.im, self._size = picture.im, picture.size
        return super().load()


def header_of(file: bytes) -> _Header:
    """What the primary picture's boxes say, without a pixel decoded; AVIF has the same boxes."""
    found: Any = pillow_heif.open_heif(file)
    header: _Header = found[found.primary_index]
    return header


def decode_primary(file: bytes, mode: str) -> Image.Image:
    """The primary picture's pixels as `mode`: L, RGB or RGBA. MemoryError, or OSError with what libheif says."""
    context = _libheif.heif_context_alloc()
    handle, image = ctypes.c_void_p(), ctypes.c_void_p()
    try:
        _libheif.heif_context_set_max_decoding_threads(context, 0)
        _check(_libheif.heif_context_read_from_memory_without_copy(context, file, len(file), None))
        _check(_libheif.heif_context_get_primary_image_handle(context, ctypes.byref(handle)))
        _decode(handle, image, mode)
        return _copied(image, mode)
    finally:
        _libheif.heif_image_release(image)
        _libheif.heif_image_handle_release(handle)
        _libheif.heif_context_free(context)


def _decode(handle: ctypes.c_void_p, image: ctypes.c_void_p, mode: str) -> None:
    colorspace, chroma, _ = _LAYOUTS[mode]
    options = _libheif.heif_decoding_options_alloc()
    try:
        if options.contents.version < _OLDEST_OPTIONS:
            raise RuntimeError("pillow-heif brings a libheif that cannot be told to start no threads")
        options.contents.convert_hdr_to_8bit = 1
        # Or else missing tiles are left grey.
        options.contents.strict_decoding = 1
        options.contents.num_codec_threads = _NO_THREADS
        _check(_libheif.heif_decode_image(handle, ctypes.byref(image), colorspace, chroma, options))
    finally:
        _libheif.heif_decoding_options_free(options)


def _copied(image: ctypes.c_void_p, mode: str) -> Image.Image:
    channel = _LAYOUTS[mode][2]
    size = (_libheif.heif_image_get_width(image, channel), _libheif.heif_image_get_height(image, channel))
    stride = ctypes.c_int()
    plane = _libheif.heif_image_get_plane_readonly(image, channel, ctypes.byref(stride))
    if not plane or min(size) <= 0 or stride.value < size[0] * len(mode):
        raise OSError("libheif decoded to no pixels")
    pixels = (ctypes.c_char * (stride.value * size[1])).from_address(plane)
    return Image.frombytes(mode, size, pixels, "raw", mode, stride.value)


def _check(error: _Error) -> None:
    if error.code == _OUT_OF_MEMORY:
        raise MemoryError
    if error.code:
        raise OSError(error.message.decode(errors="replace") if error.message else f"libheif's error {error.code}")


def _accept(prefix: bytes) -> bool:
    return prefix[4:8] == b"ftyp"


Image.register_open(HeifPicture.format, HeifPicture, _accept)
