"""What is made while somebody waits is byte for byte what a request for everything would have made."""

from __future__ import annotations

import io
from collections.abc import Callable

import pillow_heif
import pytest
from PIL import Image

from service.models import MediaFormat, RenditionName
from service.policies import RenditionPolicy
from service.processing import pipeline
from service.processing.wire import ProcessingRequest
from service.processing.work import Work
from tests import photos
from tests.in_process import RENDITIONS, saved

JPEG, WEBP = MediaFormat.JPEG, MediaFormat.WEBP
PICTURES = [
    each for each in RENDITIONS if MediaFormat.MP4 not in each.formats and each.name is not RenditionName.POSTER
]


def heic() -> bytes:
    encoded = io.BytesIO()
    # Without noise, on which the encoder would take half a minute.
    soft = photos.scene(300, 400).resize((1200, 1600), Image.Resampling.BICUBIC)
    pillow_heif.from_pillow(soft).save(encoded, quality=50, enc_params={"preset": "ultrafast"})
    return encoded.getvalue()


def see_through() -> bytes:
    picture = photos.scene(900, 1200)
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    return saved(picture, "PNG", compress_level=1)


def work_of(original: bytes, content_type: str, renditions: list[RenditionPolicy], *, urgent: bool) -> Work:
    request = ProcessingRequest(content_type=content_type, renditions=tuple(renditions), urgent=urgent)
    work = Work(io.BytesIO(original), request)
    for step in pipeline.STEPS:
        step(work)
    return work


def wanted(*formats: MediaFormat, urgent_only: bool) -> list[RenditionPolicy]:
    return [each.model_copy(update={"formats": formats}) for each in PICTURES if each.urgent or not urgent_only]


@pytest.mark.parametrize(
    ("content_type", "original"),
    [
        ("image/jpeg", lambda: photos.phone_photo(2600, 1950)),
        ("image/jpeg", lambda: photos.small_photo(3, 900, 700)),
        ("image/jpeg", lambda: saved(photos.scene(4000, 300), "JPEG")),
        ("image/png", lambda: saved(photos.scene(1700, 800), "PNG", compress_level=1)),
        ("image/png", see_through),
        ("image/heic", heic),
    ],
    ids=["phone", "small", "panorama", "png", "see-through", "heic"],
)
def test_haste_changes_neither_fingerprints_nor_what_is_shown_first(
    content_type: str, original: Callable[[], bytes]
) -> None:
    file = original()
    first = work_of(file, content_type, wanted(JPEG, urgent_only=True), urgent=True)
    everything = work_of(file, content_type, wanted(JPEG, WEBP, urgent_only=False), urgent=False)
    assert first.fingerprints is not None
    assert first.fingerprints == everything.fingerprints
    bodies = {(each.name, each.format): each.body for each in everything.renditions}
    assert [each.name for each in first.renditions] == [RenditionName.THUMBNAIL, RenditionName.FEED]
    for rendition in first.renditions:
        assert rendition.body == bodies[rendition.name, rendition.format]


def test_fingerprints_need_no_feed_rendition() -> None:
    file = photos.phone_photo(2600, 1950)
    only = [each for each in wanted(JPEG, urgent_only=False) if each.name is not RenditionName.FEED]
    with_feed = work_of(file, "image/jpeg", wanted(JPEG, urgent_only=True), urgent=True)
    assert work_of(file, "image/jpeg", only, urgent=False).fingerprints == with_feed.fingerprints
