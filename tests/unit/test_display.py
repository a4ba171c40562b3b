from __future__ import annotations

from service.display import Slot, choose_for_slot, choose_named, choose_srcset
from service.documents import RenditionDocument
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
