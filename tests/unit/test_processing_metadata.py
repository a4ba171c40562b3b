"""What is read of a file's own metadata: what was asked for, as far as it makes sense."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from service.models import EmbeddedMetadata, MetadataField
from service.processing.metadata import MAX_EXIF_BYTES, metadata_of_clip, metadata_of_exif, read_metadata
from service.processing.work import Work
from tests import tagged
from tests.in_process import request_for, saved
from tests.photos import scene

EVERY = frozenset(MetadataField)
NOTHING = EmbeddedMetadata()
BASE, GPS = ExifTags.Base, ExifTags.GPS

NORTH, EAST = tagged.text(GPS.GPSLatitudeRef, "N"), tagged.text(GPS.GPSLongitudeRef, "E")
BERLIN = (tagged.rationals(GPS.GPSLatitude, (52, 1), (31, 1), (1234, 100)), NORTH)
BERLIN_EAST = (tagged.rationals(GPS.GPSLongitude, (13, 1), (24, 1), (18, 1)), EAST)


def read(body: bytes, fields: frozenset[MetadataField] = EVERY) -> EmbeddedMetadata:
    exif = Image.Exif()
    exif.load(body)
    return metadata_of_exif(exif, fields)


@pytest.mark.parametrize(
    ("stamp", "offset", "fraction", "expected"),
    [
        ("2024:05:17 10:20:30", "+02:00", None, datetime(2024, 5, 17, 8, 20, 30, tzinfo=UTC)),
        ("2024:05:17 10:20:30", "-09:30", "5", datetime(2024, 5, 17, 19, 50, 30, 500_000, tzinfo=UTC)),
        ("2024:05:17 10:20:30", "Z", "123456", datetime(2024, 5, 17, 10, 20, 30, 123_000, tzinfo=UTC)),
        # Nothing says where the clock stood: UTC, as documented.
        ("2024:05:17 10:20:30", None, "   ", datetime(2024, 5, 17, 10, 20, 30, tzinfo=UTC)),
        ("2024:05:17 10:20:30", "+99:00", None, datetime(2024, 5, 17, 10, 20, 30, tzinfo=UTC)),
        ("2024-05-17T10:20:30", None, None, datetime(2024, 5, 17, 10, 20, 30, tzinfo=UTC)),
        ("0000:00:00 00:00:00", None, None, None),
        ("    :  :     :  :  ", None, None, None),
        ("2024:13:40 10:20:30", None, None, None),
        ("9999:12:31 23:59:59", "-14:00", None, None),
        ("yesterday", None, None, None),
    ],
)
def test_capture_time_of_a_picture(
    stamp: str, offset: str | None, fraction: str | None, expected: datetime | None
) -> None:
    details = [tagged.text(BASE.DateTimeOriginal, stamp)]
    if offset is not None:
        details.append(tagged.text(BASE.OffsetTimeOriginal, offset))
    if fraction is not None:
        details.append(tagged.text(BASE.SubsecTimeOriginal, fraction))
    assert read(tagged.tiff(details=details)) == EmbeddedMetadata(captured_at=expected)


@pytest.mark.parametrize(
    ("make", "model", "expected"),
    [
        (b"Pear", b"Pear Phone 12", ("Pear", "Pear Phone 12")),
        (b"  Pear \0\0rest", b"Phone\x1b[31m\r\n 12\x07", ("Pear", "Phone [31m 12")),
        ("Büro".encode(), "Kamera-é".encode("latin-1"), ("Büro", "Kamera-é")),
        # Text that would run from right to left over what stands beside it.
        (b"\0Pear", "A\u202eB".encode(), (None, "A B")),
        (b"M" * 5_000, b"", ("M" * 100, None)),
        (b"\xff\xfe\x80\x81", b"\x01\x02", ("ÿþ", None)),
    ],
)
def test_camera_is_one_printable_line(make: bytes, model: bytes, expected: tuple[str | None, str | None]) -> None:
    entries = [(BASE.Make, tagged.ASCII, len(make), make), (BASE.Model, tagged.ASCII, len(model), model)]
    found = read(tagged.tiff(entries))
    assert (found.camera_make, found.camera_model) == expected


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ((*BERLIN, *BERLIN_EAST), (52.520094, 13.405)),
        (
            (
                *(BERLIN[0], tagged.text(GPS.GPSLatitudeRef, "s")),
                *(BERLIN_EAST[0], tagged.text(GPS.GPSLongitudeRef, "W ")),
            ),
            (-52.520094, -13.405),
        ),
        ((tagged.rationals(GPS.GPSLatitude, (5252, 100)), NORTH, *BERLIN_EAST), (52.52, 13.405)),
        ((tagged.rationals(GPS.GPSLatitude, (52, 1), (60, 1), (60, 1)), NORTH, *BERLIN_EAST), (53.016667, 13.405)),
        # A direction, a half, or a denominator is missing; out of range; minutes beyond the hour; no fix yet.
        ((BERLIN[0], *BERLIN_EAST), None),
        (BERLIN, None),
        ((tagged.rationals(GPS.GPSLatitude, (52, 0), (31, 1), (0, 1)), NORTH, *BERLIN_EAST), None),
        ((tagged.rationals(GPS.GPSLatitude, (0, 0), (0, 0), (0, 0)), NORTH, *BERLIN_EAST), None),
        ((tagged.rationals(GPS.GPSLatitude, (91, 1)), NORTH, *BERLIN_EAST), None),
        ((tagged.rationals(GPS.GPSLongitude, (181, 1)), EAST, *BERLIN), None),
        ((tagged.rationals(GPS.GPSLatitude, (52, 1), (61, 1)), NORTH, *BERLIN_EAST), None),
        ((tagged.rationals(GPS.GPSLatitude, *[(1, 1)] * 4), NORTH, *BERLIN_EAST), None),
        ((tagged.text(GPS.GPSLatitude, "52"), NORTH, *BERLIN_EAST), None),
        ((tagged.rationals(GPS.GPSLatitude, (0, 1)), NORTH, tagged.rationals(GPS.GPSLongitude, (0, 1)), EAST), None),
    ],
)
def test_location_of_a_picture(entries: tuple[tagged.Entry, ...], expected: tuple[float, float] | None) -> None:
    assert read(tagged.tiff(gps=entries)) == EmbeddedMetadata(location=expected)


@pytest.mark.parametrize("container", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_every_container_is_read_and_only_what_was_asked_for(container: str) -> None:
    header = b"Exif\0\0" if container == "JPEG" else b""
    body = tagged.tiff(
        [tagged.text(BASE.Make, "Pear"), tagged.text(BASE.Model, "Phone")],
        details=[tagged.text(BASE.DateTimeOriginal, "2024:05:17 10:20:30")],
        gps=(*BERLIN, *BERLIN_EAST),
    )
    picture = Image.open(io.BytesIO(saved(scene(32, 24), container, exif=header + body)))
    picture.load()
    found = {
        MetadataField.CAPTURED_AT: EmbeddedMetadata(captured_at=datetime(2024, 5, 17, 10, 20, 30, tzinfo=UTC)),
        MetadataField.CAMERA: EmbeddedMetadata(camera_make="Pear", camera_model="Phone"),
        MetadataField.LOCATION: EmbeddedMetadata(location=(52.520094, 13.405)),
    }
    for field, expected in found.items():
        assert metadata_of_exif(picture.getexif(), {field}) == expected
    assert metadata_of_exif(picture.getexif(), ()) == NOTHING


def test_one_broken_field_does_not_take_the_others_with_it() -> None:
    body = tagged.tiff(
        [tagged.text(BASE.Model, "Phone")],
        details=[tagged.text(BASE.DateTimeOriginal, "2024:02:31 10:20:30")],
        gps=(tagged.rationals(GPS.GPSLatitude, (1, 0)), NORTH, *BERLIN_EAST),
    )
    assert read(body) == EmbeddedMetadata(camera_model="Phone")


def test_metadata_of_an_absurd_size_is_not_read() -> None:
    body = tagged.tiff([tagged.text(BASE.Make, "Pear"), tagged.opaque(0xC634, bytes(MAX_EXIF_BYTES))])
    picture = Image.open(io.BytesIO(saved(scene(32, 24), "PNG", exif=body)))
    picture.load()
    assert metadata_of_exif(picture.getexif(), EVERY) != NOTHING
    work = Work(io.BytesIO(), request_for("image/png").model_copy(update={"metadata": EVERY}), image=picture)
    read_metadata(work)
    assert work.metadata == NOTHING


@settings(max_examples=150, deadline=None)
@pytest.mark.filterwarnings("ignore")
@given(
    body=st.binary(max_size=300).map(lambda noise: b"II*\x00\x08\x00\x00\x00" + noise)
    | st.builds(
        tagged.tiff,
        details=st.lists(
            st.builds(
                lambda tag, kind, value: (int(tag), kind, len(value), value),
                st.sampled_from([BASE.DateTimeOriginal, BASE.OffsetTimeOriginal, BASE.SubsecTimeOriginal]),
                st.integers(1, 13),
                st.binary(max_size=40),
            ),
            max_size=4,
        ),
        gps=st.lists(
            st.builds(
                lambda tag, kind, value: (tag, kind, len(value), value),
                st.integers(0, 31),
                st.integers(1, 13),
                st.binary(max_size=40),
            ),
            max_size=6,
        ),
    )
)
def test_hostile_metadata_is_read_as_less_never_as_an_error(body: bytes) -> None:
    exif = Image.Exif()
    try:
        exif.load(body)
    except Exception:  # noqa: BLE001 - what the pipeline catches as well
        return
    found = metadata_of_exif(exif, EVERY)
    assert found.location is None or (abs(found.location[0]) <= 90 and abs(found.location[1]) <= 180)
    for name in (found.camera_make, found.camera_model):
        assert name is None or (name.isprintable() and 0 < len(name) <= 100)


PHONE_CLIP = {
    "creation_time": "2024-05-17T08:20:30.000000Z",
    "com.apple.quicktime.creationdate": "2024-05-17T10:20:29+0200",
    "com.apple.quicktime.make": "Pear",
    "com.apple.quicktime.model": "Phone\n12",
    "com.apple.quicktime.location.ISO6709": "+52.5200+013.4050+034.123/",
    "com.apple.quicktime.location.accuracy.horizontal": "4.5",
}


def test_clip_of_a_phone() -> None:
    moment = datetime(2024, 5, 17, 8, 20, 29, tzinfo=UTC)
    expected = EmbeddedMetadata(moment, "Pear", "Phone 12", (52.52, 13.405))
    assert metadata_of_clip(PHONE_CLIP, EVERY) == expected
    assert metadata_of_clip(PHONE_CLIP, {MetadataField.CAMERA}) == EmbeddedMetadata(None, "Pear", "Phone 12")
    assert metadata_of_clip(PHONE_CLIP, ()) == metadata_of_clip({}, EVERY) == NOTHING
    android = {"location": "-33.9000+018.4000/", "com.android.manufacturer": "Plum", "com.android.model": "P1"}
    assert metadata_of_clip(android, EVERY) == EmbeddedMetadata(None, "Plum", "P1", (-33.9, 18.4))


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("+5231.2056+01324.300/", (52.520093, 13.405)),
        ("+523112.34+0132418/", (52.520094, 13.405)),
        ("-90.0-180.0", (-90.0, -180.0)),
        ("+52.5+013.4CRSWGS_84/", (52.5, 13.4)),
        ("+52.5+013.4+30CRSWGS_84/", (52.5, 13.4)),
        ("+99.0+013.4/", None),
        ("+00.0000+000.0000/", None),
        ("somewhere", None),
        ("+" + "5" * 10_000, None),
    ],
)
def test_location_of_a_clip(stated: str, expected: tuple[float, float] | None) -> None:
    assert metadata_of_clip({"location": stated}, EVERY).location == expected


@pytest.mark.parametrize("stated", ["1904-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "soon", "", "9" * 10_000])
def test_a_clock_that_was_never_set_says_nothing(stated: str) -> None:
    assert metadata_of_clip({"creation_time": stated}, EVERY).captured_at is None


@given(st.dictionaries(st.sampled_from(sorted(PHONE_CLIP)), st.text(max_size=60)))
def test_hostile_tags_are_read_as_less_never_as_an_error(tags: dict[str, str]) -> None:
    metadata_of_clip(tags, EVERY)
