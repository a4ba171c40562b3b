"""Annotations go out to other tools' files and come back the same."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from schema.global_id import encode_id
from service.annotation_exchange.records import Format
from service.object_store import ObjectStore
from service.stores.database import Database
from tests.integration.exchange_stand import HEIGHT, WIDTH, Exchange, boxes, open_exchange


@pytest.fixture
async def exchange(connected: tuple[Database, ObjectStore], tmp_path: Path) -> Exchange:
    return await open_exchange(connected[0], tmp_path)


async def withdrawn(exchange: Exchange, media_ids: Sequence[UUID]) -> None:
    for media_id in media_ids:
        await exchange.say(media_id, [])
        assert await exchange.said(media_id) == []


def in_file(box: dict[str, float] | None, *, tolerance: float) -> Any:
    return pytest.approx(box, abs=tolerance)


async def test_coco_holds_everything_and_gives_it_back(exchange: Exchange) -> None:
    """Also of a media whose annotations have moved out of its document, and of whole pictures."""
    few, many, none = await exchange.media(3)
    await exchange.say(few, [*boxes(20), {"label": "outdoors", "confidence": 0.25}, {"label": "text", "text": "Salt"}])
    await exchange.say(many, boxes(450, seed=3))
    before = {each: await exchange.said(each) for each in (few, many)}
    report = await exchange.exported(exchange.folder / "all.json", Format.COCO)
    assert (report.media, report.annotations, report.left_out) == (2, 472, 0)

    document = json.loads((exchange.folder / "all.json").read_bytes())
    assert [each["media_id"] for each in document["images"]] == [encode_id("Media", each) for each in (few, many)]
    assert {len(each["bbox"]) for each in document["annotations"]} == {4}, "what other tools count on"
    assert {each["iscrowd"] for each in document["annotations"]} == {0}
    assert len(document["annotations"]) == 470
    assert none not in {each["media_id"] for each in document["images"]}

    await withdrawn(exchange, [few, many])
    report = await exchange.imported(exchange.folder / "all.json", Format.COCO)
    assert (report.pictures, report.written, report.annotations, report.problems) == (2, 2, 472, [])
    for media_id, earlier in before.items():
        for was, now in zip(earlier, await exchange.said(media_id), strict=True):
            assert {**now, "id": 0, "created_at": 0, "bounding_box": 0} == {
                **was, "id": 0, "created_at": 0, "bounding_box": 0
            }  # fmt: skip
            assert now["bounding_box"] == in_file(was["bounding_box"], tolerance=1e-9)


async def test_voc_gives_boxes_back_within_a_pixel(exchange: Exchange) -> None:
    [media_id] = await exchange.media()
    await exchange.say(media_id, [*boxes(60), {"label": "outdoors"}])
    before = [each for each in await exchange.said(media_id) if each["bounding_box"] is not None]
    report = await exchange.exported(exchange.folder / "voc", Format.VOC)
    assert (report.media, report.annotations, report.left_out) == (1, 60, 1)
    assert [path.name for path in (exchange.folder / "voc" / "Annotations").iterdir()] == [f"{media_id}.xml"]

    await withdrawn(exchange, [media_id])
    assert (await exchange.imported(exchange.folder / "voc", Format.VOC)).problems == []
    after = {(each["label"], each["confidence"]): each for each in await exchange.said(media_id)}
    assert len(after) == len(before) == 60
    for was in before:
        now = after[was["label"], was["confidence"]]
        assert now["text"] == was["text"]
        for side, pixels in (("x", WIDTH), ("y", HEIGHT), ("width", WIDTH), ("height", HEIGHT)):
            assert was["bounding_box"] is not None
            assert now["bounding_box"] is not None
            assert now["bounding_box"][side] * pixels == pytest.approx(was["bounding_box"][side] * pixels, abs=1.001)


async def test_yolo_gives_boxes_back_to_six_digits(exchange: Exchange) -> None:
    [media_id] = await exchange.media()
    await exchange.say(media_id, [*boxes(60), {"label": "outdoors"}])
    before = [each for each in await exchange.said(media_id) if each["bounding_box"] is not None]
    archive = exchange.folder / "yolo.zip"
    report = await exchange.exported(archive, Format.YOLO, confidences=True)
    assert (report.annotations, report.left_out) == (60, 1)

    await withdrawn(exchange, [media_id])
    assert (await exchange.imported(archive, Format.YOLO)).problems == []
    after = await exchange.said(media_id)
    assert len(after) == 60
    for was, now in zip(before, after, strict=True):
        assert now["label"] == was["label"]
        assert now["confidence"] == pytest.approx(was["confidence"], abs=1e-6)
        assert now["bounding_box"] == in_file(was["bounding_box"], tolerance=2e-6)


async def test_yolo_labels_have_five_columns_for_what_trains_on_them(exchange: Exchange) -> None:
    [media_id] = await exchange.media()
    await exchange.say(media_id, boxes(3))
    await exchange.exported(exchange.folder / "yolo.zip", Format.YOLO)
    with zipfile.ZipFile(exchange.folder / "yolo.zip") as archive:
        lines = archive.read(f"labels/{media_id}.txt").decode().splitlines()
        assert sorted(archive.namelist()) == ["data.yaml", f"labels/{media_id}.txt"]
    assert [len(line.split()) for line in lines] == [5, 5, 5]


@pytest.mark.parametrize("file_format", Format)
async def test_what_was_imported_goes_out_and_comes_back_unchanged(exchange: Exchange, file_format: Format) -> None:
    """Nothing is written a second time, and the next file is the same to the byte."""
    media_ids = await exchange.media(5)
    for seed, media_id in enumerate(media_ids):
        await exchange.say(media_id, boxes(12 if seed else 120, seed=seed))
    suffix = "json" if file_format is Format.COCO else "zip"
    paths = [exchange.folder / f"{name}.{suffix}" for name in ("first", "second", "third")]
    for number, path in enumerate(paths):
        await exchange.exported(path, file_format, confidences=True)
        report = await exchange.imported(path, file_format)
        # A first time digits and pixels are rounded, and said anew.
        assert (report.written, report.unchanged) == ((5, 0) if number == 0 else (0, 5))
        moments = [await exchange.said(media_id) for media_id in media_ids]
    assert moments == [await exchange.said(media_id) for media_id in media_ids]
    assert paths[1].read_bytes() == paths[2].read_bytes()
