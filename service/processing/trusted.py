"""Tiny pictures of our own making, in every container and mode that decoders treat apart, to warm the pipeline with."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Final

from PIL import ExifTags, Image, ImageCms

from service.models import BoundingBox, MetadataField, RenditionName
from service.policies import RenditionPolicy, UrlLifetime
from service.processing.wire import BaseHeader, ProcessingRequest, ViewRequest

_SIDE = 16
_LIFETIME = UrlLifetime(window_s=1, minimum_s=1)

# 16 x 16 pixels of one Display P3 colour, cropped from a coded block of 64. Not made here, since the encoder would
# leave threads behind in the process that children are forked from.
_HEIC: Final = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAXxtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJpbG9jAA"
    "AAAERAAAEAAQAAAAABoAABAAAAAAAAACYAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA/GlwcnAA"
    "AADcaXBjbwAAAHVodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQApQgEBA3AAAAMAkA"
    "AAAwAAAwAeoCCBBZbqrprm4YGgwIAAAAyAAAADAIRiAAEABkQBwXPBiQAAABNjb2xybmNseAAMAA0ABoAAAAAUaXNwZQAAAAAAAABAAAAAQAAA"
    "AChjbGFwAAAAEAAAAAEAAAAQAAAAAf///9AAAAAC////0AAAAAIAAAAQcGl4aQAAAAADCAgIAAAAGGlwbWEAAAAAAAAAAQABBYECAwWEAAAALm"
    "1kYXQAAAAiKAGvBBITTOD46cJoP17fouVWW8n7QKsr40mfd7EYkqn/oA=="
)

_OTHER_FRAME: Final = Image.new("RGB", (_SIDE, _SIDE), (255, 0, 0))


def trusted_request(content_type: str) -> bytes:
    """A request that takes every path: a fit and a crop, in every format."""
    return _request(content_type).model_dump_json().encode()


def trusted_base_request(mode: str) -> bytes:
    """The same of a base, which `trusted_base` makes."""
    header = BaseHeader.model_validate({"mode": mode, "width": _SIDE, "height": _SIDE})
    request = _request("image/jpeg").model_copy(update={"base": header})
    return request.model_dump_json().encode()


def trusted_base(mode: str) -> bytes:
    """The pixels of a base."""
    return Image.new(mode, (_SIDE, _SIDE)).tobytes()


def _request(content_type: str) -> ProcessingRequest:
    return ProcessingRequest(
        content_type=content_type,
        renditions=(
            RenditionPolicy(name=RenditionName.FEED, max_side=12, url_lifetime=_LIFETIME, cache_max_age_s=0),
            RenditionPolicy(
                name=RenditionName.THUMBNAIL, max_side=8, crop=True, url_lifetime=_LIFETIME, cache_max_age_s=0
            ),
        ),
        metadata=frozenset(MetadataField),
        keep_base=True,
    )


def trusted_view(content_type: str) -> bytes:
    """A view that is cut and shrunk."""
    focus = BoundingBox(0.0, 0.0, 0.75, 0.75)
    return ViewRequest(content_type=content_type, max_side=8, focus=focus).model_dump_json().encode()


def trusted_pictures() -> Iterator[tuple[str, bytes]]:
    """Content type and bytes of each."""
    exif = _exif()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for mode in ("L", "RGB", "CMYK"):
        yield "image/jpeg", _encoded(mode, "JPEG", exif=exif, icc_profile=profile, progressive=True)
    yield "image/jpeg", _encoded("RGB", "MPO", save_all=True, append_images=[Image.new("RGB", (_SIDE, _SIDE))])
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        yield "image/png", _encoded(mode, "PNG", exif=exif)
    yield "image/png", _encoded("P", "PNG", transparency=0)
    for mode in ("RGB", "RGBA"):
        yield "image/webp", _encoded(mode, "WEBP", exif=exif, icc_profile=profile)
        yield "image/avif", _encoded(mode, "AVIF", exif=exif, max_threads=1)
    yield "image/gif", _encoded("P", "GIF", transparency=0)
    yield "image/heic", _HEIC
    for content_type, format_name in (("image/png", "PNG"), ("image/webp", "WEBP"), ("image/gif", "GIF")):
        yield content_type, _encoded("RGB", format_name, save_all=True, append_images=[_OTHER_FRAME])
    yield "image/avif", _encoded("RGB", "AVIF", save_all=True, append_images=[_OTHER_FRAME], max_threads=1)


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Model] = "Model"
    details, position = exif.get_ifd(ExifTags.IFD.Exif), exif.get_ifd(ExifTags.IFD.GPSInfo)
    details[ExifTags.Base.DateTimeOriginal] = "2024:05:17 10:20:30"
    details[ExifTags.Base.OffsetTimeOriginal] = "+02:00"
    position[ExifTags.GPS.GPSLatitudeRef], position[ExifTags.GPS.GPSLatitude] = "N", (52.0, 31.0, 12.34)
    position[ExifTags.GPS.GPSLongitudeRef], position[ExifTags.GPS.GPSLongitude] = "E", (13.0, 24.0, 18.0)
    return exif


def _encoded(mode: str, format_name: str, **options: object) -> bytes:
    encoded = io.BytesIO()
    Image.new(mode, (_SIDE, _SIDE)).save(encoded, format_name, **options)
    return encoded.getvalue()
