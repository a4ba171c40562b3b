"""Files of any size, and hostile ones: memory stays small."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.annotation_exchange.coco import read_coco
from service.annotation_exchange.records import MAX_TEXT, UnreadableRecord
from service.annotation_exchange.spool import open_spool
from service.annotation_exchange.voc import read_voc
from service.annotation_exchange.yolo import read_yolo
from service.errors import InvalidInput
from tests.unit.test_annotation_formats import COCO_2017, VOC_2012, of, written


@contextmanager
def at_most(peak: int) -> Iterator[None]:
    """No more than so many bytes are taken at once within the block."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < peak
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Annotations before images, each with an outline: parsed as a whole they take 10 MB."""
    monkeypatch.setattr("service.annotation_exchange.spool._BATCH", 200)
    path, count = tmp_path / "large.json", 4_000
    annotation = COCO_2017["annotations"][0] | {"segmentation": [[510.66, 423.01] * 30]}
    with path.open("w") as file:
        file.write('{"annotations":[')
        file.write(",".join(json.dumps({**annotation, "image_id": index // 10}) for index in range(count)))
        file.write('],"images":[')
        file.write(",".join(json.dumps({"id": index, "file_name": f"{index}.jpg"}) for index in range(count // 10)))
        file.write('],"categories":[{"id":18,"name":"dog"}]}')
    assert path.stat().st_size > 2_000_000
    with open_spool(tmp_path) as spool, at_most(1_000_000):
        spool.fill(read_coco(path))
        pages = sum(len(list(spool.boxes_of(picture.record))) for page in spool.pages(200) for picture in page)
        assert list(tmp_path.iterdir()) == [path], "whatever ends an import, it leaves nothing behind"
        assert (spool.counts(), pages) == ((count // 10, 0, count), count)


def test_a_picture_with_more_than_a_media_holds_is_not_built(tmp_path: Path) -> None:
    """Whatever is said of it: one picture may have all the boxes of a file."""
    path, count = tmp_path / "a.json", 10_001
    with path.open("w") as file:
        file.write('{"images":[{"id":1,"file_name":"a"},{"id":2,"file_name":"b"}],"categories":[{"id":1,"name":"c"}],')
        file.write('"annotations":[{"image_id":2,"category_id":1,"bbox":[1,1,2,2]}')
        file.write(',{"image_id":1,"category_id":1,"bbox":[1,1,2,2]}' * count)
        file.write("]}")
    with open_spool() as spool:
        spool.fill(read_coco(path))
        assert spool.problems(20) == ["images[0]: a media holds up to 10,000 annotations, and this picture has 10001"]
        assert [(each.record.key, each.boxes) for page in spool.pages(10) for each in page] == [("2", 1)]


def test_a_text_as_large_as_a_file_ends_the_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that nobody asks for: the parser gathers it before it says so."""
    monkeypatch.setattr("service.annotation_exchange.json_records.MAX_TEXT_BYTES", 400_000)
    path = tmp_path / "a.json"
    path.write_text(f'{{"annotations":[{{"imageData":"{"x" * 2_000_000}"}}]}}')
    with at_most(1_000_000), pytest.raises(InvalidInput, match="has a text of more than 400,000 bytes"):
        list(read_coco(path))


def test_texts_longer_than_any_that_is_taken_spoil_their_picture(tmp_path: Path) -> None:
    """Thousands of records wait in memory for one another."""
    long = "x" * (MAX_TEXT + 1)
    images = [{"id": 1, "file_name": "a"}, {"id": 2, "file_name": long}, {"id": long}]
    said = {"image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4]}
    document = {"images": images, "categories": [{"id": 3, "name": long}], "annotations": [{**said, "text": long}]}
    problems = of(UnreadableRecord, read_coco(written(tmp_path / "a.json", document)))
    assert [each.place for each in problems] == [
        "images[1].file_name", "images[2].id", "categories[0].name", "annotations[0].text"
    ]  # fmt: skip
    assert {each.message for each in problems} == {"it has more than 4,000 characters"}
    for number, part in enumerate(("2007_000027.jpg", "person")):
        written(tmp_path / "voc" / f"{number}.xml", VOC_2012.replace(part, long))
    assert {each.place for each in of(UnreadableRecord, read_voc(tmp_path / "voc"))} == {"0.xml:3", "1.xml:16"}


def test_a_line_of_many_numbers_is_not_taken_apart(tmp_path: Path) -> None:
    written(tmp_path / "classes.txt", "dog\n")
    written(tmp_path / "a.txt", "0 " * 2_000_000)
    # Room is made for the largest entry there may be.
    with at_most(20_000_000):
        [problem] = of(UnreadableRecord, read_yolo(tmp_path))
    assert problem.message == "5 or 6 numbers belong here. Outlines, keypoints and turned boxes are not taken."


def test_names_of_classes_beyond_any_data_set_are_refused(tmp_path: Path) -> None:
    written(tmp_path / "data.yaml", "names: [" + "a," * 600_000 + "]")
    with at_most(4_000_000), pytest.raises(InvalidInput, match="it is larger than 1000000 bytes"):
        list(read_yolo(tmp_path))
