"""Files whose metadata tells as much as each container can hold."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pillow_heif
from PIL import ExifTags, ImageCms

from tests.hostile import png_chunk
from tests.photos import scene

# TIFF 6.0, section 2: types of values.
BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 1, 2, 3, 4, 5, 7
Entry = tuple[int, int, int, bytes]

_EXIF_HEADER: Final = b"Exif\0\0"
_XMP_NAMESPACE: Final = b"http://ns.adobe.com/xap/1.0/\x00"
_EXTENDED_XMP: Final = b"http://ns.adobe.com/xmp/extension/\x00"


def text(tag: int, value: str) -> Entry:
    """A TIFF entry of ASCII, as cameras write names."""
    encoded = value.encode() + b"\0"
    return tag, ASCII, len(encoded), encoded


def rationals(tag: int, *values: tuple[int, int]) -> Entry:
    """A TIFF entry of fractions."""
    return tag, RATIONAL, len(values), b"".join(struct.pack("<II", *value) for value in values)


def opaque(tag: int, body: bytes) -> Entry:
    """A TIFF entry of bytes that only its maker understands."""
    return tag, UNDEFINED, len(body), body


def tiff(
    main: Sequence[Entry] = (),
    *,
    details: Sequence[Entry] = (),
    gps: Sequence[Entry] = (),
    interoperability: Sequence[Entry] = (),
    thumbnail: bytes = b"",
) -> bytes:
    """EXIF's TIFF structure (CIPA DC-008, 4.6): IFD0, the IFDs that it points to, and IFD1 with a `thumbnail`."""
    # Offsets are not known before all is laid out, and do not change its size: lay it out twice.
    ends: Mapping[str, int] = dict.fromkeys(("details", "gps", "interoperability", "thumbnail", "second"), 0)
    for _ in range(2):
        body, ends = _laid_out(ends, main, details, gps, interoperability, thumbnail)
    return body


def _laid_out(
    at: Mapping[str, int],
    main: Sequence[Entry],
    details: Sequence[Entry],
    gps: Sequence[Entry],
    interoperability: Sequence[Entry],
    thumbnail: bytes,
) -> tuple[bytes, Mapping[str, int]]:
    pointers = [_long(ExifTags.IFD.Exif, at["details"]), _long(ExifTags.IFD.GPSInfo, at["gps"])]
    body, starts = b"II*\x00\x08\x00\x00\x00", {}
    body += _directory([*main, *pointers], len(body), following=at["second"])
    starts["details"] = len(body)
    body += _directory([*details, _long(ExifTags.IFD.Interop, at["interoperability"])], len(body))
    starts["gps"] = len(body)
    body += _directory(gps, len(body))
    starts["interoperability"] = len(body)
    body += _directory(interoperability, len(body))
    starts["second"] = len(body)
    preview = [_long(0x0201, at["thumbnail"]), _long(0x0202, len(thumbnail)), (0x0103, SHORT, 1, struct.pack("<H", 6))]
    body += _directory(preview, len(body))
    starts["thumbnail"] = len(body)
    return body + thumbnail, starts


def _long(tag: int, value: int) -> Entry:
    return tag, LONG, 1, struct.pack("<I", value)


def _directory(entries: Sequence[Entry], offset: int, following: int = 0) -> bytes:
    table, values = b"", b""
    start = offset + 2 + 12 * len(entries) + 4
    for tag, kind, count, value in sorted(entries):
        if len(value) <= 4:
            table += struct.pack("<HHI4s", tag, kind, count, value)
        else:
            table += struct.pack("<HHII", tag, kind, count, start + len(values))
            values += value + b"\0" * (len(value) % 2)
    return struct.pack("<H", len(entries)) + table + struct.pack("<I", following) + values


@dataclass(frozen=True)
class Secrets:
    """What a file gives away. Every text stands in it as such, so that it can be looked for."""

    serial: str
    owner: str
    place: str
    latitude: tuple[int, int, int]

    def __iter__(self) -> Iterator[str]:
        return iter((self.serial, self.owner, self.place))

    def exif(self, orientation: int = 1) -> bytes:
        """Serial numbers, names, a place and a thumbnail, in every directory."""
        degrees = rationals(ExifTags.GPS.GPSLatitude, *((part, 1) for part in self.latitude))
        return tiff(
            [
                text(ExifTags.Base.Artist, self.owner),
                text(ExifTags.Base.ImageDescription, self.place),
                text(ExifTags.Base.Make, self.serial),
                (ExifTags.Base.Orientation, SHORT, 1, struct.pack("<H", orientation)),
                # As Windows writes it.
                (ExifTags.Base.XPAuthor, BYTE, 2 * len(self.owner), self.owner.encode("utf-16-le")),
            ],
            details=[
                text(ExifTags.Base.BodySerialNumber, self.serial),
                text(ExifTags.Base.CameraOwnerName, self.owner),
                opaque(ExifTags.Base.MakerNote, b"MAKER\0" + self.serial.encode()),
                opaque(ExifTags.Base.UserComment, b"ASCII\0\0\0" + self.place.encode()),
            ],
            gps=[
                text(ExifTags.GPS.GPSLatitudeRef, "N"),
                degrees,
                text(ExifTags.GPS.GPSLongitudeRef, "E"),
                rationals(ExifTags.GPS.GPSLongitude, (13, 1), (24, 1), (18, 1)),
                opaque(ExifTags.GPS.GPSAreaInformation, b"ASCII\0\0\0" + self.place.encode()),
            ],
            interoperability=[text(0x0001, "R98"), text(0x1000, self.serial)],
            thumbnail=b"\xff\xd8\xff\xfe"
            + struct.pack(">H", len(self.serial) + 2)
            + self.serial.encode()
            + b"\xff\xd9",
        )

    def xmp(self) -> bytes:
        """XMP as editors write it."""
        return (
            '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description '
            f'exif:GPSLatitude="{self.place}" aux:SerialNumber="{self.serial}">'
            f"<dc:creator>{self.owner}</dc:creator></rdf:Description></rdf:RDF></x:xmpmeta>"
        ).encode()

    def iptc(self) -> bytes:
        """IPTC-IIM in Photoshop's resource 0x0404: by-line and city."""
        records = b"".join(
            b"\x1c\x02" + bytes([number]) + struct.pack(">H", len(value)) + value.encode()
            for number, value in ((80, self.owner), (90, self.place))
        )
        return b"Photoshop 3.0\x008BIM\x04\x04\x00\x00" + struct.pack(">I", len(records)) + records

    def profile(self) -> bytes:
        """A colour profile that has the owner's name where a description should be."""
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        size = len(profile) + len(self.owner)
        return struct.pack(">I", size) + profile[4:] + self.owner.encode()


