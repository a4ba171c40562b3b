"""Every kind of clip comes out upright, in true colours, in step with its sound, with nothing private left."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from service.models import MediaFormat, MediaKind, MediaPurpose, RenditionName
from service.policies import POLICIES, RenditionPolicy
from service.processing import clip_pipeline
from service.processing.preview_encoding import Pace, preview_size
from service.processing.wire import ProcessingRequest
from service.processing.work import Work
from tests import clips, photos
from tests.in_process import picture
from tests.played import Played

FEED, POSTER, PREVIEW, THUMBNAIL = (
    RenditionName.FEED,
    RenditionName.POSTER,
    RenditionName.PREVIEW,
    RenditionName.THUMBNAIL,
)


def wanted(*names: RenditionName) -> tuple[RenditionPolicy, ...]:
    """The policies of `names`, stills as JPEG alone: encoders are tested elsewhere."""
    return tuple(
        policy if policy.name is PREVIEW else policy.model_copy(update={"formats": (MediaFormat.JPEG,)})
        for policy in POLICIES[MediaPurpose.COMMUNITY].renditions
        if policy.name in names and (MediaKind.VIDEO in policy.kinds)
    )


def processed(
    original: bytes,
    content_type: str,
    names: Sequence[RenditionName] = (THUMBNAIL, FEED, POSTER, PREVIEW),
    *,
    describe: bool = True,
) -> Work:
    request = ProcessingRequest(content_type=content_type, renditions=wanted(*names), fingerprints=describe)
    work = Work(io.BytesIO(original), request)
    for step in clip_pipeline.steps_for(request):
        step(work)
    return work


@pytest.mark.parametrize("kind", list(clips.KINDS))
def test_every_kind_of_clip_gets_stills_and_a_preview_that_plays_everywhere(kind: str) -> None:
    pixels = "yuv420p10le" if kind == "mov" else "yuv420p"
    work = processed(clips.clip(kind, pixels=pixels), clips.content_type_of(kind))
    assert work.size == (160, 96)
    assert work.duration_ms == pytest.approx(1_000, abs=50)
    assert work.fingerprints is not None
    for name in (FEED, POSTER):
        assert picture(work, name).size == (160, 96)
        assert photos.is_upright(picture(work, name))
    assert picture(work, THUMBNAIL).size == (96, 96)
    preview = Played(work)
    assert preview.codecs == ["h264", "aac"]
    assert (preview.pictures.pix_fmt, preview.pictures.profile) == ("yuv420p", "High")
    assert (preview.pictures.width, preview.pictures.height) == (160, 96)
    assert preview.duration_s == pytest.approx(1.0, abs=0.04)
    assert len(preview.times) == 25
    assert np.allclose(preview.times, np.arange(25) / 25, atol=0.002)
    assert all(photos.is_upright(image, 60) for image in preview.images[::8])


def test_a_preview_starts_before_it_has_arrived_and_says_nothing_about_anybody() -> None:
    tags = {
        "creation_time": "2024-05-17T10:20:30Z",
        "location": clips.SECRET,
        "comment": clips.SECRET,
        "title": clips.SECRET,
    }
    original = clips.clip(tags=tags)
    assert b"Jane" in original
    preview = Played(processed(original, "video/mp4", [PREVIEW]))
    assert preview.body.index(b"moov") < preview.body.index(b"mdat")
    assert set(preview.tags) == {"major_brand", "minor_version", "compatible_brands"}
    assert all(set(tags) <= {"language"} for tags in preview.stream_tags)
    for word in (b"Jane", b"+52.5", b"2024", b"x264", b"Lavf", b"Lavc", b"Handler"):
        assert word not in preview.body
    # Creation and modification time in mvhd, tkhd and mdhd: never.
    at = preview.body.index(b"mvhd")
    assert preview.body[at + 8 : at + 16] == bytes(8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_turn_of_the_display_matrix_ends_upright(orientation: int) -> None:
    stored = photos.stored_as(photos.scene(96, 160) if orientation >= 5 else photos.scene(160, 96), orientation)
    original = clips.turned(clips.clip(draw=lambda index: stored, seconds=0.2, silent=True), orientation)
    work = processed(original, "video/mp4", [FEED, PREVIEW])
    upright = (96, 160) if orientation >= 5 else (160, 96)
    assert work.size == upright == picture(work, FEED).size
    assert photos.is_upright(picture(work, FEED))
    preview = Played(work)
    assert preview.images[0].size == upright
    assert photos.is_upright(preview.images[0], 60)
    assert preview.samples is None


def test_pixels_that_are_not_square_are_shown_as_they_should_be() -> None:
    work = processed(clips.clip(size=(144, 96), pixel_aspect=Fraction(4, 3)), "video/mp4", [FEED, PREVIEW])
    assert work.size == (192, 96) == picture(work, FEED).size == Played(work).images[0].size


def test_the_still_is_not_the_black_that_a_clip_begins_with() -> None:
    black, told = Image.new("RGB", (160, 96)), photos.scene(160, 96)
    original = clips.clip(rate=10, seconds=3, silent=True, draw=lambda index: black if index < 15 else told)
    work = processed(original, "video/mp4", [FEED])
    assert photos.is_upright(picture(work, FEED))
    assert (
        processed(clips.clip(draw=lambda index: black, seconds=0.4), "video/mp4", [FEED]).image.getextrema()[0][1] < 8
    )


def test_sound_and_pictures_stay_together() -> None:
    bright, dark = Image.new("RGB", (64, 64), "white"), Image.new("RGB", (64, 64))

    def beep(times: np.ndarray) -> np.ndarray:
        return np.where((times % 1.0 >= 0.5) & (times % 1.0 < 0.6), np.sin(2 * np.pi * 1_000 * times), 0.0)

    def flash(index: int) -> Image.Image:
        return bright if 0.5 <= index / 30 % 1.0 < 0.6 else dark

    original = clips.clip("webm", size=(64, 64), rate=30, seconds=3, draw=flash, sound=beep)
    preview = Played(processed(original, "video/webm", [PREVIEW]))
    seen = [
        time for time, image in zip(preview.times, preview.images, strict=True) if max(image.getpixel((32, 32))) > 128
    ]
    assert preview.samples is not None
    assert preview.sound is not None
    assert preview.heard_from_s == pytest.approx(0.0, abs=0.03)
    loud = preview.heard_from_s + np.flatnonzero(np.abs(preview.samples[0]) > 0.2) / preview.sound.rate
    for second in range(3):
        first_seen = min(time for time in seen if time >= second)
        assert first_seen == pytest.approx(second + 0.5, abs=0.034)
        assert loud[loud >= second][0] == pytest.approx(first_seen, abs=0.034)


def test_uneven_times_are_kept_and_many_pictures_a_second_are_thinned() -> None:
    uneven = [0.0, 0.04, 0.3, 0.34, 0.9, 1.0]
    preview = Played(processed(clips.clip(times=uneven, silent=True), "video/mp4", [PREVIEW]))
    assert np.allclose(preview.times, uneven, atol=0.002)
    fast = Played(processed(clips.clip(rate=120, silent=True), "video/mp4", [PREVIEW]))
    assert len(fast.times) == pytest.approx(30, abs=1)
    assert np.allclose(np.diff(fast.times), 1 / 30, atol=0.002)
    assert fast.duration_s == pytest.approx(1.0, abs=0.034)


@pytest.mark.parametrize("rate", [24, 25, 29.97, 30, 40, 48, 50, 59.94, 60, 120, 240])
def test_the_pace_is_at_most_thirty_and_even(rate: float) -> None:
    pace = Pace()
    kept = [index / rate for index in range(round(10 * rate)) if pace.keeps(index / rate)]
    assert len(kept) <= 302
    assert len(kept) >= min(10 * rate, 300) * 0.79
    if rate <= 30:
        assert len(kept) == round(10 * rate)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1920, 1080), (1280, 720)),
        ((1080, 1920), (720, 1280)),
        ((3840, 2160), (1280, 720)),
        ((2000, 2000), (720, 720)),
        ((4000, 100), (1280, 32)),
        ((641, 361), (640, 360)),
        ((1, 1), (2, 2)),
        ((1440, 1080), (960, 720)),
    ],
)
def test_previews_are_720p_even_and_never_enlarged(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert preview_size(size, 1_280) == expected


def test_high_dynamic_range_is_brought_down_to_what_screens_show() -> None:
    # HLG's reference white is at three quarters of the signal (ITU-R BT.2408).
    grey = Image.new("RGB", (64, 64), (190, 190, 190))
    original = clips.clip(
        "mov", size=(64, 64), seconds=0.2, draw=lambda index: grey, pixels="yuv420p10le", colours=(9, 18, 9)
    )
    work = processed(original, "video/quicktime", [FEED, PREVIEW])
    for image in (picture(work, FEED), Played(work).images[0]):
        assert 215 <= min(image.getpixel((32, 32))) <= max(image.getpixel((32, 32))) <= 250


def test_a_browsers_recording_that_never_learnt_its_length_is_measured() -> None:
    file = io.BytesIO(clips.clip("webm", seconds=1.2))
    endless = clips.without_duration(file.getvalue())
    with av.open(io.BytesIO(endless)) as container:
        assert not container.duration
    work = processed(endless, "video/webm", [FEED, PREVIEW])
    assert work.duration_ms == pytest.approx(1_200, abs=60)
    assert Played(work).duration_s == pytest.approx(1.2, abs=0.06)


def test_somebody_who_waits_gets_the_same_picture_as_afterwards() -> None:
    original = clips.clip()
    urgent, after = processed(original, "video/mp4", [THUMBNAIL, FEED]), processed(original, "video/mp4", [POSTER])
    assert picture(urgent, FEED).tobytes() == picture(after, POSTER).tobytes()


def test_a_preview_alone_stands_upright_without_a_still() -> None:
    work = processed(clips.turned(clips.clip(silent=True), 6), "video/mp4", [PREVIEW], describe=False)
    assert [rendition.name for rendition in work.renditions] == [PREVIEW]
    assert "read_still" not in {step.__name__ for step in clip_pipeline.steps_for(work.request)}
    assert Played(work).images[0].size == (96, 160)


def test_pictures_at_odd_times_are_all_shown_and_the_last_one_stays() -> None:
    times = [0.0, 0.04, 3.04, 3.08, 3.12, 6.12, 6.16]
    preview = Played(processed(clips.clip(times=times, silent=True), "video/mp4", [PREVIEW], describe=False))
    assert np.allclose(preview.times, times, atol=0.002)
    assert preview.duration_s >= 6.18
