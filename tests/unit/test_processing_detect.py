"""What a file is, by its bytes: names and declared types count for nothing."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from service.processing.detect import HEAD_BYTES, sniff
from tests import hostile


@pytest.mark.parametrize(
    ("container", "content_type"),
    [
        ("JPEG", "image/jpeg"),
        ("PNG", "image/png"),
        ("WEBP", "image/webp"),
        ("GIF", "image/gif"),
        ("AVIF", "image/avif"),
        ("BMP", "image/bmp"),
        ("TIFF", "image/tiff"),
        ("PDF", "application/pdf"),
    ],
)
def test_what_encoders_write_is_recognised(container: str, content_type: str) -> None:
    encoded = io.BytesIO()
    Image.new("RGB", (8, 8)).save(encoded, container)
    assert sniff(encoded.getvalue()[:HEAD_BYTES]) == content_type


@pytest.mark.parametrize(
    ("head", "content_type"),
    [
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "image/heic"),
        (b"\x00\x00\x00\x1cftypmif1\x00\x00\x00\x00miafavifMA1B", "image/avif"),
        (b"\x00\x00\x00\x1cftypavis\x00\x00\x00\x00avismsf1miaf", "image/avif"),
        (b"\x00\x00\x00\x14ftypmif1\x00\x00\x00\x00mif1", "image/heif"),
        (b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2", "video/mp4"),
        (b"\x00\x00\x00\x14ftypqt  \x00\x00\x02\x00qt  ", "video/quicktime"),
        (b"\x00\x00\x00\x08wide\x00\x00\x10\x00mdat", "video/quicktime"),
        (b"\x00\x00\x00\x18ftypmsf1\x00\x00\x00\x00msf1hevc", "image/heic"),
        (b"\x00\x00\x00\x14ftypM4V \x00\x00\x02\x00mp42", "video/mp4"),
        (b"\x00\x00\x00\x14ftyp3gp5\x00\x00\x02\x00isom", "video/3gpp"),
        (b"\x00\x00\x00\x14ftypM4A \x00\x00\x02\x00isom", "audio/mp4"),
        (b"\x00\x00\x00\x10ftypnope\x00\x00\x00\x00", None),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x84webm", "video/webm"),
        (b"\x1a\x45\xdf\xa3\x01\x00\x00\x00\x00\x00\x00\x1f\x42\x82\x88matroska", "video/x-matroska"),
        (b"\x1a\x45\xdf\xa3\x84\x42\x86\x81\x01\x42\x82\x84webm", None),
        (b"\x1a\x45\xdf\xa3\xff\x42\x82\x84", None),
        (b"PK\x03\x04\x14\x00\x00\x00", "application/zip"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg">', "image/svg+xml"),
        (b"  <!DOCTYPE html><html>", "text/html"),
        (b"<script>alert(1)</script>", "text/html"),
        (b"dear diary,\r\n", "text/plain"),
        ("grüße".encode(), "text/plain"),
        (("x" * 511 + "ü").encode()[:512], "text/plain"),
        (b"", None),
        (b"\xff\xd8", None),
        (b"RIFF\x10\x00\x00\x00WAVE", None),
        (b"\x00\x01\x02\x03", None),
    ],
)
def test_what_others_write_is_named(head: bytes, content_type: str | None) -> None:
    assert sniff(head) == content_type


def test_text_called_a_picture_is_text() -> None:
    assert sniff(hostile.text()[:HEAD_BYTES]) == "text/plain"


@given(st.binary(max_size=HEAD_BYTES))
def test_no_bytes_break_it(head: bytes) -> None:
    assert sniff(head) is None or "/" in str(sniff(head))
