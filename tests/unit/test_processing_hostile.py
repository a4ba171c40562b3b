"""Bad files end in a clear refusal, or in a harmless picture; never in a fault of ours."""

from __future__ import annotations

import tempfile
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from service.errors import FailureCode
from service.processing import limits
from service.processing.limits import MAX_SCANS, count_scans
from service.processing.wire import Crashed, Processed
from tests import hostile, photos
from tests.in_process import process, refusal_of, reply_to, saved

# Parsers warn about odd metadata; in the jail nobody listens (see `pipeline.warm_up`).
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

JPEG, PNG, WEBP = "image/jpeg", "image/png", "image/webp"


@pytest.mark.parametrize(
    ("original", "content_type", "found"),
    [
        (hostile.text(), JPEG, "text/plain"),
        (hostile.page(), PNG, "text/html"),
        (b"", JPEG, "no known type"),
        (photos.small_photo(), PNG, "image/jpeg"),
        (saved(Image.new("RGB", (8, 8)), "GIF"), JPEG, "image/gif"),
    ],
)
def test_bytes_that_are_not_what_was_announced(original: bytes, content_type: str, found: str) -> None:
    refusal = refusal_of(original, content_type)
    assert refusal.failure is FailureCode.TYPE_MISMATCH
    assert content_type in refusal.message
    assert found in refusal.message


def test_a_type_nobody_decodes_is_named_as_such() -> None:
    refusal = refusal_of(saved(Image.new("RGB", (8, 8)), "GIF"), "image/gif")
    assert refusal.failure is FailureCode.UNSUPPORTED_FORMAT


@pytest.mark.parametrize(
    ("original", "content_type"),
    [
        (hostile.truncated_jpeg(), JPEG),
        (hostile.headless_jpeg(), JPEG),
        (photos.small_photo()[:3], JPEG),
        (hostile.wrong_checksum_png(), PNG),
        (hostile.compressed_text_bomb(), PNG),
        (hostile.webp_claiming(100), WEBP),
        (saved(photos.scene(64, 64), "WEBP")[:-40], WEBP),
        (hostile.jpeg_claiming(0, 240), JPEG),
        (hostile.png_claiming(0, 10), PNG),
    ],
    ids=[
        "half",
        "noise",
        "3 bytes",
        "bad checksum",
        "text bomb",
        "webp header",
        "short webp",
        "no width",
        "no png width",
    ],
)
def test_broken_files_are_called_broken(original: bytes, content_type: str) -> None:
    refusal = refusal_of(original, content_type)
    assert (refusal.failure, refusal.quarantine) == (FailureCode.CORRUPT_FILE, False)


@pytest.mark.parametrize(
    ("original", "content_type"),
    [(hostile.webp_claiming(9_400), WEBP), (hostile.jpeg_claiming(65_500, 65_500), JPEG)],
)
def test_headers_that_promise_too_much_are_quarantined(original: bytes, content_type: str) -> None:
    refusal = refusal_of(original, content_type)
    assert (refusal.failure, refusal.quarantine) == (FailureCode.TOO_MANY_PIXELS, True)


@pytest.mark.parametrize("size", [(70_000, 10), (10, 70_000), (2**31 - 1, 2**31 - 1)])
def test_a_picture_too_long_for_its_own_good_is_refused(size: tuple[int, int]) -> None:
    refusal = refusal_of(hostile.png_claiming(*size), PNG)
    assert refusal.failure is FailureCode.TOO_MANY_PIXELS
    assert str(size[0]) in refusal.message


def test_an_honest_picture_that_is_too_large_is_not_called_hostile() -> None:
    refusal = refusal_of(hostile.jpeg_claiming(12_000, 9_000) + b"\x00" * 5_000_000, JPEG)
    assert (refusal.failure, refusal.quarantine) == (FailureCode.TOO_MANY_PIXELS, False)
    assert "12000 x 9000" in refusal.message