def jpeg(secrets: Secrets, orientation: int) -> bytes:
    """Segments of every kind that holds metadata, a second picture after the first, and text after both."""
    second = _saved("JPEG", exif=_EXIF_HEADER + secrets.exif(), comment=secrets.owner)
    plain = _saved("JPEG", exif=_EXIF_HEADER + secrets.exif(orientation))
    segments = (
        (0xFE, secrets.owner.encode()),
        (0xE1, _XMP_NAMESPACE + secrets.xmp()),
        (0xE1, _EXTENDED_XMP + b"0" * 32 + struct.pack(">II", len(secrets.xmp()), 0) + secrets.xmp()),
        (0xE2, b"ICC_PROFILE\x00\x01\x01" + secrets.profile()),
        (0xED, secrets.iptc()),
        (0xEC, b"Ducky" + secrets.serial.encode()),
    )
    joined = b"".join(_segment(marker, body) for marker, body in segments)
    return plain[:2] + joined + plain[2:] + second + secrets.place.encode()


def png(secrets: Secrets, orientation: int) -> bytes:
    """Chunks of text, plain, compressed and international, EXIF, XMP, and chunks that nobody knows."""
    whole = _saved("PNG", exif=secrets.exif(orientation), icc_profile=secrets.profile())
    packed = zlib.compress(secrets.owner.encode())
    chunks = (
        (b"tEXt", b"Author\0" + secrets.owner.encode()),
        (b"zTXt", b"Comment\0\0" + packed),
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + secrets.xmp()),
        (b"iTXt", b"Location\0\x01\0\0\0" + zlib.compress(secrets.place.encode())),
        (b"tEXt", b"Raw profile type iptc\0\niptc\n  9\n" + secrets.iptc().hex().encode()),
        (b"prVt", secrets.serial.encode()),
    )
    inserted = b"".join(png_chunk(kind, body) for kind, body in chunks)
    end = whole.rindex(b"IEND") - 4
    return whole[:33] + inserted + whole[33:end] + inserted + whole[end:] + secrets.place.encode()


def webp(secrets: Secrets, orientation: int) -> bytes:
    """The chunks for EXIF, XMP and ICC, and one that nobody knows."""
    whole = _saved("WEBP", exif=secrets.exif(orientation), xmp=secrets.xmp(), icc_profile=secrets.profile())
    serial = secrets.serial.encode()
    chunk = b"PRIV" + struct.pack("<I", len(serial)) + serial + b"\0" * (len(serial) % 2)
    return whole[:4] + struct.pack("<I", len(whole) - 8 + len(chunk)) + whole[8:] + chunk


def avif(secrets: Secrets, orientation: int) -> bytes:
    """The items for EXIF and XMP, a profile, and a box after the rest."""
    whole = _saved("AVIF", exif=secrets.exif(orientation), xmp=secrets.xmp(), icc_profile=secrets.profile())
    return whole + _free_box(secrets)


def heic(secrets: Secrets, orientation: int) -> bytes:
    """The same from an HEVC encoder, as phones write it."""
    encoded = io.BytesIO()
    picture = pillow_heif.from_pillow(scene(64, 48))
    picture.save(encoded, exif=_EXIF_HEADER + secrets.exif(orientation), xmp=secrets.xmp())
    return encoded.getvalue() + _free_box(secrets)


def gif(secrets: Secrets, _orientation: int) -> bytes:
    """A comment extension, and the application extension that holds XMP."""
    whole = _saved("GIF", comment=secrets.owner.encode())
    xmp = b"\x21\xff\x0bXMP DataXMP" + secrets.xmp() + b"\x01" + bytes(range(255, -1, -1)) + b"\0"
    return whole[:-1] + xmp + whole[-1:] + secrets.place.encode()


def _segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def _free_box(secrets: Secrets) -> bytes:
    serial = secrets.serial.encode()
    return struct.pack(">I", 8 + len(serial)) + b"free" + serial


def _saved(container: str, **options: object) -> bytes:
    encoded = io.BytesIO()
    scene(64, 48).save(encoded, container, **options)
    return encoded.getvalue()


CONTAINERS: Final[Mapping[str, Callable[[Secrets, int], bytes]]] = {
    "image/jpeg": jpeg,
    "image/png": png,
    "image/webp": webp,
    "image/avif": avif,
    "image/heic": heic,
    "image/gif": gif,
}
