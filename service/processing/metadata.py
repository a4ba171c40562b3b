"""The two things worth knowing from a picture's metadata, and then its end: nothing else leaves the jail."""

from __future__ import annotations

from PIL import ExifTags

from service.processing.work import Work


def read_metadata(work: Work) -> None:
    """Keep orientation and colour profile. Broken metadata is no reason to refuse a picture."""
    profile = work.image.info.get("icc_profile")
    work.icc_profile = profile if isinstance(profile, bytes) and profile else None
    try:
        orientation = work.image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001 - EXIF parsers let SyntaxError, KeyError, struct.error and more escape
        return
    if isinstance(orientation, int) and 1 <= orientation <= 8:
        work.orientation = orientation


def strip_metadata(work: Work) -> None:
    """Leave pixels only: encoders would copy comments and profiles found here."""
    work.image.info.clear()