def test_a_jpeg_of_hundreds_of_scans_is_quarantined() -> None:
    refusal = refusal_of(hostile.many_scans())
    assert (refusal.failure, refusal.quarantine) == (FailureCode.DECODE_LIMIT_EXCEEDED, True)


def test_scans_are_counted_as_the_decoder_sees_them() -> None:
    progressive = saved(photos.scene(64, 64), "JPEG", progressive=True)
    assert scans_of(photos.small_photo()) == 1
    assert 5 <= scans_of(progressive) <= 12
    assert scans_of(hostile.many_scans(5)) == scans_of(hostile.many_scans(0)) + 4 + 1
    assert scans_of(hostile.many_scans(5_000)) == MAX_SCANS + 1
    # What comes after the end of the image, or within a comment, is not a scan.
    assert scans_of(photos.small_photo() + b"\xff\xda\x00\x02" * 500) == 1
    assert scans_of(hostile.with_segment(0xFE, b"\xff\xda\x00\x02" * 500)) == 1


def test_scans_are_counted_alike_wherever_a_window_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    progressive = saved(photos.scene(64, 64), "JPEG", progressive=True)
    whole = scans_of(progressive)
    for window_bytes in (*range(4, 40), 1_000):
        monkeypatch.setattr(limits, "_WINDOW_BYTES", window_bytes)
        assert scans_of(progressive) == whole


def test_a_large_file_is_not_read_into_memory() -> None:
    tracemalloc.start()
    # Never an end of image: the search goes to the end of the file.
    scans_of(photos.small_photo().removesuffix(b"\xff\xd9"), padding=64 * 1024**2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 1024**2


def scans_of(jpeg: bytes, *, padding: int = 0) -> int:
    """As counted in a file, with a hole of `padding` bytes at its end."""
    with tempfile.TemporaryFile() as file:
        file.write(jpeg)
        file.truncate(len(jpeg) + padding)
        return count_scans(file)


@pytest.mark.parametrize(
    "original",
    [
        hostile.looping_exif(),
        *(hostile.wild_exif(seed) for seed in range(6)),
        hostile.bad_profile(),
        hostile.with_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\x00<x:xmpmeta tiff:Orientation='99'>"),
        hostile.with_segment(0xE2, b"MPF\x00" + b"\xff" * 60),
        hostile.with_segment(0xE1, b"Exif\x00\x00"),
    ],
)
def test_broken_metadata_does_not_cost_a_good_picture(original: bytes) -> None:
    assert isinstance(reply_to(original), Processed)


def test_what_else_a_polyglot_holds_is_left_behind() -> None:
    for rendition in process(hostile.polyglot()).renditions:
        assert b"<script" not in rendition.body
        assert b"PK\x05\x06" not in rendition.body


ORIGINALS = {
    JPEG: (
        photos.small_photo(1, 96, 64),
        saved(photos.scene(96, 64), "JPEG", progressive=True, exif=photos.private_exif()),
    ),
    PNG: (saved(photos.scene(64, 48), "PNG"), saved(photos.scene(64, 48).quantize(16), "PNG", transparency=0)),
    WEBP: (saved(photos.scene(64, 48), "WEBP"), saved(photos.scene(64, 48).convert("RGBA"), "WEBP", lossless=True)),
}


@settings(max_examples=150, deadline=None)
@given(data=st.data(), content_type=st.sampled_from(sorted(ORIGINALS)))
def test_damage_anywhere_is_refused_or_survived(data: st.DataObject, content_type: str) -> None:
    original = bytearray(data.draw(st.sampled_from(ORIGINALS[content_type])))
    places = data.draw(st.lists(st.tuples(st.integers(0, len(original) - 1), st.integers(0, 255)), max_size=8))
    for place, value in places:
        original[place] = value
    del original[data.draw(st.integers(1, len(original))) :]
    answer = reply_to(bytes(original), content_type)
    assert not isinstance(answer, Crashed), answer
