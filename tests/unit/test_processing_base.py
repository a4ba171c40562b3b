"""Renditions cut from a base that an earlier job has handed out are, byte for byte, those of the original."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from PIL import Image

from service.models import BasePicture, BoundingBox, MediaFormat, RenditionName
from service.policies import RenditionPolicy
from service.processing import pipeline
from service.processing.base_sizes import MAX_BASE_PIXELS
from service.processing.jail import serves
from service.processing.wire import LENGTH_BYTES, REPLY, BaseHeader, Processed, ProcessingRequest
from tests import photos
from tests.in_process import RENDITIONS, saved

STILLS = tuple(policy for policy in RENDITIONS if MediaFormat.MP4 not in policy.formats)
URGENT = tuple(policy.model_copy(update={"formats": (MediaFormat.JPEG,)}) for policy in STILLS if policy.urgent)
REST = tuple(
    policy.model_copy(update={"formats": policy.formats if not policy.urgent else policy.formats[1:]})
    for policy in STILLS
)
FOCUS = BoundingBox(0.7, 0.1, 0.2, 0.2)


def answer(file: bytes, request: ProcessingRequest) -> tuple[Processed, bytes]:
    """The header of what the jailed child answers, and all that follows it."""
    pipeline.run(io.BytesIO(file), request.model_dump_json().encode(), reply := io.BytesIO())
    raw = reply.getvalue()
    end = LENGTH_BYTES + int.from_bytes(raw[:LENGTH_BYTES], "big")
    header = REPLY.validate_json(raw[LENGTH_BYTES:end])
    assert isinstance(header, Processed), header
    return header, raw[end:]


def urgently(content_type: str, *, keep_base: bool = True) -> ProcessingRequest:
    return ProcessingRequest(content_type=content_type, renditions=URGENT, urgent=True, keep_base=keep_base)


def with_alpha() -> bytes:
    picture = photos.scene(900, 1200)
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    return saved(picture, "PNG", compress_level=1)


def heic() -> bytes:
    soft = photos.scene(300, 400).resize((1200, 1600), Image.Resampling.BICUBIC)
    return photos.heic(soft, quality=50, enc_params={"preset": "ultrafast"}, exif=photos.private_exif(6).tobytes())


@pytest.mark.parametrize(
    ("content_type", "original", "mode"),
    [
        ("image/jpeg", lambda: photos.phone_photo(2600, 1950, 6), "RGB"),
        ("image/jpeg", lambda: photos.small_photo(3, 900, 700), "RGB"),
        ("image/jpeg", lambda: saved(photos.scene(4000, 300), "JPEG"), "RGB"),
        ("image/png", with_alpha, "RGBA"),
        ("image/heic", heic, "RGB"),
        ("image/gif", lambda: photos.animation("GIF", side=300), "RGB"),
    ],
    ids=["turned", "small", "panorama", "see-through", "heic", "animated"],
)
def test_from_the_base_as_from_the_original(content_type: str, original: Callable[[], bytes], mode: str) -> None:
    file = original()
    first, body = answer(file, urgently(content_type))
    assert first.base is not None
    assert first.base.mode == mode
    pixels = body[sum(each.bytes for each in first.renditions) :]
    assert len(pixels) == first.base.byte_length
    rest = ProcessingRequest(content_type=content_type, renditions=REST, focus=FOCUS)
    header, from_original = answer(file, rest)
    again, from_base = answer(pixels, rest.model_copy(update={"base": first.base}))
    assert from_base == from_original
    assert (again.renditions, again.fingerprints) == (header.renditions, header.fingerprints)
    assert [receipt.step for receipt in again.receipts] == ["load_base", "resize_all", "encode_all", "describe"]


def test_nothing_is_handed_out_unasked_or_beyond_the_usual_size() -> None:
    unasked, body = answer(photos.small_photo(), urgently("image/jpeg", keep_base=False))
    assert unasked.base is None
    assert len(body) == sum(each.bytes for each in unasked.renditions)
    # A square of 200 pixels is cut from 9000 x 200.
    wide, body = answer(saved(photos.scene(9000, 200), "JPEG"), urgently("image/jpeg"))
    assert wide.base is None
    assert MAX_BASE_PIXELS < 9000 * 200
    assert len(body) == sum(each.bytes for each in wide.renditions)


def only(*names: RenditionName) -> ProcessingRequest:
    wanted: tuple[RenditionPolicy, ...] = tuple(policy for policy in RENDITIONS if policy.name in names)
    return ProcessingRequest(content_type="image/jpeg", renditions=wanted)


def test_a_base_serves_what_would_be_cut_from_the_same_size() -> None:
    photo = BasePicture("RGB", 1080, 810, b"", (4032, 3024))
    panorama = BasePicture("RGB", 2667, 200, b"", (4000, 300))
    assert serves(photo, only(RenditionName.FULL))
    assert serves(panorama, only(RenditionName.FULL, RenditionName.THUMBNAIL))
    # Alone it would be cut from 1080 pixels: other bytes under the same key.
    assert not serves(panorama, only(RenditionName.FULL))
    preview = RENDITIONS[0].model_copy(update={"formats": (MediaFormat.MP4,)})
    moving = ProcessingRequest(content_type="image/gif", renditions=(preview,))
    assert not serves(photo, moving)


def test_pixels_of_another_size_are_no_base() -> None:
    header = BaseHeader(mode="RGB", width=8, height=8)
    request = only(RenditionName.FULL).model_copy(update={"base": header})
    pipeline.run(io.BytesIO(bytes(header.byte_length - 1)), request.model_dump_json().encode(), reply := io.BytesIO())
    assert b'"outcome":"crashed"' in reply.getvalue()
