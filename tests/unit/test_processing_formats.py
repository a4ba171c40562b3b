"""Pictures of every format and mode, upright and in true colours, whatever their container says and however."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from service.models import MediaFormat, RenditionName
from service.policies import MAX_ANIMATION_FRAMES
from service.processing.frames import shown_ms
from service.processing.wire import Processed
from service.processing.work import Work
from tests import hostile_containers, photos
from tests.hostile import png_chunk
from tests.in_process import picture, process, reply_to, saved

FULL = RenditionName.FULL
HEIC, HEIF, AVIF, PNG, GIF = "image/heic", "image/heif", "image/avif", "image/png", "image/gif"
FLAT = (200, 80, 60)


def middle(work: Work, target: MediaFormat = MediaFormat.JPEG) -> tuple[int, ...]:
    """The colour in the centre of the largest rendition."""
    pixels = np.asarray(picture(work, FULL, target).convert("RGBA" if target is MediaFormat.WEBP else "RGB"))
    return tuple(int(part) for part in pixels[pixels.shape[0] // 2, pixels.shape[1] // 2])


def assert_near(seen: tuple[int, ...], meant: tuple[int, ...], tolerance: int = 5) -> None:
    assert max(abs(one - other) for one, other in zip(seen, meant, strict=True)) <= tolerance, (seen, meant)


@pytest.mark.parametrize(("orientation", "tile_size"), [*((each, 0) for each in range(1, 9)), (6, 64)])
def test_heic_is_turned_exactly_once(orientation: int, tile_size: int) -> None:
    original = photos.phone_heic(orientation, tile_size=tile_size)
    work = process(original, HEIC)
    assert work.size == ((120, 160) if orientation >= 5 else (160, 120))
    assert photos.is_upright(picture(work, FULL))


def test_heic_and_heif_are_names_of_one_another_and_the_true_one_is_told() -> None:
    original = photos.heic(photos.scene(96, 64))
    for declared in (HEIC, HEIF):
        answer = reply_to(original, declared)
        assert isinstance(answer, Processed)
        assert answer.content_type == HEIC
    generic = original.replace(b"ftypheic", b"ftypmif1").replace(b"mif1heicmiaf", b"mif1mif1miaf")
    answer = reply_to(generic, HEIC)
    assert isinstance(answer, Processed)
    assert answer.content_type == HEIF


@pytest.mark.parametrize("name", ["heic clear", "avif", "webp lossless"])
def test_transparency_survives_where_it_can(name: str) -> None:
    work = process(hostile_containers.good_files()[name], hostile_containers.content_type_of(name))
    webp, jpeg = picture(work, FULL, MediaFormat.WEBP), picture(work, FULL)
    top, bottom = (np.asarray(webp)[row, 48, 3] for row in (2, -3))
    assert top < 30
    assert bottom > 225
    assert min(np.asarray(jpeg)[2, 48]) > 225


def test_a_gif_keeps_its_first_frame_and_its_holes() -> None:
    palette = Image.new("P", (64, 64), 0)
    palette.putpalette([200, 0, 0, 0, 0, 200])
    palette.paste(1, (0, 0, 32, 64))
    webp = picture(process(saved(palette, "GIF", transparency=0), GIF), FULL, MediaFormat.WEBP)
    assert [int(np.asarray(webp)[32, x, 3]) for x in (8, 56)] == [255, 0]
    assert_near(middle(process(photos.animation("GIF"), GIF)), (220, 40, 90))


@pytest.mark.parametrize("container", ["GIF", "PNG", "WEBP", "AVIF"])
def test_frames_are_counted_and_timed(container: str) -> None:
    work = process(photos.animation(container, (70, 200, 130)), f"image/{container.lower()}")
    assert (work.frame_count, work.duration_ms) == (3, 400)
    assert_near(middle(work), (220, 40, 90), 8)
    still = process(saved(photos.scene(32, 32), container), f"image/{container.lower()}")
    assert (still.frame_count, still.duration_ms) == (1, None)


def test_frames_that_ask_for_no_time_last_as_long_as_in_browsers() -> None:
    assert [shown_ms(delay) for delay in (0, 10, 11, 20.4)] == [100, 100, 11, 20]
    work = process(photos.animation("GIF", (0, 0, 50)), GIF)
    assert work.duration_ms == 250


def test_counting_frames_ends_where_showing_them_does() -> None:
    work = process(hostile_containers.gif_of_many_frames(5 * MAX_ANIMATION_FRAMES), GIF)
    assert work.frame_count == MAX_ANIMATION_FRAMES


def display_p3() -> bytes:
    """An RGB profile with Display P3's primaries (as adapted to D50) and sRGB's curve."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for tag, xyz in (
        (b"rXYZ", (0.51512, 0.24120, -0.00105)),
        (b"gXYZ", (0.29198, 0.69225, 0.04189)),
        (b"bXYZ", (0.15710, 0.06657, 0.78407)),
    ):
        entry = profile.index(tag)
        at = int.from_bytes(profile[entry + 4 : entry + 8], "big") + 8
        profile[at : at + 12] = b"".join(round(part * 65_536).to_bytes(4, "big", signed=True) for part in xyz)
    return bytes(profile).replace("sRGB".encode("utf-16-be"), "P3 D".encode("utf-16-be"))


def named(original: bytes, primaries: int, transfer: int) -> bytes:
    """`original`, a HEIC or AVIF, with other colours to its name."""
    at = original.index(b"nclx") + 4
    return original[:at] + primaries.to_bytes(2, "big") + transfer.to_bytes(2, "big") + original[at + 4 :]


