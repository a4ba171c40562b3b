"""Every kind of good picture comes out upright, in true colours, in the promised sizes, with nothing private left."""

from __future__ import annotations

import base64
import io
import re

import imagehash
import numpy as np
import pytest
import thumbhash
from PIL import ExifTags, Image, ImageCms

from service.models import BoundingBox, Fingerprints, MediaFormat, RenditionName
from service.processing.encoding import JPEG_QUALITY, quantisation_table
from service.processing.work import Work
from tests import photos
from tests.in_process import picture, process, saved

FULL, FEED, THUMBNAIL = RenditionName.FULL, RenditionName.FEED, RenditionName.THUMBNAIL


def prints(work: Work) -> Fingerprints:
    assert work.fingerprints is not None
    return work.fingerprints


def pixel(image: Image.Image, place: tuple[int, int]) -> list[int]:
    return [int(value) for value in np.asarray(image)[place[1], place[0]]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_ends_upright_and_unmarked(orientation: int) -> None:
    work = process(photos.phone_photo(1600, 1200, orientation))
    upright = (1200, 1600) if orientation >= 5 else (1600, 1200)
    assert work.size == upright
    for target in (MediaFormat.JPEG, MediaFormat.WEBP):
        for name in (FULL, FEED):
            rendition = picture(work, name, target)
            assert (rendition.width > rendition.height) == (upright[0] > upright[1])
            assert photos.is_upright(rendition)
            assert not rendition.getexif()


def test_a_phone_photo_gets_the_promised_sizes_and_formats() -> None:
    work = process(photos.phone_photo(orientation=6))
    assert [(r.name, r.format, r.width, r.height) for r in work.renditions] == [
        (name, target, width, height)
        for name, width, height in ((THUMBNAIL, 200, 200), (FEED, 540, 720), (FULL, 810, 1080))
        for target in (MediaFormat.JPEG, MediaFormat.WEBP, MediaFormat.AVIF)
    ]
    for rendition in work.renditions:
        decoded = picture(work, rendition.name, rendition.format)
        assert decoded.size == (rendition.width, rendition.height)
    assert picture(work, FULL).info.get("progressive")


def test_jpegs_are_quantised_as_mozjpeg_does_by_default() -> None:
    # The first row of its table number 3 at quality 75, as files of its making hold it.
    assert quantisation_table(75)[:8] == [8, 8, 8, 9, 13, 19, 28, 43]
    assert quantisation_table(50)[-1] == 255
    assert quantisation_table(100) == [1] * 64
    tables = getattr(picture(process(photos.small_photo()), FULL), "quantization", {})
    luma_and_chroma = quantisation_table(JPEG_QUALITY)
    assert list(map(list, tables.values())) == [luma_and_chroma] * len(tables)
    assert tables


@pytest.mark.parametrize(
    ("size", "full", "feed", "thumbnail"),
    [
        ((1, 1), (1, 1), (1, 1), (1, 1)),
        ((150, 100), (150, 100), (150, 100), (100, 100)),
        ((300, 500), (300, 500), (300, 500), (200, 200)),
        ((800, 600), (800, 600), (720, 540), (200, 200)),
        ((6000, 400), (1080, 72), (720, 48), (200, 200)),
        ((4000, 40), (1080, 11), (720, 7), (40, 40)),
        ((3, 2000), (2, 1080), (1, 720), (3, 3)),
    ],
)
def test_nothing_is_enlarged_and_shapes_are_kept(
    size: tuple[int, int], full: tuple[int, int], feed: tuple[int, int], thumbnail: tuple[int, int]
) -> None:
    work = process(saved(photos.scene(*size), "PNG"), "image/png")
    assert [picture(work, name).size for name in (FULL, FEED, THUMBNAIL)] == [full, feed, thumbnail]


def test_the_thumbnail_shows_the_centre_or_the_focus() -> None:
    stripes = np.zeros((300, 900, 3), dtype=np.uint8)
    for third, colour in enumerate(((255, 0, 0), (0, 255, 0), (0, 0, 255))):
        stripes[:, third * 300 : (third + 1) * 300] = colour
    original = saved(Image.fromarray(stripes), "PNG")
    for focus, channel in (
        (None, 1),
        (BoundingBox(0, 0.2, 0.1, 0.1), 0),
        (BoundingBox(0.9, 0.2, 0.1, 0.8), 2),
        (BoundingBox(0.4, 0, 0.2, 1), 1),
    ):
        pixels = np.asarray(picture(process(original, "image/png", focus), THUMBNAIL))
        assert pixels.mean(axis=(0, 1)).argmax() == channel
        assert pixels[..., channel].mean() > 240


def grey(value: int) -> Image.Image:
    return Image.new("L", (64, 64), value)


def sixteen_bit(value: int) -> Image.Image:
    return Image.fromarray(np.full((64, 64), value << 8, dtype=np.uint16))


@pytest.mark.parametrize(
    ("original", "content_type", "colour"),
    [
        (saved(Image.new("CMYK", (64, 64), (0, 255, 255, 0)), "JPEG"), "image/jpeg", (255, 0, 0)),
        (saved(grey(140), "JPEG"), "image/jpeg", (140, 140, 140)),
        (saved(grey(140), "PNG"), "image/png", (140, 140, 140)),
        (saved(sixteen_bit(140), "PNG"), "image/png", (140, 140, 140)),
        (saved(Image.new("1", (64, 64), 1), "PNG"), "image/png", (255, 255, 255)),
        (saved(Image.new("LA", (64, 64), (30, 0)), "PNG"), "image/png", (255, 255, 255)),
        (saved(Image.new("RGBA", (64, 64), (0, 0, 200, 255)), "PNG"), "image/png", (0, 0, 200)),
        (saved(Image.new("RGB", (64, 64), (0, 90, 0)), "PNG", transparency=(0, 90, 0)), "image/png", (255, 255, 255)),
        (saved(Image.new("RGB", (64, 64), (9, 99, 199)), "WEBP", lossless=True), "image/webp", (9, 99, 199)),
        (
            saved(
                Image.new("RGB", (64, 64), (9, 99, 199)),
                "WEBP",
                save_all=True,
                append_images=[Image.new("RGB", (64, 64))],
                lossless=True,
            ),
            "image/webp",
            (9, 99, 199),
        ),
    ],
    ids=["cmyk", "grey jpeg", "grey png", "16 bit", "1 bit", "LA", "opaque RGBA", "keyed", "webp", "animated webp"],
)
def test_every_mode_keeps_its_colour(original: bytes, content_type: str, colour: tuple[int, int, int]) -> None:
    for target in (MediaFormat.JPEG, MediaFormat.WEBP):
        rendition = picture(process(original, content_type), FULL, target)
        if rendition.mode == "RGBA":
            assert pixel(rendition, (32, 32))[3] == 0
            continue
        assert np.abs(np.asarray(rendition.convert("RGB"))[32, 32].astype(int) - colour).max() <= 4


def test_transparency_survives_in_webp_and_is_white_in_jpeg() -> None:
    palette = Image.new("P", (64, 64), 0)
    palette.putpalette([200, 0, 0, 0, 0, 200])
    palette.paste(1, (0, 0, 32, 64))
    work = process(saved(palette, "PNG", transparency=0), "image/png")
    webp, jpeg = picture(work, FULL, MediaFormat.WEBP), picture(work, FULL)
    assert webp.mode == "RGBA"
    assert (pixel(webp, (8, 32))[3], pixel(webp, (56, 32))[3]) == (255, 0)
    assert min(pixel(jpeg, (56, 32))) >= 250
    assert pixel(jpeg, (8, 32))[2] > 180


def test_colours_are_converted_through_the_embedded_profile() -> None:
    # Swapping red and green needs no real camera's profile: a wide-gamut one is imitated by XYZ -> any change shows.
    xyz = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    description = xyz.replace("sRGB".encode("utf-16-be"), "Swap".encode("utf-16-be"))
    red, green = description.index(b"rXYZ"), description.index(b"gXYZ")
    swapped = bytearray(description)
    swapped[red : red + 4], swapped[green : green + 4] = b"gXYZ", b"rXYZ"
    original = saved(Image.new("RGB", (64, 64), (220, 20, 20)), "PNG", icc_profile=bytes(swapped))
    red_part, green_part, _ = pixel(picture(process(original, "image/png"), FULL), (32, 32))
    assert red_part < 60
    assert green_part > 200
    assert "icc_profile" not in Image.open(io.BytesIO(process(original, "image/png").renditions[0].body)).info


def test_the_placeholder_hash_decodes_to_the_pictures_colours() -> None:
    work = process(saved(Image.new("RGB", (300, 200), (200, 60, 30)), "PNG"), "image/png")
    red, green, blue, alpha = thumbhash.thumb_hash_to_average_rgba(list(base64.b64decode(prints(work).thumbhash)))
    assert np.abs(np.array([red, green, blue, alpha]) * 255 - (200, 60, 30, 255)).max() < 12
    assert prints(work).dominant_color == "#c83c1e"


def test_the_perceptual_hash_is_imagehash_of_the_feed_rendition() -> None:
    work = process(photos.phone_photo(1600, 1200, 6))
    assert re.fullmatch("[0-9a-f]{16}", prints(work).perceptual_hash)
    assert imagehash.hex_to_hash(prints(work).perceptual_hash) - imagehash.phash(picture(work, FEED)) <= 4


def test_the_same_photo_smaller_has_nearly_the_same_hash_and_another_has_not() -> None:
    upright = photos.scene(1600, 1200, seed=3)
    hashes = [
        imagehash.hex_to_hash(prints(process(saved(image, "JPEG", quality=quality))).perceptual_hash)
        for image, quality in (
            (upright, 92),
            (upright.resize((800, 600)), 60),
            (photos.scene(1600, 1200, seed=4), 92),
        )
    ]
    assert hashes[0] - hashes[1] <= 6
    assert hashes[0] - hashes[2] > 12


def test_a_second_picture_in_the_same_file_is_left_out() -> None:
    both = io.BytesIO()
    photos.scene(640, 480).save(both, "MPO", save_all=True, append_images=[Image.new("RGB", (640, 480), (1, 2, 3))])
    assert photos.is_upright(picture(process(both.getvalue()), FULL))


def test_orientation_of_png_and_webp_counts_too() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 8
    stored = photos.scene(300, 400).transpose(Image.Transpose.ROTATE_270)
    for container, content_type in (("PNG", "image/png"), ("WEBP", "image/webp")):
        work = process(saved(stored, container, exif=exif), content_type)
        assert work.size == (300, 400)
        assert photos.is_upright(picture(work, FULL))
