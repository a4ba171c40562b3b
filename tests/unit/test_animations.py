"""Animated pictures become previews that show the same frames, for as long as browsers would."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import ExifTags, Image

from service.errors import FailureCode, ProcessingFailed
from service.models import MediaFormat, MediaPurpose, RenditionName
from service.policies import MAX_ANIMATION_S, POLICIES
from service.processing import animation, clip_pipeline
from service.processing.wire import ProcessingRequest
from service.processing.work import Work
from tests import clips
from tests.played import Played

PREVIEW = POLICIES[MediaPurpose.COMMUNITY].rendition(RenditionName.PREVIEW)
COLOURS = ((220, 30, 30), (30, 200, 40), (40, 60, 210))


def preview_of(original: bytes, content_type: str) -> Played:
    request = ProcessingRequest(content_type=content_type, renditions=(PREVIEW,), fingerprints=False)
    work = Work(io.BytesIO(original), request)
    for step in clip_pipeline.steps_for(request):
        step(work)
    assert [rendition.format for rendition in work.renditions] == [MediaFormat.MP4]
    return Played(work)


def test_a_preview_alone_costs_no_still() -> None:
    request = ProcessingRequest(content_type="image/webp", renditions=(PREVIEW,), fingerprints=False)
    names = [step.__name__ for step in clip_pipeline.steps_for(request)]
    assert "decode" not in names
    assert "encode_all" not in names
    # Its EXIF still says how it stands.
    frames = [plain(color) for color in COLOURS]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    encoded = io.BytesIO()
    frames[0].save(encoded, "WEBP", save_all=True, append_images=frames[1:], duration=100, exif=exif)
    assert {image.size for image in preview_of(encoded.getvalue(), "image/webp").images} == {(48, 64)}


def plain(color: tuple[int, int, int], size: tuple[int, int] = (64, 48)) -> Image.Image:
    return Image.new("RGB", size, color)


def middles(preview: Played) -> list[tuple[int, ...]]:
    return [image.getpixel((image.width // 2, image.height // 2)) for image in preview.images]


@pytest.mark.parametrize(
    ("container", "content_type"), [("GIF", "image/gif"), ("WEBP", "image/webp"), ("PNG", "image/png")]
)
def test_every_kind_of_animation_keeps_its_frames_and_their_times(container: str, content_type: str) -> None:
    first, *others = map(plain, COLOURS)
    encoded = io.BytesIO()
    first.save(encoded, container, save_all=True, append_images=others, duration=[200, 500, 300], loop=0)
    preview = preview_of(encoded.getvalue(), content_type)
    assert np.allclose(preview.times, [0.0, 0.2, 0.7], atol=0.001)
    assert preview.duration_s == pytest.approx(1.0, abs=0.002)
    assert preview.codecs == ["h264"]
    for seen, meant in zip(middles(preview), COLOURS, strict=True):
        assert np.allclose(seen, meant, atol=14)


def test_frames_that_ask_for_no_time_get_what_browsers_give_them() -> None:
    preview = preview_of(clips.gif([plain(color) for color in COLOURS], [0, 0, 0]), "image/gif")
    assert np.allclose(preview.times, [0.0, 0.1, 0.2], atol=0.001)
    assert preview.duration_s == pytest.approx(0.3, abs=0.002)


def test_what_a_frame_leaves_out_shows_the_one_before_or_white() -> None:
    background = Image.new("RGBA", (64, 48), (0, 0, 0, 0))
    background.paste((*COLOURS[0], 255), (0, 0, 32, 48))
    patch = Image.new("RGBA", (64, 48), (0, 0, 0, 0))
    patch.paste((*COLOURS[2], 255), (0, 0, 16, 48))
    # Disposal 1 leaves what is there; so the second frame changes a quarter and keeps the rest.
    preview = preview_of(clips.gif([background, patch], [100, 100], disposal=1), "image/gif")
    second = preview.images[1]
    for x, meant in ((8, COLOURS[2]), (24, COLOURS[0]), (48, (255, 255, 255))):
        assert np.allclose(second.getpixel((x, 24)), meant, atol=24), x


def test_fast_and_long_animations_are_held_to_what_is_worth_showing() -> None:
    fast = preview_of(clips.gif([plain((index * 4, 0, 90)) for index in range(50)], [20] * 50), "image/gif")
    assert len(fast.times) <= 31
    assert fast.duration_s == pytest.approx(1.0, abs=0.021)
    long = preview_of(clips.gif([plain(COLOURS[index % 3]) for index in range(5)], [30_000] * 5), "image/gif")
    assert long.duration_s == pytest.approx(MAX_ANIMATION_S, abs=0.002)
    assert len(long.times) == 2


def test_odd_sizes_become_even_and_nothing_is_enlarged() -> None:
    preview = preview_of(clips.gif([plain(color, (33, 21)) for color in COLOURS], [100] * 3), "image/gif")
    assert preview.images[0].size == (32, 20)


@pytest.mark.parametrize("number", range(2, 16))
def test_the_last_picture_stays_for_as_long_as_it_asks(number: int) -> None:
    moving = [Image.new("RGB", (64, 48)) for _ in range(number)]
    for index, picture in enumerate(moving):
        picture.paste((255, 255, 255), (index * 4, 0, index * 4 + 4, 48))
    preview = preview_of(clips.gif(moving, [40] * (number - 1) + [2_000]), "image/gif")
    assert preview.duration_s == pytest.approx(0.04 * (number - 1) + 2, abs=0.01)
    assert len(preview.times) == number


def test_frames_that_are_too_large_together_are_refused_before_any_is_composited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # 42,590 bytes, and 25 gigapixels to composite.
    bomb = clips.gif_of_specks((5_000, 5_000), 1_000)
    monkeypatch.setattr(animation, "_go_to", pytest.fail)
    with pytest.raises(ProcessingFailed, match="too many frames for its size") as caught:
        preview_of(bomb, "image/gif")
    assert (caught.value.failure, caught.value.retryable) == (FailureCode.DECODE_LIMIT_EXCEEDED, False)


def test_frames_that_enlarge_the_canvas_count_at_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(animation, "MAX_ANIMATION_PIXELS", 100_000)
    small, large = clips.gif_of_specks((100, 100), 5), clips.gif_of_specks((100, 100), 5, at=(299, 299))
    assert preview_of(small, "image/gif").images
    with pytest.raises(ProcessingFailed) as caught:
        preview_of(large, "image/gif")
    assert caught.value.failure is FailureCode.DECODE_LIMIT_EXCEEDED
