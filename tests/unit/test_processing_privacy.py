"""No position, serial number, name or note of the camera survives, wherever the file kept it."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, PngImagePlugin

from service.models import MediaFormat, MediaPurpose, MetadataField, RenditionName
from service.policies import POLICIES
from service.processing import pipeline
from service.processing.wire import LENGTH_BYTES, REPLY, Processed
from service.processing.work import Work
from tests import hostile, photos, tagged
from tests.bareness import foreign_parts
from tests.in_process import request_for, saved

SECRETS = st.text(alphabet="ABCDEFGHJKLMNPQRSTUVWXYZ23456789", max_size=30).map("SECRET-{}-SECRET".format)
TEXT_TAGS = (
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.Software,
    ExifTags.Base.Artist,
    ExifTags.Base.Copyright,
    ExifTags.Base.ImageDescription,
)
DETAIL_TAGS = (
    ExifTags.Base.BodySerialNumber,
    ExifTags.Base.LensSerialNumber,
    ExifTags.Base.CameraOwnerName,
    ExifTags.Base.MakerNote,
    ExifTags.Base.UserComment,
    ExifTags.Base.ImageUniqueID,
)
DEGREES = st.tuples(st.integers(0, 179), st.integers(0, 59), st.integers(0, 59))
OUT = (MediaFormat.JPEG, MediaFormat.WEBP, MediaFormat.AVIF)
RENDITIONS = tuple(
    POLICIES[MediaPurpose.COMMUNITY].rendition(name).model_copy(update={"formats": OUT})
    for name in (RenditionName.THUMBNAIL, RenditionName.FEED)
)


def process(original: bytes, content_type: str = "image/jpeg") -> Work:
    request = request_for(content_type).model_copy(update={"renditions": RENDITIONS})
    work = Work(io.BytesIO(original), request)
    for step in pipeline.STEPS:
        step(work)
    return work


def assert_bare(work: Work, *secrets: str) -> None:
    assert {rendition.format for rendition in work.renditions} == set(OUT)
    for rendition in work.renditions:
        for secret in secrets:
            assert secret.encode() not in rendition.body
            assert secret.encode("utf-16-le") not in rendition.body
        assert foreign_parts(rendition.body) == []
        picture = Image.open(io.BytesIO(rendition.body))
        picture.load()
        assert not picture.getexif()
        assert not {"exif", "xmp", "icc_profile", "comment", "photoshop", "XML:com.adobe.xmp"} & set(picture.info)


def test_the_check_sees_what_a_file_holds() -> None:
    secrets = tagged.Secrets("SERIAL", "OWNER", "PLACE", (52, 31, 12))
    for content_type in ("image/jpeg", "image/webp", "image/avif"):
        original = tagged.CONTAINERS[content_type](secrets, 1)
        assert len(foreign_parts(original)) > 2, content_type
    assert foreign_parts(photos.small_photo(7)) == []
    assert foreign_parts(photos.small_photo(7) + b".") == ["trailer"]


@pytest.mark.parametrize("content_type", tagged.CONTAINERS)
@settings(max_examples=8, deadline=None)
@given(
    secrets=st.builds(tagged.Secrets, serial=SECRETS, owner=SECRETS, place=SECRETS, latitude=DEGREES),
    orientation=st.integers(1, 8),
)
def test_nothing_survives_in_any_format(content_type: str, secrets: tagged.Secrets, orientation: int) -> None:
    original = tagged.CONTAINERS[content_type](secrets, orientation)
    assert all(secret.encode() in original for secret in secrets)
    assert_bare(process(original, content_type), *secrets)


def test_nothing_but_what_was_asked_for_leaves_the_pipeline() -> None:
    secrets = tagged.Secrets("SERIAL-4711", "OWNER-4711", "PLACE-4711", (52, 31, 12))
    original = tagged.png(secrets, 6)
    for fields in (frozenset[MetadataField](), frozenset({MetadataField.CAMERA}), frozenset({MetadataField.LOCATION})):
        request, reply = request_for("image/png").model_copy(update={"metadata": fields}), io.BytesIO()
        pipeline.run(io.BytesIO(original), request.model_dump_json().encode(), reply)
        length = int.from_bytes(reply.getvalue()[:LENGTH_BYTES], "big")
        header = reply.getvalue()[LENGTH_BYTES:][:length]
        answer = REPLY.validate_json(header)
        assert isinstance(answer, Processed)
        told = answer.metadata.model_dump(exclude_none=True)
        # The maker is the one place for text where what was asked for may stand.
        expected = {"camera_make": secrets.serial} if MetadataField.CAMERA in fields else {}
        place = {"latitude": 52.52, "longitude": 13.405} if MetadataField.LOCATION in fields else {}
        assert told == {**expected, **place}
        assert b"4711" not in header.replace(b'"camera_make":"SERIAL-4711"', b"")
        assert "52" not in str([receipt.parameters for receipt in answer.receipts])


@settings(max_examples=8, deadline=None)
@given(secret=SECRETS, where=st.sampled_from(TEXT_TAGS), inside=st.sampled_from(DETAIL_TAGS), position=DEGREES)
def test_no_exif_survives(secret: str, where: int, inside: int, position: tuple[int, int, int]) -> None:
    exif = photos.private_exif(6)
    exif[where] = secret
    is_binary = inside in (ExifTags.Base.MakerNote, ExifTags.Base.UserComment)
    exif.get_ifd(ExifTags.IFD.Exif)[inside] = secret.encode() if is_binary else secret
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLongitude] = tuple(map(float, position))
    scene = photos.scene(96, 64)
    for container, content_type in (("JPEG", "image/jpeg"), ("PNG", "image/png"), ("WEBP", "image/webp")):
        original = saved(scene, container, exif=exif)
        assert secret.encode() in original
        assert_bare(process(original, content_type), secret, photos.SERIAL, photos.OWNER)


def test_a_phone_photo_is_bare() -> None:
    original = photos.phone_photo(1600, 1200)
    for secret in (photos.SERIAL.encode(), photos.OWNER.encode(), photos.MAKER_NOTE):
        assert secret in original
    assert_bare(process(original), photos.SERIAL, photos.OWNER, photos.MAKER_NOTE.decode())


def test_comments_xmp_iptc_and_trailers_are_gone() -> None:
    secret = "SECRET-PLACE-52.52N"
    xmp = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><exif:GPSLatitude>{secret}</exif:GPSLatitude></x:xmpmeta>'.encode()
    iptc = b"Photoshop 3.0\x008BIM\x04\x04\x00\x00" + len(secret).to_bytes(4, "big") + secret.encode()
    for original in (
        hostile.with_segment(0xFE, secret.encode()),
        hostile.with_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\x00" + xmp),
        hostile.with_segment(0xED, iptc),
        hostile.with_segment(0xEF, secret.encode()),
        photos.small_photo(7) + secret.encode(),
    ):
        assert_bare(process(original), secret)
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("Location", secret)
    chunks.add_itxt("XML:com.adobe.xmp", xmp.decode())
    assert_bare(process(saved(photos.scene(64, 64), "PNG", pnginfo=chunks), "image/png"), secret)
    assert_bare(process(saved(photos.scene(64, 64), "WEBP", xmp=xmp), "image/webp"), secret)
