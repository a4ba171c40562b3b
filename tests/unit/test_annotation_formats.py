"""Files of other tools: what is read of them, what is refused and where."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.annotation_exchange.coco import read_coco
from service.annotation_exchange.records import (
    BoxRecord,
    CategoryRecord,
    LeftOutRecord,
    PictureRecord,
    Record,
)
from service.annotation_exchange.spool import open_spool
from service.annotation_exchange.voc import read_voc
from service.annotation_exchange.yolo import read_yolo
from service.errors import InvalidInput

# As the data sets of 2014 and 2017 have it (https://cocodataset.org/#format-data), the order of keys turned round.
COCO_2017: dict[str, Any] = {
    "annotations": [
        {
            "segmentation": [[510.66, 423.01, 511.72, 420.03, 510.45, 416.0]],
            "area": 702.1057499999998,
            "iscrowd": 0,
            "image_id": 289343,
            "bbox": [473.07, 395.93, 38.65, 28.67],
            "category_id": 18,
            "id": 1768,
        },
        {
            "segmentation": {"counts": [179, 27, 392], "size": [426, 640]},
            "area": 220834,
            "iscrowd": 1,
            "image_id": 289343,
            "bbox": [0, 34, 639, 388],
            "category_id": 18,
            "id": 900100250517,
        },
    ],
    "categories": [{"supercategory": "animal", "id": 18, "name": "dog"}],
    "images": [
        {
            "license": 3,
            "file_name": "000000289343.jpg",
            "coco_url": "http://images.cocodataset.org/val2017/000000289343.jpg",
            "height": 640,
            "width": 529,
            "date_captured": "2013-11-15 00:35:14",
            "flickr_url": "http://farm5.staticflickr.com/4012/4498049283_d7a4e1e4b4_z.jpg",
            "id": 289343,
        }
    ],
    "licenses": [{"url": "http://creativecommons.org/licenses/by-nc-nd/2.0/", "id": 3, "name": "Attribution"}],
    "info": {"description": "COCO 2017 Dataset", "year": 2017, "nested": {"deeper": [[1], {"id": 5}]}},
}

# As the development kit has it, with a part and a point within its second object.
VOC_2012 = """<annotation>
	<folder>VOC2012</folder>
	<filename>2007_000027.jpg</filename>
	<source>
		<database>The VOC2007 Database</database>
		<annotation>PASCAL VOC2007</annotation>
		<image>flickr</image>
	</source>
	<size>
		<width>486</width>
		<height>500</height>
		<depth>3</depth>
	</size>
	<segmented>0</segmented>
	<object>
		<name>person</name>
		<pose>Unspecified</pose>
		<truncated>0</truncated>
		<difficult>0</difficult>
		<bndbox>
			<xmin>174</xmin>
			<ymin>101</ymin>
			<xmax>349</xmax>
			<ymax>351</ymax>
		</bndbox>
		<part>
			<name>head</name>
			<bndbox><xmin>169</xmin><ymin>104</ymin><xmax>209</xmax><ymax>146</ymax></bndbox>
		</part>
	</object>
	<object>
		<name>dog</name>
		<bndbox><xmax>60.5</xmax><xmin>1</xmin><ymax>20</ymax><ymin>1.0</ymin></bndbox>
		<point><x>5</x><y>5</y></point>
	</object>
