"""Choosing pictures: the smallest that is sharp in a slot, in the smallest format the client can decode. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from service.documents import RenditionDocument
from service.models import MediaFormat, NetworkQuality, RenditionName

SLOW = frozenset({NetworkQuality.SLOW_2G, NetworkQuality.TWO_G, NetworkQuality.THREE_G})
_JPEG_ONLY = frozenset({MediaFormat.JPEG})
# An <img> shows no clip, whatever else the client can play: those are asked for by name.
_STILL = frozenset(MediaFormat) - {MediaFormat.MP4}
# The one that is cut to a square: it shows less of the picture, and so stands in for no other.
_CROPPED = RenditionName.THUMBNAIL.value


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a picture is shown: `pixels` is its width in device pixels."""

    pixels: float
    accept: frozenset[MediaFormat] = _JPEG_ONLY
    network: NetworkQuality = NetworkQuality.UNKNOWN
    formats: frozenset[MediaFormat] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "formats", _stills(self.accept))


def choose_for_slot(renditions: Sequence[RenditionDocument], slot: Slot) -> RenditionDocument | None:
    """The rendition to show in `slot`, or None if there is none in a format the client can decode.

    A slot as narrow as the crop gets the crop; a wider one gets whole pictures, also where the network is slow.
    """
    sharp = _sharpest(renditions, slot.formats, slot.pixels)
    if sharp is not None and sharp["name"] == _CROPPED and sharp["width"] < slot.pixels:
        sharp = _whole(renditions, slot.formats, slot.pixels) or sharp
    if sharp is None or slot.network not in SLOW or sharp["name"] == _CROPPED:
        return sharp
    narrower = [
        each["width"]
        for each in renditions
        if each["width"] < sharp["width"] and each["format"] in slot.formats and each["name"] != _CROPPED
    ]
    return _whole(renditions, slot.formats, max(narrower)) if narrower else sharp


def _whole(
    renditions: Sequence[RenditionDocument], formats: frozenset[MediaFormat], pixels: float
) -> RenditionDocument | None:
    return _sharpest([each for each in renditions if each["name"] != _CROPPED], formats, pixels)


def _sharpest(
    renditions: Sequence[RenditionDocument], formats: frozenset[MediaFormat], pixels: float
) -> RenditionDocument | None:
    """The narrowest of at least `pixels`, or else the widest; of those the smallest file."""
    best: RenditionDocument | None = None
    for each in renditions:
        if each["format"] in formats and (best is None or _is_better(each, best, pixels)):
            best = each
    return best


def _is_better(rendition: RenditionDocument, than: RenditionDocument, pixels: float) -> bool:
    width, other = rendition["width"], than["width"]
    if width == other:
        return rendition["bytes"] < than["bytes"]
    return pixels <= width < other or other < min(width, pixels)


def choose_named(
    renditions: Sequence[RenditionDocument], name: RenditionName, accept: Collection[MediaFormat] = _JPEG_ONLY
) -> RenditionDocument | None:
    """The rendition of that name, or else the widest, in the smallest decodable format; None if there is none.

    A media can be looked at before all of its renditions are made.
    """
    formats = _JPEG_ONLY if accept is _JPEG_ONLY else _stills(accept)
    best: RenditionDocument | None = None
    least = None
    for each in renditions:
        if each["format"] in formats:
            rank = (False, 0, each["bytes"]) if each["name"] == name else (True, -each["width"], each["bytes"])
            if least is None or rank < least:
                best, least = each, rank
    return best


def choose_srcset(renditions: Sequence[RenditionDocument], accept: Collection[MediaFormat]) -> list[RenditionDocument]:
    """One uncropped rendition a width, all in the accepted format that is smallest in total, narrowest first."""
    formats = _stills(accept)
    by_format: dict[str, list[RenditionDocument]] = {}
    for rendition in renditions:
        if rendition["format"] in formats and rendition["name"] != _CROPPED:
            by_format.setdefault(rendition["format"], []).append(rendition)
    if not by_format:
        return []
    best = min(by_format.values(), key=lambda group: sum(rendition["bytes"] for rendition in group))
    return sorted({rendition["width"]: rendition for rendition in best}.values(), key=lambda entry: entry["width"])


def _stills(accept: Collection[MediaFormat]) -> frozenset[MediaFormat]:
    return _STILL & {MediaFormat.JPEG, *accept}
