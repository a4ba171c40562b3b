"""Bad files end in a clear refusal, or in a harmless picture; never in a fault of ours."""

from __future__ import annotations

import tempfile
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from service.errors import FailureCode
from service.models import MediaFormat
from service.processing import limits
from service.processing.limits import MAX_SCANS, count_scans
from service.processing.wire import Crashed, Processed
from tests import hostile, hostile_containers, photos
from tests.hostile_containers import iso_claiming
from tests.in_process import RENDITIONS, process, refusal_of, reply_to, saved

# Parsers warn about odd metadata; in the jail nobody listens (see `pipeline.warm_up`).
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

JPEG, PNG, WEBP, HEIC, AVIF = "image/jpeg", "image/png", "image/webp", "image/heic", "image/avif"
CORRUPT, TOO_MANY = FailureCode.CORRUPT_FILE, FailureCode.TOO_MANY_PIXELS
GOOD = hostile_containers.good_files()
# One is enough to see whether the pipeline gets to its end.
RENDITION = tuple(policy.model_copy(update={"formats": (MediaFormat.JPEG,)}) for policy in RENDITIONS if policy.crop)


@pytest.mark.parametrize(
    ("original", "content_type", "found"),
    [
        (hostile.text(), JPEG, "text/plain"),
        (hostile.page(), PNG, "text/html"),
        (b"", JPEG, "no known type"),
        (photos.small_photo(), PNG, "image/jpeg"),
        (saved(Image.new("RGB", (8, 8)), "GIF"), JPEG, "image/gif"),
        (GOOD["avif"], "image/heic", "image/avif"),
        (GOOD["heic"], "image/avif", "image/heic"),
        (hostile_containers.matroska(), "image/webp", "video/x-matroska"),
    ],
)
def test_bytes_that_are_not_what_was_announced(original: bytes, content_type: str, found: str) -> None:
    refusal = refusal_of(original, content_type)
    assert refusal.failure is FailureCode.TYPE_MISMATCH
    assert content_type in refusal.message
    assert found in refusal.message


def test_a_type_nobody_decodes_is_named_as_such() -> None:
    refusal = refusal_of(saved(Image.new("RGB", (8, 8)), "BMP"), "image/bmp")
    assert refusal.failure is FailureCode.UNSUPPORTED_FORMAT


# The first frame of an animation is whole in its first three quarters, and a lossy WebP has no checksum to break.
@pytest.mark.parametrize("name", sorted(set(GOOD) - {"png animated", "gif animated"}))
def test_a_file_that_ends_early_is_called_broken(name: str) -> None:
    content_type = hostile_containers.content_type_of(name)
    for part in (GOOD[name][: len(GOOD[name]) * 3 // 4], GOOD[name][:40]):
        refusal = refusal_of(part, content_type)
        assert (refusal.failure, refusal.quarantine) == (FailureCode.CORRUPT_FILE, False)


@pytest.mark.parametrize("name", sorted(set(GOOD) - {"webp"}))
def test_a_file_that_only_begins_well_is_called_broken(name: str) -> None:
    refusal = refusal_of(hostile_containers.begun(GOOD[name]), hostile_containers.content_type_of(name))
    assert (refusal.failure, refusal.quarantine) == (FailureCode.CORRUPT_FILE, False)


@pytest.mark.parametrize(
    ("build", "content_type", "failure", "quarantine"),
    [
        (lambda: iso_claiming(GOOD["heic"], 65_535, 65_535), HEIC, TOO_MANY, True),
        (lambda: iso_claiming(GOOD["heic"], 7_000, 7_000), HEIC, CORRUPT, False),
        (lambda: iso_claiming(GOOD["heic"], 0, 64), HEIC, CORRUPT, False),
        (lambda: iso_claiming(GOOD["avif"], 65_535, 65_535), AVIF, TOO_MANY, True),
        (lambda: iso_claiming(GOOD["avif"], 0, 64), AVIF, CORRUPT, False),
        (lambda: hostile_containers.grid_claiming(256, 256, 7_000), HEIC, CORRUPT, False),
        (lambda: hostile_containers.grid_claiming(2, 3, 192), HEIC, CORRUPT, False),
        (hostile_containers.grid_of_itself, HEIC, CORRUPT, False),
        (hostile_containers.nested_boxes, HEIC, CORRUPT, False),
        (hostile_containers.many_items, HEIC, CORRUPT, False),
        (lambda: hostile_containers.gif_claiming(65_535, 65_535), "image/gif", TOO_MANY, True),
        (hostile_containers.webp_canvas, WEBP, TOO_MANY, True),
        (lambda: hostile_containers.webp_canvas(16_383), WEBP, TOO_MANY, True),
        (hostile_containers.profile_bomb, PNG, CORRUPT, False),
    ],
)
def test_what_containers_can_claim(
    build: Callable[[], bytes], content_type: str, failure: FailureCode, quarantine: bool
) -> None:
    refusal = refusal_of(build(), content_type)
    assert (refusal.failure, refusal.quarantine) == (failure, quarantine)


@pytest.mark.parametrize("container", ["JPEG", "WEBP", "AVIF"])
def test_a_profile_of_absurd_size_is_not_read(container: str) -> None:
    assert isinstance(reply_to(hostile_containers.large_profile(container), f"image/{container.lower()}"), Processed)


@pytest.mark.parametrize("name", sorted(GOOD))
def test_what_is_appended_to_a_picture_is_left_behind(name: str) -> None:
    for rendition in process(
        hostile_containers.with_trailer(GOOD[name]), hostile_containers.content_type_of(name)
    ).renditions:
        assert b"<script" not in rendition.body
        assert b"PK\x05\x06" not in rendition.body


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


@settings(max_examples=250, deadline=None)
@given(data=st.data(), name=st.sampled_from(sorted(GOOD)))
def test_damage_anywhere_is_refused_or_survived(data: st.DataObject, name: str) -> None:
    original = bytearray(GOOD[name])
    # Near the start, where containers keep what they claim, rather than anywhere.
    ends = st.sampled_from((min(400, len(original)), len(original))).flatmap(lambda end: st.integers(0, end - 1))
    for place, value in data.draw(st.lists(st.tuples(ends, st.integers(0, 255)), max_size=8)):
        original[place] = value
    del original[data.draw(st.integers(len(original) // 4, len(original))) :]
    answer = reply_to(bytes(original), hostile_containers.content_type_of(name), RENDITION)
    assert not isinstance(answer, Crashed), answer