</annotation>
"""


def written(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def of(kind: type[Any], records: Iterator[Record]) -> list[Any]:
    return [record for record in records if isinstance(record, kind)]


def test_a_file_of_the_coco_data_set_is_read_in_whatever_order_its_keys_are(tmp_path: Path) -> None:
    records = list(read_coco(written(tmp_path / "instances.json", COCO_2017)))
    assert records == [
        BoxRecord("289343", "18", (473.07, 395.93, 38.65, 28.67), 1.0, "annotations[0]"),
        LeftOutRecord(),
        CategoryRecord("18", "dog", "categories[0]"),
        PictureRecord(
            "289343",
            (
                "000000289343.jpg",
                "http://images.cocodataset.org/val2017/000000289343.jpg",
                "http://farm5.staticflickr.com/4012/4498049283_d7a4e1e4b4_z.jpg",
            ),
            "images[0]",
            529,
            640,
        ),
    ]


def test_a_list_of_coco_results_is_read_beside_the_file_that_describes_its_pictures(tmp_path: Path) -> None:
    described = written(tmp_path / "instances.json", COCO_2017)
    results = [{"image_id": 289343, "category_id": 18, "bbox": [258.15, 41.29, 348.26, 243.78], "score": 0.236}]
    records = list(read_coco(written(tmp_path / "results.json", results), described_by=described))
    assert of(BoxRecord, iter(records)) == [BoxRecord("289343", "18", (258.15, 41.29, 348.26, 243.78), 0.236, "[0]")], (
        "the boxes are the results, not those that somebody drew"
    )
    assert len(of(PictureRecord, iter(records))) == len(of(CategoryRecord, iter(records))) == 1


@pytest.mark.parametrize(
    ("annotation", "problem"),
    [
        ({"bbox": [1, 2, 3]}, "annotations[0].bbox: it must be four numbers"),
        ({"bbox": None}, "annotations[0].bbox: it must be four numbers"),
        ({"bbox": [1, 2, [3], 4]}, "annotations[0].bbox[2]: this is not a number"),
        ({"bbox": [1, 2, True, 4]}, "annotations[0].bbox[2]: this is not a number"),
        ({"bbox": [1, 2, 1e300, 4]}, "annotations[0].bbox[2]: 1e+300 is not a number that can be used here"),
        ({"score": 1.5}, "annotations[0].score: a confidence is from 0 to 1, not 1.5"),
        ({"category_id": {}}, "annotations[0].category_id: it must be a whole number or a text"),
        ({"image_id": 1.5}, "annotations[0].image_id: it must be a whole number or a text"),
        ({"text": 7}, "annotations[0].text: it must be a text"),
        ({"category_id": 99}, "annotations[0]: there is no category 99"),
        ({"image_id": 42}, "annotations[0]: there is no picture 42"),
    ],
)
def test_what_is_wrong_in_a_record_is_told_with_its_path_and_spoils_its_picture_alone(
    tmp_path: Path, annotation: dict[str, Any], problem: str
) -> None:
    whole = {"image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4]}
    document = {
        "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
        "annotations": [{**whole, **annotation}, {**whole, "image_id": 2}],
        "categories": [{"id": 3, "name": "cat"}],
    }
    with open_spool() as spool:
        spool.fill(read_coco(written(tmp_path / "a.json", document)))
        [told] = spool.problems(20)
        assert told.startswith(problem)
        [taken] = [[picture.record.key for picture in page] for page in spool.pages(10)]
        assert taken == (["2"] if annotation.get("image_id") is None else ["1", "2"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"images": [1, 2',
        '{"images": {}}',
        '{"images": [7]}',
        '"images"',
        '{"images": []} and more',
        '{"annotations": [{"image_id": 1, "bbox": [NaN, 1, 2, 3]}]}',
        '{"annotations": [{"image_id": 1, "bbox": [1e999, 1, 2, 3]}]}',
        '{"annotations": [{"image_id": 123456789012345678901234567890}]}',
        '{"annotations": ' + "[" * 200_000,
        '{"annotations": [{"bbox": ' + "[" * 200_000,
    ],
)
def test_what_is_not_a_coco_file_is_refused_as_a_whole(tmp_path: Path, text: str) -> None:
    with open_spool() as spool, pytest.raises(InvalidInput, match="Nothing was written"):
        spool.fill(read_coco(written(tmp_path / "a.json", text)))


def test_coco_results_alone_are_refused_once(tmp_path: Path) -> None:
    results = [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}] * 3
    with open_spool() as spool, pytest.raises(InvalidInput, match="say with --images which file"):
        spool.fill(read_coco(written(tmp_path / "results.json", results)))


def test_a_folder_or_an_archive_is_no_coco_file(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("labels/a.txt", "")
    for path in (tmp_path, tmp_path / "a.zip"):
        with pytest.raises(InvalidInput, match=r"COCO is a JSON file.* --format yolo or voc"):
            list(read_coco(path))


def test_a_picture_that_makes_no_sense_is_told_once(tmp_path: Path) -> None:
    """And not again for each of its boxes."""
    document = {
        "images": [{"id": 1, "width": "wide"}],
        "annotations": [{"image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4]}] * 3,
        "categories": [{"id": 3, "name": "cat"}],
    }
    with open_spool() as spool:
        spool.fill(read_coco(written(tmp_path / "a.json", document)))
        assert spool.problems(20) == ["images[0].width: 'wide' is not a number"]
        assert (spool.stray_count(), spool.counts()) == (1, (0, 0, 3))


def test_two_pictures_or_categories_with_one_id_are_refused(tmp_path: Path) -> None:
    twice = {"images": [{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}]}
    with open_spool() as spool, pytest.raises(InvalidInput, match=r"images\[1\]: another picture has the id '1'"):
        spool.fill(read_coco(written(tmp_path / "a.json", twice)))
    twice = {"categories": [{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}]}
    with open_spool() as spool, pytest.raises(InvalidInput, match=r"categories\[1\]: the category '1' is 'cat'"):
        spool.fill(read_coco(written(tmp_path / "a.json", twice)))


def test_a_file_of_the_voc_development_kit_is_read_by_its_convention(tmp_path: Path) -> None:
    written(tmp_path / "Annotations" / "2007_000027.xml", VOC_2012)
    written(tmp_path / "ImageSets" / "Main" / "train.txt", "2007_000027\n")
    name = "Annotations/2007_000027.xml"
    assert list(read_voc(tmp_path)) == [
        PictureRecord(name, ("2007_000027.jpg", name), f"{name}:1", 486, 500),
        CategoryRecord("person", "person", f"{name}:15"),
        # Pixels 174 to 349, counted from 1, are 176 and begin 173 from the edge.
        BoxRecord(name, "person", (173, 100, 176, 251), 1.0, f"{name}:15"),
        CategoryRecord("dog", "dog", f"{name}:31"),
        BoxRecord(name, "dog", (0, 0, 60.5, 20), 1.0, f"{name}:31"),
    ]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("<annotation><object></annotation>", "a.xml:1: it is not XML that can be read: mismatched tag"),
        ("", "a.xml:1: it is not XML that can be read: no element found"),
        ("<html/>", "a.xml:1: an <annotation> belongs here, not 'html'"),
        (
            '<!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;">]><annotation>&lol2;</annotation>',
            "a.xml:1: a document type is not taken",
        ),
        ('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>', "a.xml:1: a document"),
        ("<annotation>" + "<a>" * 100_000, "a.xml:1: more than 32 elements within each other"),
        ('<?xml version="1.0" encoding="klingon"?><annotation/>', "a.xml:1: it is not XML that can be read"),
        ("<annotation>\n<object><bndbox/></object></annotation>", "a.xml:2: an <object> needs a <name>"),
        ("<annotation><object><name>x</name></object></annotation>", "a.xml:1: an <object> needs a <bndbox>"),
        (
            "<annotation><object><name>x</name>\n<bndbox><xmin>1</xmin></bndbox></object></annotation>",
            "a.xml:2: <bndbox> needs <ymin>",
        ),
        (VOC_2012.replace("174", "NaN"), "a.xml:21: nan is not a number that can be used here"),
        (VOC_2012.replace("174", "1e999"), "a.xml:21: inf is not a number that can be used here"),
        (VOC_2012.replace("174", "left"), "a.xml:21: 'left' is not a number"),
        (VOC_2012.replace("486", "-"), "a.xml:10: '-' is not a number"),
    ],
)
def test_a_hostile_or_broken_xml_file_spoils_its_picture_alone(tmp_path: Path, body: str, problem: str) -> None:
    written(tmp_path / "a.xml", body)
    written(tmp_path / "b.xml", VOC_2012)
    with open_spool() as spool:
        spool.fill(read_voc(tmp_path))
        [told] = spool.problems(20)
        assert told.startswith(problem)
        assert [picture.record.key for page in spool.pages(10) for picture in page] == ["b.xml"]


def test_yolo_labels_are_read_by_the_names_beside_them(tmp_path: Path) -> None:
    """The layout of Ultralytics: labels of several splits in folders named so, other texts about."""
    written(tmp_path / "data.yaml", "path: ../x\ntrain: train/images\nnc: 2\nnames:\n  0: no\n  1: traffic light\n")
    written(tmp_path / "README.roboflow.txt", "Some words.\n")
    written(tmp_path / "train" / "labels" / "a.txt", "1 0.5 0.5 0.25 0.5\n\n0 0.1 0.1 0.2 0.2 0.75\n")
    written(tmp_path / "valid" / "labels" / "b.txt", "")
    written(tmp_path / "valid" / "notes.txt", "0 0 0 0 0\n")
    records = list(read_yolo(tmp_path))
    assert {(each.key, each.label) for each in of(CategoryRecord, iter(records))} == {
        ("0", "no"),
        ("1", "traffic light"),
    }
    assert {each.key for each in of(PictureRecord, iter(records))} == {"train/labels/a.txt", "valid/labels/b.txt"}
    assert of(BoxRecord, iter(records)) == [
        BoxRecord("train/labels/a.txt", "1", (0.375, 0.25, 0.25, 0.5), 1.0, "train/labels/a.txt:1"),
        BoxRecord("train/labels/a.txt", "0", (0.0, 0.0, 0.2, 0.2), 0.75, "train/labels/a.txt:3"),
    ]


def test_a_picture_may_be_called_like_a_list_of_pictures(tmp_path: Path) -> None:
    """Where labels have a folder of their own, all texts in it are labels but for the names of the classes."""
    written(tmp_path / "labels" / "classes.txt", "dog\n")
    for name in ("test", "train", "readme"):
        written(tmp_path / "labels" / f"{name}.txt", "0 0.5 0.5 0.1 0.1\n")
    records = list(read_yolo(tmp_path))
    assert {each.picture for each in of(BoxRecord, iter(records))} == {
        "labels/test.txt", "labels/train.txt", "labels/readme.txt"
    }  # fmt: skip


def test_only_ends_of_lines_end_a_line(tmp_path: Path) -> None:
    """Whatever else Unicode takes for one: a name more would give all that follow another number."""
    (tmp_path / "classes.txt").write_bytes("\ufeffcat\r\nguide\x0bdog\rsea\u2028lion\n\nlast".encode())
    (tmp_path / "a.txt").write_bytes(b"0 0.5 0.5 0.1 0.1\r\n5 0.5 0.5\x0b0.1 0.1")
    records = list(read_yolo(tmp_path))
    assert {each.key: each.label for each in of(CategoryRecord, iter(records))} == {
        "0": "cat", "1": "guide\x0bdog", "2": "sea\u2028lion", "4": "last"
    }  # fmt: skip
    assert [(each.category, each.place) for each in of(BoxRecord, iter(records))] == [
        ("0", "a.txt:1"),
        ("5", "a.txt:2"),
    ]


def test_yolo_labels_beside_classes_txt_are_read_from_an_archive(tmp_path: Path) -> None:
    """As LabelImg writes them, and as CVAT packs them, with a list of pictures."""
    with zipfile.ZipFile(tmp_path / "labels.zip", "w") as archive:
        archive.writestr("obj_train_data/a.txt", "0 0.5 0.5 1 1\n")
        archive.writestr("obj.names", "dog\nperson\n")
        archive.writestr("train.txt", "data/obj_train_data/a.jpg\n")
    records = list(read_yolo(tmp_path / "labels.zip"))
    assert [each.key for each in of(PictureRecord, iter(records))] == ["obj_train_data/a.txt"]
    assert [each.box for each in of(BoxRecord, iter(records))] == [(0.0, 0.0, 1.0, 1.0)]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("0 0.5 0.5 0.1", "5 numbers belong here, or 6 with the confidence, not 4."),
        ("0 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2", "Outlines, keypoints and turned boxes are not taken."),
        ("dog 0.5 0.5 0.1 0.1", "'dog' is not the number of a class"),
        ("-1 0.5 0.5 0.1 0.1", "'-1' is not the number of a class"),
        ("0 1_0 0.5 0.1 0.1", "'1_0' is not a number"),
        ("0 \u0661 0.5 0.1 0.1", "'\u0661' is not a number"),
        ("0 nan 0.5 0.1 0.1", "nan is not a number that can be used here"),
        ("0 0.5 0.5 0.1 0.1 2", "a confidence is from 0 to 1, not 2"),
        ("7 0.5 0.5 0.1 0.1", "there is no category 7"),
    ],
)
def test_a_wrong_line_is_told_with_its_number(tmp_path: Path, line: str, problem: str) -> None:
    written(tmp_path / "classes.txt", "dog\n")
    written(tmp_path / "a.txt", f"0 0.5 0.5 0.1 0.1\n{line}\n")
    with open_spool() as spool:
        spool.fill(read_yolo(tmp_path))
        [told] = spool.problems(20)
        assert told.startswith("a.txt:2: ")
        assert problem in told
        assert list(spool.pages(10)) == []


@pytest.mark.parametrize("names", ["names: [1, [2]]", "names: {a: b}", "nc: 3", "[", "a: &a [*a]\nnames: *a", "- 1"])
def test_without_names_of_classes_nothing_is_read(tmp_path: Path, names: str) -> None:
    written(tmp_path / "a.txt", "0 0.5 0.5 0.1 0.1\n")
    with pytest.raises(InvalidInput, match=r"data\.yaml"):
        list(read_yolo(tmp_path))
    written(tmp_path / "data.yaml", names)
    with pytest.raises(InvalidInput, match="Nothing was written"):
        list(read_yolo(tmp_path))


def test_a_bomb_of_merges_in_yaml_stays_small(tmp_path: Path) -> None:
    lines = ["a0: &a0 {x: 1, y: 2}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 9)]
    written(tmp_path / "data.yaml", "\n".join([*lines, "names: [dog]"]))
    written(tmp_path / "a.txt", "0 0.5 0.5 0.1 0.1\n")
    assert len(of(BoxRecord, read_yolo(tmp_path))) == 1