def flat(content_type: str) -> bytes:
    picture = Image.new("RGB", (64, 64), FLAT)
    return photos.heic(picture, chroma=444) if content_type == HEIC else saved(picture, "AVIF", subsampling="4:4:4")


@pytest.mark.parametrize("content_type", [HEIC, AVIF])
def test_a_gamut_by_number_is_the_gamut_by_profile(content_type: str) -> None:
    by_profile = process(saved(Image.new("RGB", (64, 64), FLAT), "PNG", icc_profile=display_p3()), PNG)
    by_number = process(named(flat(content_type), 12, 13), content_type)
    assert_near(middle(by_number), middle(by_profile))
    assert middle(by_number)[0] > FLAT[0] + 10
    assert_near(middle(process(named(flat(content_type), 1, 13), content_type)), FLAT)
    assert_near(middle(process(named(flat(content_type), 2, 2), content_type)), FLAT)


@pytest.mark.parametrize("content_type", [HEIC, AVIF])
@pytest.mark.parametrize(("transfer", "white", "grey"), [(16, 148, 92), (18, 191, 97)])
def test_high_dynamic_range_is_brought_into_range(content_type: str, transfer: int, white: int, grey: int) -> None:
    seen = []
    for level in (0, grey, white, 200, 255):
        picture = Image.new("RGB", (64, 64), (level,) * 3)
        original = photos.heic(picture, chroma=444) if content_type == HEIC else saved(picture, "AVIF")
        seen.append(max(middle(process(named(original, 9, transfer), content_type))))
    assert seen == sorted(seen)
    assert seen[0] <= 4
    # Paper white is nearly white, the brightest light no more than white.
    assert 220 <= seen[2] <= 245
    assert seen[4] >= 250


def test_ten_bits_become_eight_in_even_steps() -> None:
    ramp = np.linspace(0, 65_535, 512).astype(np.uint16)
    original = photos.heic_of_ten_bits(np.repeat(np.tile(ramp, (64, 1))[..., np.newaxis], 3, axis=2))
    row = np.asarray(process(original, HEIC).image.convert("L")).astype(int)[32]
    assert np.abs(row - np.linspace(0, 255, 512)).max() <= 4
    assert np.diff(row).max() <= 3


def test_sixteen_bits_become_eight_in_even_steps() -> None:
    ramp = np.linspace(0, 65_535, 512).astype(np.uint16)
    row = np.asarray(process(saved(Image.fromarray(np.tile(ramp, (64, 1))), "PNG"), PNG).image.convert("L"))[32]
    assert np.abs(row.astype(int) - np.linspace(0, 255, 512)).max() <= 2


def sixteen_bit_png(colour: tuple[int, int, int], key: tuple[int, int, int]) -> bytes:
    """Half `colour`, half `key`, which is declared transparent; 16 bits a channel, which Pillow cannot write."""
    rows = b"".join(b"\x00" + struct.pack(">HHH", *colour) * 16 + struct.pack(">HHH", *key) * 16 for _ in range(32))
    header = struct.pack(">IIBBBBB", 32, 32, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        png_chunk(kind, body)
        for kind, body in (
            (b"IHDR", header),
            (b"tRNS", struct.pack(">HHH", *key)),
            (b"IDAT", zlib.compress(rows)),
            (b"IEND", b""),
        )
    )


def test_a_key_of_sixteen_bits_is_found() -> None:
    work = process(sixteen_bit_png((0, 0, 0), (0x5A00, 0x1200, 0xFF00)), PNG)
    webp = np.asarray(picture(work, FULL, MediaFormat.WEBP))
    assert (webp[16, 4, 3], webp[16, 28, 3]) == (255, 0)
    grey = Image.fromarray(np.repeat(np.array([[700, 40_000]], dtype=np.uint16), 16, axis=1).repeat(32, axis=0))
    webp = np.asarray(picture(process(saved(grey, "PNG", transparency=700), PNG), FULL, MediaFormat.WEBP))
    assert (webp[16, 4, 3], webp[16, 28, 3]) == (0, 255)


def test_gamma_and_primaries_of_a_png_change_nothing() -> None:
    chunks = PngImagePlugin.PngInfo()
    chunks.add(b"gAMA", (100_000).to_bytes(4, "big"))
    chunks.add(b"cHRM", b"".join(part.to_bytes(4, "big") for part in (31270, 32900, 70800, 29200, 17000, 79700, 1, 1)))
    assert_near(middle(process(saved(Image.new("RGB", (64, 64), FLAT), "PNG", pnginfo=chunks), PNG)), FLAT)


@pytest.mark.parametrize("container", ["JPEG", "PNG"])
def test_a_profile_that_does_not_fit_the_pixels_is_ignored(container: str) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for flat_picture in (Image.new("RGB", (64, 64), FLAT), Image.new("L", (64, 64), 90)):
        work = process(saved(flat_picture, container, icc_profile=lab), f"image/{container.lower()}")
        assert_near(middle(work), np.asarray(flat_picture.convert("RGB"))[0, 0].tolist())


def test_inverted_cmyk_of_adobe_is_turned_back() -> None:
    ink = Image.new("CMYK", (64, 64), (0, 200, 200, 20))
    original = saved(ink, "JPEG", quality=95)
    assert b"Adobe" in original
    assert_near(middle(process(original)), np.asarray(ink.convert("RGB"))[0, 0].tolist(), 8)
