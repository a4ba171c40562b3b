"""Which rendition is shown where: sharp in its slot, no larger than that, and decodable."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.values import DisplayHint
from service.display import SLOW, Slot, choose_for_slot, choose_named, choose_srcset
from service.documents import RenditionDocument
from service.errors import InvalidInput
from service.models import MediaFormat, NetworkQuality, RenditionName


def rendition(name: str, media_format: str, width: int, size: int) -> RenditionDocument:
    return RenditionDocument(
        name=name, format=media_format, width=width, height=width, bytes=size, key=f"{name}.{media_format}", sha256=""
    )


STORED = [
    rendition("THUMBNAIL", "JPEG", 200, 9),
    rendition("THUMBNAIL", "WEBP", 200, 7),
    rendition("FEED", "JPEG", 720, 60),
    rendition("FEED", "WEBP", 720, 50),
    rendition("FULL", "JPEG", 1080, 120),
    rendition("FULL", "WEBP", 1080, 135),
]
BOTH = frozenset({MediaFormat.JPEG, MediaFormat.WEBP})


def key(pixels: float, accept: frozenset[MediaFormat] = BOTH, network: NetworkQuality = NetworkQuality.WIFI) -> str:
    chosen = choose_for_slot(STORED, Slot(pixels, accept, network))
    assert chosen is not None
    return chosen["key"]


def test_smallest_that_is_sharp() -> None:
    assert key(200) == "THUMBNAIL.WEBP"
    assert key(201) == "FEED.WEBP"
    assert key(720) == "FEED.WEBP"
    assert key(721) == "FULL.JPEG"  # the smaller file, whatever its format


def test_nothing_is_sharp_enough_for_a_wall() -> None:
    assert key(10_000) == "FULL.JPEG"


def test_only_what_the_client_decodes() -> None:
    assert key(700, frozenset({MediaFormat.JPEG})) == "FEED.JPEG"
    assert key(700, frozenset()) == "FEED.JPEG"
    assert choose_for_slot([rendition("FEED", "AVIF", 720, 1)], Slot(100)) is None


def test_slow_networks_get_one_size_less_but_never_none() -> None:
    assert key(721, network=NetworkQuality.THREE_G) == "FEED.WEBP"
    assert key(100, network=NetworkQuality.SLOW_2G) == "THUMBNAIL.WEBP"


def test_named() -> None:
    chosen = choose_named(STORED, RenditionName.FULL)
    assert chosen is not None
    assert chosen["key"] == "FULL.JPEG"
    assert choose_named([], RenditionName.FULL) is None


def test_before_the_named_one_is_made_there_is_another_to_show() -> None:
    chosen = choose_named(STORED[:3], RenditionName.FULL)
    assert chosen is not None
    assert chosen["key"] == "FEED.JPEG"


def test_srcset_is_one_format_without_the_crop() -> None:
    assert [entry["key"] for entry in choose_srcset(STORED, BOTH)] == ["FEED.JPEG", "FULL.JPEG"]
    assert [entry["key"] for entry in choose_srcset(STORED, ())] == ["FEED.JPEG", "FULL.JPEG"]
    assert choose_srcset([], BOTH) == []


def test_srcset_names_each_width_once() -> None:
    # A source smaller than both boxes gives both renditions the same size.
    small = [rendition("FEED", "JPEG", 500, 40), rendition("FULL", "JPEG", 500, 40)]
    assert [entry["width"] for entry in choose_srcset(small, ())] == [500]


def test_a_clip_is_never_shown_as_a_picture() -> None:
    # The smallest and the widest there is.
    of_a_clip = [*STORED[:3], rendition("POSTER", "JPEG", 1080, 90), rendition("PREVIEW", "MP4", 1280, 8)]
    every = frozenset(MediaFormat)
    assert [entry["key"] for entry in choose_srcset(of_a_clip, every)] == ["FEED.JPEG", "POSTER.JPEG"]
    for chosen in (
        choose_for_slot(of_a_clip, Slot(1280, every)),
        choose_for_slot(of_a_clip, Slot(1281, every)),
        choose_named(of_a_clip, RenditionName.PREVIEW, every),
    ):
        assert chosen is not None
        assert chosen["key"] == "POSTER.JPEG"
    assert choose_srcset(of_a_clip[-1:], every) == []


# What the pipeline makes of a photo of 4032 x 3024 pixels, of the same one held upright, of a banner, of an icon, and
# of something 100 pixels wide and 2,000 high.
LANDSCAPE, PORTRAIT, BANNER, ICON, PILLAR = (
    {"THUMBNAIL": 200, "FEED": 720, "FULL": 1080},
    {"THUMBNAIL": 200, "FEED": 540, "FULL": 810},
    {"THUMBNAIL": 90, "FEED": 720, "FULL": 1080},
    {"THUMBNAIL": 64, "FEED": 64, "FULL": 64},
    {"THUMBNAIL": 100, "FEED": 36, "FULL": 54},
)


@pytest.mark.parametrize(
    ("photo", "css_pixels", "ratio", "quick", "slow"),
    [
        (LANDSCAPE, 100, 2, "THUMBNAIL", "THUMBNAIL"),
        (LANDSCAPE, 101, 2, "FEED", "FEED"),
        (LANDSCAPE, 360, 2, "FEED", "FEED"),
        (LANDSCAPE, 361, 2, "FULL", "FEED"),
        (LANDSCAPE, 360, 3, "FULL", "FEED"),
        (LANDSCAPE, 360, 3.5, "FULL", "FEED"),
        (LANDSCAPE, 1, 0.5, "THUMBNAIL", "THUMBNAIL"),
        (PORTRAIT, 270, 2, "FEED", "FEED"),
        (PORTRAIT, 360, 2, "FULL", "FEED"),
        (PORTRAIT, 500, 3, "FULL", "FEED"),
        (BANNER, 90, 1, "THUMBNAIL", "THUMBNAIL"),
        (BANNER, 91, 1, "FEED", "FEED"),
        (ICON, 32, 2, "THUMBNAIL", "THUMBNAIL"),
        (ICON, 48, 3, "FEED", "FEED"),
        (PILLAR, 50, 2, "THUMBNAIL", "THUMBNAIL"),
        (PILLAR, 51, 2, "FULL", "FEED"),
        (PILLAR, 15, 2, "FEED", "FEED"),
    ],
)
def test_the_narrowest_that_is_sharp_and_one_less_but_no_crop_where_the_network_is_slow(
    photo: dict[str, int], css_pixels: int, ratio: float, quick: str, slow: str
) -> None:
    stored = [rendition(name, "JPEG", width, 10 * width + place) for place, (name, width) in enumerate(photo.items())]
    for network in NetworkQuality:
        chosen = choose_for_slot(stored, DisplayHint(width=css_pixels, device_pixel_ratio=ratio, network=network).slot)
        assert chosen is not None
        assert chosen["name"] == (slow if network in SLOW else quick), network


RENDITIONS = st.lists(
    st.builds(
        rendition,
        st.sampled_from(list(RenditionName)),
        st.sampled_from(list(MediaFormat)),
        st.integers(1, 40),
        st.integers(1, 9),
    ),
    max_size=12,
)


@given(RENDITIONS, st.integers(1, 50), st.sets(st.sampled_from(MediaFormat)), st.sampled_from(NetworkQuality))
def test_whatever_is_stored_nothing_better_is_passed_over(
    stored: list[RenditionDocument], pixels: int, accept: set[MediaFormat], network: NetworkQuality
) -> None:
    chosen = choose_for_slot(stored, Slot(pixels, frozenset(accept), network))
    usable = [each for each in stored if each["format"] in {"JPEG", *accept} - {"MP4"}]
    assert (chosen is None) is (usable == [])
    if chosen is None:
        return
    assert chosen in usable
    alike = [each for each in usable if (each["name"] == "THUMBNAIL") is (chosen["name"] == "THUMBNAIL")]
    assert chosen["bytes"] == min(each["bytes"] for each in alike if each["width"] == chosen["width"])
    whole = [each for each in usable if each["name"] != "THUMBNAIL"]
    if chosen["name"] == "THUMBNAIL":
        assert chosen["width"] >= pixels or not whole
        assert all(each["width"] >= chosen["width"] or each["width"] < pixels for each in usable)
        return
    widths = sorted({each["width"] for each in whole})
    sharp = next((width for width in widths if width >= pixels), widths[-1])
    step = 1 if network in SLOW else 0
    assert chosen["width"] == widths[max(widths.index(sharp) - step, 0)]


def test_a_crop_is_shown_in_a_wider_slot_only_while_there_is_nothing_else() -> None:
    chosen = choose_for_slot(STORED[:2], Slot(720, BOTH))
    assert chosen is not None
    assert chosen["key"] == "THUMBNAIL.WEBP"


@pytest.mark.parametrize(
    ("odd", "field"),
    [
        *(({"width": width}, "width") for width in (0, -1, 16_385, 2**31 - 1)),
        *(
            ({"width": 1, "device_pixel_ratio": ratio}, "devicePixelRatio")
            for ratio in (0.0, -0.0, -2.0, math.nan, math.inf, -math.inf, 16.01, 1e308)
        ),
    ],
)
def test_a_hint_that_no_screen_could_give_is_refused(odd: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        DisplayHint(**odd)
    assert caught.value.field == ("hint", field)


def test_a_hint_may_leave_out_all_but_the_width() -> None:
    assert DisplayHint(width=300).slot == Slot(300)
    assert DisplayHint(width=300, device_pixel_ratio=None, accept=None, network=None).slot == Slot(300)
    assert DisplayHint(width=16_384, device_pixel_ratio=16).slot.pixels == 16_384 * 16
