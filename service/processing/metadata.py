"""What is worth knowing from a file's metadata, and then its end: nothing that was not asked for leaves the jail.

Pictures: EXIF (CIPA DC-008), whatever the container. XMP and IPTC are not read: cameras write EXIF, and a parser of XML
is not worth its risk for what editors add. Clips: the tags that FFmpeg finds in QuickTime, MP4 and WebM files.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any, Final

from PIL import ExifTags, Image

from service.models import EmbeddedMetadata, MetadataField
from service.processing.work import Work

# Far more than cameras write, maker note and thumbnail included; beyond it, reading takes time and memory for nothing.
MAX_EXIF_BYTES: Final = 256 * 1024
MAX_TEXT: Final = 100

_EXIF_TIME: Final = re.compile(r"\s*(\d{4})[:/.-](\d\d)[:/.-](\d\d)[ T](\d\d):(\d\d):(\d\d)", re.ASCII)
_OFFSET: Final = re.compile(r"\s*([+-])(\d\d):?(\d\d)", re.ASCII)
# ISO 6709, Annex H: latitude, longitude and perhaps altitude, each with its sign and 2 to 4 digits more for minutes
# and seconds. It ends in "/", or in the name of a reference system.
_ISO_6709: Final = re.compile(
    r"([+-])(\d{2}|\d{4}|\d{6})(\.\d{1,12})?([+-])(\d{3}|\d{5}|\d{7})(\.\d{1,12})?(?:(?:[+/-]|CRS).{0,60})?", re.ASCII
)
# QuickTime counts from 1904 and Unix from 1970: a clock that was never set says one or the other.
_FIRST_YEAR_OF_CLIPS: Final = 1971

_Found = dict[str, Any]


def read_metadata(work: Work) -> None:
    """Orientation, colour profile, and the fields asked for. Broken metadata is no reason to refuse a picture."""
    profile = work.image.info.get("icc_profile")
    work.icc_profile = profile if isinstance(profile, bytes) and profile else None
    try:
        exif = work.image.getexif()
        orientation = exif.get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001 - EXIF parsers let SyntaxError, KeyError, struct.error and more escape
        return
    if isinstance(orientation, int) and 1 <= orientation <= 8:
        work.orientation = orientation
    if len(work.image.info.get("exif") or b"") <= MAX_EXIF_BYTES:
        work.metadata = metadata_of_exif(exif, work.request.metadata)


def strip_metadata(work: Work) -> None:
    """Leave pixels only: encoders would copy comments and profiles found here."""
    work.image.info.clear()


def metadata_of_exif(exif: Image.Exif, fields: Collection[MetadataField]) -> EmbeddedMetadata:
    """Those of `fields` that can be read; one that is broken does not take the others with it.

    A time without OffsetTimeOriginal is taken for UTC: the file does not say where its clock stood.
    """
    return _read(_EXIF_READERS, exif, fields)


def metadata_of_clip(tags: Mapping[str, str], fields: Collection[MetadataField]) -> EmbeddedMetadata:
    """The same from a clip's `tags`, under the names that FFmpeg gives them in any case.

    Apple's own creation date knows its time zone and wins over `creation_time`, which is UTC by specification.
    """
    return _read(_CLIP_READERS, {name.lower(): value for name, value in tags.items()}, fields)


def _read(
    readers: Mapping[MetadataField, Callable[[Any], _Found]], source: Any, fields: Collection[MetadataField]
) -> EmbeddedMetadata:
    found: _Found = {}
    for field in fields:
        try:
            found |= readers[field](source)
        except Exception:  # noqa: BLE001, S112 - as above: hostile metadata breaks parsers in every way
            continue
    return EmbeddedMetadata(**found)


def _exif_time(exif: Image.Exif) -> _Found:
    details = exif.get_ifd(ExifTags.IFD.Exif)
    stamp = _EXIF_TIME.match(_plain(details.get(ExifTags.Base.DateTimeOriginal)))
    if stamp is None:
        return {}
    fraction = _plain(details.get(ExifTags.Base.SubsecTimeOriginal)).strip()[:3].ljust(3, "0")
    zone = _zone(_plain(details.get(ExifTags.Base.OffsetTimeOriginal)))
    local = datetime(*map(int, stamp.groups()), tzinfo=zone)  # type: ignore[misc, arg-type]
    return {"captured_at": _moment(local, milliseconds=int(fraction) if fraction.isdecimal() else 0)}


def _zone(offset: str) -> timezone:
    found = _OFFSET.match(offset)
    if found is None:
        return UTC
    ahead = timedelta(hours=int(found[2]), minutes=int(found[3]))
    # No place on Earth is further from UTC.
    if ahead > timedelta(hours=14):
        return UTC
    return timezone(-ahead if found[1] == "-" else ahead)


def _moment(moment: datetime, *, milliseconds: int) -> datetime:
    # As MongoDB keeps it.
    return moment.astimezone(UTC).replace(microsecond=milliseconds * 1000)


def _exif_camera(exif: Image.Exif) -> _Found:
    return _camera(exif.get(ExifTags.Base.Make), exif.get(ExifTags.Base.Model))


def _camera(make: object, model: object) -> _Found:
    return {"camera_make": _text(make), "camera_model": _text(model)}


def _exif_location(exif: Image.Exif) -> _Found:
    position = exif.get_ifd(ExifTags.IFD.GPSInfo)
    latitude, longitude = (
        _degrees(position.get(value), _plain(position.get(reference)), directions)
        for value, reference, directions in (
            (ExifTags.GPS.GPSLatitude, ExifTags.GPS.GPSLatitudeRef, {"N": 1, "S": -1}),
            (ExifTags.GPS.GPSLongitude, ExifTags.GPS.GPSLongitudeRef, {"E": 1, "W": -1}),
        )
    )
    return _place(latitude, longitude)


def _degrees(value: Any, reference: str, directions: Mapping[str, int]) -> float:
    """Signed degrees from up to three rationals: degrees, minutes, seconds. KeyError without a direction."""
    parts = [float(part) for part in (value if isinstance(value, tuple) else (value,))]
    # A rational with a denominator of zero is not a number.
    in_range = all(part >= 0 for part in parts) and all(part <= 60 for part in parts[1:])
    if isinstance(value, (str, bytes)) or not 1 <= len(parts) <= 3 or not in_range:
        raise ValueError("no angle")
    return directions[reference.strip()[:1].upper()] * _sum(parts)


def _sum(parts: Collection[float]) -> float:
    return math.fsum(part / 60**power for power, part in enumerate(parts))


def _place(latitude: float, longitude: float) -> _Found:
    """Nothing for what is no place on Earth, or is the origin of both scales, which stands for "no position yet"."""
    if not (abs(latitude) <= 90 and abs(longitude) <= 180) or (latitude, longitude) == (0, 0):
        return {}
    # A tenth of a metre.
    return {"location": (round(latitude, 6), round(longitude, 6))}


def _clip_time(tags: Mapping[str, str]) -> _Found:
    stated = _first(tags, "com.apple.quicktime.creationdate", "creation_time")
    moment = datetime.fromisoformat(stated[:40].strip())
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    if aware.year < _FIRST_YEAR_OF_CLIPS:
        return {}
    return {"captured_at": _moment(aware, milliseconds=aware.microsecond // 1000)}


def _clip_camera(tags: Mapping[str, str]) -> _Found:
    return _camera(
        _first(tags, "com.apple.quicktime.make", "make", "com.android.manufacturer"),
        _first(tags, "com.apple.quicktime.model", "model", "com.android.model"),
    )


def _clip_location(tags: Mapping[str, str]) -> _Found:
    stated = _first(tags, "com.apple.quicktime.location.iso6709", "location", "location-eng")
    found = _ISO_6709.fullmatch(stated[:MAX_TEXT].strip())
    if found is None:
        return {}
    return _place(
        _sexagesimal(found[1], found[2], found[3] or "", of_degrees=2),
        _sexagesimal(found[4], found[5], found[6] or "", of_degrees=3),
    )


def _sexagesimal(sign: str, digits: str, fraction: str, *, of_degrees: int) -> float:
    """Signed degrees from as many digits of degrees as said, then two of minutes and two of seconds, if there."""
    cuts = [0, *range(of_degrees, len(digits), 2), len(digits)]
    parts = [digits[start:end] for start, end in pairwise(cuts)]
    parts[-1] += fraction
    return (-1 if sign == "-" else 1) * _sum([float(part) for part in parts])


def _first(tags: Mapping[str, str], *names: str) -> str:
    return next((tags[name] for name in names if tags.get(name)), "")


def _plain(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else "" if value is None else str(value)


def _text(value: object) -> str | None:
    """One printable line of at most MAX_TEXT characters, or None. EXIF says ASCII; cameras write what they like."""
    if not isinstance(value, (str, bytes)):
        return None
    raw = _plain(value)[: 10 * MAX_TEXT].partition("\0")[0]
    with suppress(UnicodeError):
        # Pillow reads ASCII as Latin-1.
        raw = raw.encode("latin-1").decode()
    printable = "".join(character if character.isprintable() else " " for character in raw)
    return " ".join(printable.split())[:MAX_TEXT].rstrip() or None


_EXIF_READERS: Final[Mapping[MetadataField, Callable[[Image.Exif], _Found]]] = {
    MetadataField.CAPTURED_AT: _exif_time,
    MetadataField.CAMERA: _exif_camera,
    MetadataField.LOCATION: _exif_location,
}
_CLIP_READERS: Final[Mapping[MetadataField, Callable[[Mapping[str, str]], _Found]]] = {
    MetadataField.CAPTURED_AT: _clip_time,
    MetadataField.CAMERA: _clip_camera,
    MetadataField.LOCATION: _clip_location,
}
