"""Folders and zip archives of annotations, broken and hostile ones among them."""

from __future__ import annotations

import random
import struct
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from service.annotation_exchange.records import PictureRecord, Record, UnreadableRecord
from service.annotation_exchange.voc import read_voc
from service.annotation_exchange.yolo import read_yolo
from service.errors import InvalidInput
from tests.unit.test_annotation_formats import VOC_2012, written

METHODS = {
    "stored": zipfile.ZIP_STORED,
    "deflate": zipfile.ZIP_DEFLATED,
    "bzip2": zipfile.ZIP_BZIP2,
    "lzma": zipfile.ZIP_LZMA,
}
LOCAL_HEADER, DIRECTORY = b"PK\x03\x04", b"PK\x01\x02"


def archive_of(path: Path, method: int, *names: str) -> bytearray:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name in names:
            archive.writestr(name, VOC_2012)
    return bytearray(path.read_bytes())


@pytest.mark.parametrize("name", ["../../etc/cron.d/a.xml", "/etc/a.xml", "a/..\\..\\b.xml"])
def test_an_archive_that_reaches_outside_of_itself_is_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(name, VOC_2012)
    with pytest.raises(InvalidInput, match="outside of itself"):
        list(read_voc(tmp_path / "a.zip"))


def test_what_swells_in_an_archive_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.xml", b"<annotation>" + b" " * 100_000_000)
    tracemalloc.start()
    [picture, problem] = read_voc(tmp_path / "a.zip")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(picture, PictureRecord)
    assert isinstance(problem, UnreadableRecord)
    assert problem.message == "it is larger than 16000000 bytes"
    assert peak < 60_000_000


def test_what_is_neither_folder_nor_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="neither a folder nor a zip archive"):
        list(read_voc(written(tmp_path / "a.zip", "PK, but no archive")))


@pytest.mark.parametrize("read", [read_voc, read_yolo])
@pytest.mark.parametrize("text", ['{"images": []}', "\ufeff [1]"])
def test_a_json_file_is_taken_for_coco(tmp_path: Path, read: Callable[[Path], Iterator[Record]], text: str) -> None:
    with pytest.raises(InvalidInput, match="--format coco"):
        list(read(written(tmp_path / "a.json", text)))


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = written(tmp_path / "outside" / "a.xml", VOC_2012)
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "a.xml").symlink_to(outside)
    (inside / "folder").symlink_to(outside.parent)
    assert list(read_voc(inside)) == []


@pytest.mark.parametrize("method", ["deflate", "bzip2", "lzma"])
def test_an_entry_that_does_not_expand_spoils_its_picture_alone(tmp_path: Path, method: str) -> None:
    path = tmp_path / "a.zip"
    body = archive_of(path, METHODS[method], "a.xml", "b.xml")
    # Behind the local header and its name, and LZMA's own properties.
    start = 30 + len("a.xml") + (9 if method == "lzma" else 0)
    body[start : start + 12] = b"\xff" * 12
    path.write_bytes(body)
    problems = [each for each in read_voc(path) if isinstance(each, UnreadableRecord)]
    assert [each.place for each in problems] == ["a.xml"]
    assert problems[0].message.startswith("it cannot be read: ")


def test_an_archive_beyond_what_is_known_is_refused(tmp_path: Path) -> None:
    """A version of the format from the future, a name that is no text, and none at all."""
    path = tmp_path / "a.zip"
    whole = archive_of(path, zipfile.ZIP_DEFLATED, "a.xml")
    start = whole.rindex(DIRECTORY)
    future, nameless, no_text = (bytearray(whole) for _ in range(3))
    future[start + 6 : start + 8] = struct.pack("<H", 999)
    no_text[start + 8 : start + 10], no_text[start + 46] = struct.pack("<H", 0x800), 0xFF
    nameless[start + 46] = 0
    for body in (future, no_text, nameless):
        path.write_bytes(body)
        with pytest.raises(InvalidInput):
            list(read_voc(path))


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_whatever_is_broken_in_an_archive_is_told(tmp_path: Path, method: int) -> None:
    """Some bytes anywhere are others, or the end is missing: it is refused as a whole, or its entries are."""
    path, chance = tmp_path / "a.zip", random.Random(method)
    whole = archive_of(path, method, "a.xml", "ä.xml")
    for _ in range(200):
        body = whole.copy()
        for _ in range(chance.choice((1, 2, 10))):
            body[chance.randrange(len(body))] = chance.choice((0, 255, chance.randrange(256)))
        path.write_bytes(body if chance.random() < 0.9 else body[: chance.randrange(len(body))])
        with suppress(InvalidInput):
            list(read_voc(path))
