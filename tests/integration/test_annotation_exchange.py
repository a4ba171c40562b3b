"""Annotations go out to other tools' files and come back the same; who is who, what is refused, what an end costs."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4, uuid5

import orjson
import pytest
from uuid6 import uuid7

from schema.global_id import encode_id
from service.annotation_exchange import importing
from service.annotation_exchange.exporting import ExportReport, export_annotations
from service.annotation_exchange.formats import reader_of, writer_of
from service.annotation_exchange.identity import global_id
from service.annotation_exchange.importing import ImportOptions, ImportReport, import_annotations
from service.annotation_exchange.records import Format
from service.annotation_exchange.scope import parse_scope
from service.annotation_reads import PLACE_FIELDS, moved_page
from service.annotation_writes import replace_annotations
from service.commands.annotations import run_export, run_import
from service.documents import AnnotationDocument
from service.errors import InvalidInput, TemporarilyUnavailable
from service.object_store import ObjectStore
from service.settings import Settings
from service.stores import Stores, bind_stores
from service.stores.annotation_rows import Wanted
from service.stores.database import Database
from tests.documents import ready_media

MODEL = "model:detector@1"
WIDTH, HEIGHT = 1237, 811


@dataclass
class Exchange:
    database: Database
    stores: Stores
    folder: Path

    async def media(self, count: int = 1, **changed: Any) -> list[UUID]:
        """READY media with nothing said of them, oldest first."""
        content = {"type": "image/jpeg", "bytes": 1, "sha256": uuid4().hex * 2, "width": WIDTH, "height": HEIGHT}
        documents = [
            {**ready_media(content=content | changed.pop("content", {}), **changed), "annotations": []}
            for _ in range(count)
        ]
        await self.database.media.insert_many(documents)
        return [document["_id"] for document in documents]

    async def say(self, media_id: UUID, annotations: Sequence[dict[str, Any]], *, source: str = MODEL) -> None:
        documents = [
            AnnotationDocument(
                id=uuid5(media_id, f"{source}{index}"),
                label=each.get("label", "cat"),
                confidence=each.get("confidence", 1.0),
                bounding_box=each.get("box"),
                text=each.get("text"),
                source=source,
            )
            for index, each in enumerate(annotations)
        ]
        assert await replace_annotations(media_id, source.__eq__, documents, stores=self.stores)

    async def said(self, media_id: UUID, *, source: str = MODEL) -> list[AnnotationDocument]:
        media = await self.stores.media.get(media_id, fields=PLACE_FIELDS)
        assert media is not None
        found = await moved_page(media, Wanted(source=source), after=None, limit=10_000, stores=self.stores)
        return sorted(found, key=lambda each: (each["label"], each["confidence"], str(each["bounding_box"])))

    async def exported(self, path: Path, file_format: Format, *where: str, confidences: bool = False) -> ExportReport:
        with writer_of(file_format, path, confidences=confidences) as writer:
            return await export_annotations(
                parse_scope(where), writer, database=self.database, stores=self.stores, on_page=lambda _: None
            )

    async def imported(self, path: Path, file_format: Format, **options: Any) -> ImportReport:
        described_by = options.pop("described_by", None)
        whole = ImportOptions(**{"source": MODEL, "fractions": file_format is Format.YOLO, **options})
        reader = reader_of(file_format, path, described_by=described_by)
        return await import_annotations(
            reader, whole, stores=self.stores, on_read=lambda _: None, on_page=lambda _: None
        )

    def coco(self, images: Sequence[dict[str, Any]], boxes: Sequence[dict[str, Any]] = ()) -> Path:
        """A COCO file of these images with their indexes as ids; each box is a cat in the first unless it says else."""
        document = {
            "images": [{"id": index, "file_name": "", **each} for index, each in enumerate(images)],
            "annotations": [{"image_id": 0, "category_id": 1, "bbox": [10, 10, 20, 20], **each} for each in boxes],
            "categories": [{"id": 1, "name": "cat"}],
        }
        path = self.folder / f"{uuid4().hex}.json"
        path.write_text(json.dumps(document))
        return path


@pytest.fixture
async def exchange(connected: tuple[Database, ObjectStore], tmp_path: Path) -> Exchange:
    """No media at all."""
    database, _ = connected
    for collection in (database.media, database.annotations, database.annotation_rounds):
        await collection.delete_many({})
    return Exchange(database, bind_stores(database), tmp_path)


def boxes(count: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Boxes all over the picture, with confidences and labels, a tenth of them with text."""
    return [
        {
            "label": f"thing {(index + seed) % 7} & <co>",
            "confidence": ((index * 37 + seed) % 101) / 101,
            "box": {
                "x": (index * 13 % 90) / 101,
                "y": (index * 7 % 80) / 97,
                "width": (index % 9 + 1) / 103,
                "height": (index % 11 + 1) / 107,
            },
            "text": f"was auch immer „{index}“ <&>" if index % 10 == 0 else None,
        }
        for index in range(count)
    ]


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


async def test_a_file_takes_the_place_of_what_its_source_said_and_of_nothing_else(exchange: Exchange) -> None:
    named, left = await exchange.media(2)
    for media_id in (named, left):
        await exchange.say(media_id, boxes(2))
        await exchange.say(media_id, boxes(3), source="user:anna")
        await exchange.say(media_id, boxes(4), source="model:detector@2")
    report = await exchange.imported(exchange.coco([{"file_name": f"{named}.jpg"}], [{"score": 0.5}]), Format.COCO)
    assert report.written == 1
    [annotation] = await exchange.said(named)
    assert (annotation["label"], annotation["confidence"]) == ("cat", 0.5)
    assert len(await exchange.said(left)) == 2
    for source, count in (("user:anna", 3), ("model:detector@2", 4)):
        assert len(await exchange.said(named, source=source)) == count
    media = await exchange.database.media.find_one({"_id": named})
    assert media["annotation_count"] == 8
    assert {"label": "cat", "step": 5, "confidence": 0.5} in media["labels"]
    # A picture without boxes says that there is nothing.
    await exchange.imported(exchange.coco([{"media_id": global_id(named)}]), Format.COCO)
    assert await exchange.said(named) == []


async def test_a_run_that_breaks_off_is_gone_on_with(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    media_ids = await exchange.media(20)
    path = exchange.coco(
        [{"file_name": f"{each}.jpg"} for each in media_ids],
        [{"image_id": index, "bbox": [index, 1, 5, 5]} for index in range(20) for _ in range(2)],
    )
    whole, calls = importing.replace_annotations, 0

    async def breaking(*arguments: Any, **named: Any) -> bool:
        nonlocal calls
        calls += 1
        if calls > 9:
            raise TemporarilyUnavailable("The database went away.")
        return await whole(*arguments, **named)

    monkeypatch.setattr(importing, "replace_annotations", breaking)
    with pytest.raises(TemporarilyUnavailable):
        await exchange.imported(path, Format.COCO)
    assert sorted([len(await exchange.said(each)) for each in media_ids]) == [0] * 11 + [2] * 9
    monkeypatch.undo()
    report = await exchange.imported(path, Format.COCO)
    assert (report.written, report.unchanged) == (11, 9)
    assert [len(await exchange.said(each)) for each in media_ids] == [2] * 20
    assert await exchange.database.annotations.count_documents({}) == 0


async def test_a_trial_run_finds_out_and_writes_nothing(exchange: Exchange) -> None:
    [media_id] = await exchange.media()
    path = exchange.coco([{"file_name": f"{media_id}.jpg"}, {"file_name": "x.jpg"}], [{}])
    before = await exchange.database.media.find_one({"_id": media_id})
    report = await exchange.imported(path, Format.COCO, dry_run=True)
    assert (report.written, report.annotations, report.unknown) == (1, 1, 1)
    assert await exchange.database.media.find_one({"_id": media_id}) == before


@pytest.mark.parametrize(
    "image",
    [
        {"media_id": "{global_id}"},
        {"file_name": "{global_id}.jpg"},
        {"file_name": "pictures/{id}.png"},
        {"file_name": "{id}_jpg.rf.0f3a.jpg"},
        {"coco_url": "https://cdn.example/community/processed/full/{id}/3b1c.jpg?Expires=1"},
        {"sha256": "{sha256}"},
        {"file_name": "{sha256}.jpg"},
    ],
)
async def test_a_picture_is_known_by_what_names_it(exchange: Exchange, image: dict[str, str]) -> None:
    sha256 = uuid4().hex * 2
    [media_id] = await exchange.media(content={"sha256": sha256})
    names = {"global_id": encode_id("Media", media_id), "id": str(media_id), "sha256": sha256}
    path = exchange.coco([{key: value.format(**names) for key, value in image.items()}], [{}])
    report = await exchange.imported(path, Format.COCO, owner_id="anna")
    assert report.problems == []
    assert len(await exchange.said(media_id)) == 1


async def test_what_is_no_media_or_not_one_is_told_and_left_alone(exchange: Exchange) -> None:
    sha256 = uuid4().hex * 2
    first, second, of_others = [
        (await exchange.media(content={"sha256": sha256}, owner_id=owner))[0] for owner in ("anna", "anna", "ben")
    ]
    [processing] = await exchange.media(status="PROCESSING")
    [deleted] = await exchange.media(status="DELETED")
    nobody = uuid7()
    path = exchange.coco(
        [
            {"file_name": "000000289343.jpg"},
            {"file_name": f"{nobody}.jpg"},
            {"media_id": "TWVkaWE6"},
            {"media_id": global_id(nobody), "file_name": f"{first}.jpg"},
            {"file_name": f"{first}-or.jpg", "coco_url": f"https://x.example/{second}.jpg"},
            {"sha256": sha256},
            {"file_name": f"{of_others}.jpg"},
            {"file_name": f"{processing}.jpg"},
            {"file_name": f"{deleted}.jpg"},
        ],
        [{"image_id": index} for index in range(9)],
    )
    report = await exchange.imported(path, Format.COCO, owner_id="anna")
    assert (report.unknown, report.written, report.invalid) == (9, 0, 0)
    for index, reason in enumerate(
        [
            "'000000289343.jpg' is no media of this owner",
            f"'{nobody}.jpg' is no media of this owner",
            "'TWVkaWE6' is no media of this owner",
            f"'{global_id(nobody)}' is no media of this owner",
            f"'{first}-or.jpg' may be 2 media",
            f"'{sha256}' may be 2 media",
            f"'{of_others}.jpg' is no media of this owner",
            f"'{processing}.jpg' is a media that is PROCESSING, not READY",
            f"'{deleted}.jpg' is no media of this owner",
        ]
    ):
        assert f"images[{index}]: {reason}" in report.problems
    report = await exchange.imported(exchange.coco([{"sha256": sha256}], [{}]), Format.COCO)
    assert report.problems == [f"images[0]: '{sha256}' names a content only; say whose with --owner"]
    for media_id in (first, second, of_others, processing):
        assert await exchange.said(media_id) == []


async def test_pictures_that_are_the_same_media_are_not_mixed(exchange: Exchange) -> None:
    twice, once = await exchange.media(2)
    path = exchange.coco(
        [{"file_name": f"train/{twice}.jpg"}, {"file_name": f"{once}.jpg"}, {"media_id": global_id(twice)}],
        [{"image_id": index} for index in range(3)],
    )
    report = await exchange.imported(path, Format.COCO)
    assert (report.written, report.unknown) == (1, 2)
    assert f"images[2]: another picture of the file is media {twice} too" in report.problems
    assert (len(await exchange.said(twice)), len(await exchange.said(once))) == (0, 1)


@pytest.mark.parametrize(
    ("image", "box", "expected"),
    [
        # The file states no size, or the media's, or that of a picture scaled down.
        ({}, [0, 0, WIDTH, HEIGHT], (0, 0, 1, 1)),
        ({"width": WIDTH, "height": HEIGHT}, [WIDTH / 2, 0, WIDTH / 4, HEIGHT], (0.5, 0, 0.25, 1)),
        ({"width": 640, "height": 420}, [320, 210, 160, 105], (0.5, 0.5, 0.25, 0.25)),
        # Up to a pixel outside: by rounding, or by counting from 0 where 1 is the first.
        ({}, [-1, -0.5, 11, 10.5], (0, 0, 10 / WIDTH, 10 / HEIGHT)),
        ({}, [WIDTH - 10, 0, 11, HEIGHT + 1], (1 - 10 / WIDTH, 0, 10 / WIDTH, 1)),
        ({}, [-1.5, 0, 10, 10], "annotations[0]: the box reaches more than a pixel outside the picture"),
        ({}, [0, 0, 10, HEIGHT + 1.5], "annotations[0]: the box reaches more than a pixel outside the picture"),
        ({}, [5, 5, 0, 10], "annotations[0]: the box is empty"),
        ({}, [5, 5, 10, -10], "annotations[0]: the box is empty"),
        ({}, [-1, 5, 1, 10], "annotations[0]: the box is empty"),
        (
            {"width": HEIGHT, "height": WIDTH},
            [0, 0, 1, 1],
            f"images[0]: the file says {HEIGHT} x {WIDTH} pixels, the media has {WIDTH} x {HEIGHT}. It seems",
        ),
        (
            {"width": 640, "height": 640},
            [0, 0, 1, 1],
            f"images[0]: the file says 640 x 640 pixels, the media has {WIDTH} x {HEIGHT}.",
        ),
        ({"width": -640, "height": -420}, [0, 0, 1, 1], "images[0]: the file says -640 x -420 pixels, the media has"),
    ],
)
async def test_boxes_are_of_the_upright_picture(
    exchange: Exchange, image: dict[str, Any], box: list[float], expected: tuple[float, ...] | str
) -> None:
    [media_id] = await exchange.media()
    await exchange.say(media_id, boxes(1))
    before = await exchange.said(media_id)
    path = exchange.coco([{"file_name": f"{media_id}.jpg", **image}], [{"bbox": box}, {}])
    report = await exchange.imported(path, Format.COCO)
    after = await exchange.said(media_id)
    if isinstance(expected, str):
        [problem] = report.problems
        assert problem.startswith(expected)
        assert after == before, "nothing half written"
        assert report.invalid == 1
    else:
        written = [each["bounding_box"] for each in after if each["bounding_box"]]
        assert list(expected) == pytest.approx(list(written[0].values()), abs=1e-8) or list(expected) == pytest.approx(
            list(written[1].values()), abs=1e-8
        )


async def test_what_a_media_cannot_hold_is_told(exchange: Exchange) -> None:
    """Too many annotations, too long a label: of this media nothing is taken, of the others all."""
    full, longwinded, fine = await exchange.media(3)
    document = {
        "images": [{"id": index, "file_name": f"{each}"} for index, each in enumerate((full, longwinded, fine))],
        "annotations": [
            *({"image_id": 0, "category_id": 0, "bbox": [0, 0, 1 + index / 20_000, 1]} for index in range(10_001)),
            {"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]},
            {"image_id": 2, "category_id": 0, "bbox": [0, 0, 1, 1]},
        ],
        "categories": [{"id": 0, "name": "cat"}, {"id": 1, "name": "c" * 201}],
    }
    path = exchange.folder / "a.json"
    path.write_bytes(orjson.dumps(document))
    report = await exchange.imported(path, Format.COCO)
    assert (report.written, report.invalid) == (1, 2)
    assert any("images[0]: a media holds up to 10,000 annotations, and this picture has 10001" in each for each in report.problems)
    assert any("annotations[10001]: " in each and "label" in each for each in report.problems)
    assert [len(await exchange.said(each)) for each in (full, longwinded, fine)] == [0, 0, 1]
    assert await exchange.database.annotations.count_documents({}) == 0


async def test_an_export_holds_what_is_asked_for(exchange: Exchange) -> None:
    mine, other = (await exchange.media(owner_id="anna"))[0], (await exchange.media(owner_id="ben"))[0]
    [deleted] = await exchange.media(status="DELETED")
    said = [
        {"label": "cat", "confidence": 0.9},
        {"label": "cat", "confidence": 0.4},
        {"label": "dog", "confidence": 0.8},
        {"label": "near-duplicate", "confidence": 0.9, "text": str(mine)},
    ]
    for media_id in (mine, other):
        await exchange.say(media_id, said)
        await exchange.say(media_id, [{"label": "cat"}], source="user:anna")
    await exchange.database.media.update_one({"_id": deleted}, {"$set": {"annotations": [{"label": "cat"}]}})
    # As an earlier release left it.
    await exchange.database.media.update_one({"_id": other}, {"$unset": {"labels": ""}})

    async def counted(*where: str) -> tuple[int, int]:
        path = exchange.folder / "a.json"
        report = await exchange.exported(path, Format.COCO, *where)
        document = json.loads(path.read_bytes())
        assert (len(document["images"]), len(document["image_labels"])) == (report.media, report.annotations)
        return report.media, report.annotations

    assert await counted() == (2, 8)
    assert await counted("owner_id=anna") == (1, 4)
    assert await counted("label=cat") == (2, 6)
    assert await counted("label=cat", "label = dog", "source=model:detector@1") == (2, 6)
    assert await counted("label=cat", "confidence>=0.5") == (2, 4)
    assert await counted("source=user:anna", "owner_id=ben", "purpose=COMMUNITY") == (1, 1)
    assert await counted("label=near-duplicate") == (2, 2), "only where it is asked for: it names another media"
    assert await counted("label=bird") == (0, 0)
    for clause in ("label!=cat", "confidence>=2", "confidence>=nan", "confidence=0.5", "colour=red"):
        with pytest.raises(InvalidInput):
            parse_scope([clause])


async def test_windows_of_an_export_lose_nothing(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows and pages of a few documents, with annotated media at their borders and none for long."""
    monkeypatch.setattr("service.stores.annotated_media._WINDOW", 5)
    monkeypatch.setattr("service.stores.annotated_media._PAGE", 2)
    media_ids = await exchange.media(31)
    annotated = [media_ids[index] for index in (0, 1, 4, 5, 6, 7, 8, 9, 10, 24, 30)]
    for media_id in annotated:
        await exchange.say(media_id, [{}])
    await exchange.exported(exchange.folder / "a.json", Format.COCO)
    document = json.loads((exchange.folder / "a.json").read_bytes())
    assert [each["media_id"] for each in document["images"]] == [global_id(each) for each in annotated]


async def test_an_export_is_there_once_it_is_complete(exchange: Exchange) -> None:
    [media_id] = await exchange.media()
    await exchange.say(media_id, boxes(1))
    occupied, file, folder = exchange.folder / "occupied", exchange.folder / "a.json", exchange.folder / "voc"
    occupied.mkdir()
    (occupied / "mine.txt").write_text("mine")
    file.write_text("earlier")
    with pytest.raises(InvalidInput, match="is there already"):
        await exchange.exported(occupied, Format.VOC)
    with pytest.raises(InvalidInput, match="is a folder"):
        await exchange.exported(occupied, Format.COCO)
    with pytest.raises(InvalidInput, match="There is no folder"):
        await exchange.exported(exchange.folder / "no" / "a.zip", Format.YOLO)
    for file_format, path in ((Format.COCO, file), (Format.VOC, folder), (Format.YOLO, exchange.folder / "a.zip")):
        with pytest.raises(RuntimeError), writer_of(file_format, path, confidences=False):
            raise RuntimeError("killed")
    assert file.read_text() == "earlier"
    assert sorted(path.name for path in exchange.folder.iterdir()) == ["a.json", "occupied"]
    await exchange.exported(file, Format.COCO)
    await exchange.exported(folder, Format.VOC)
    assert json.loads(file.read_bytes())["images"]
    assert sorted(path.name for path in exchange.folder.iterdir()) == ["a.json", "occupied", "voc"]


async def test_the_commands_say_what_came_of_it(
    exchange: Exchange, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    async def importing_of(path: Path, source: str = MODEL, **options: Any) -> int:
        named = {"owner_id": None, "described_by": None, "skip_unknown": False, "dry_run": False, "as_json": False}
        return await run_import(settings, path, Format.COCO, source=source, **{**named, **options})

    [media_id] = await exchange.media()
    path = exchange.coco([{"file_name": f"{media_id}.jpg"}, {"file_name": "\x1b[31mred.jpg"}], [{"score": 0.5}])
    assert await importing_of(path, skip_unknown=True, as_json=True) == 0
    assert json.loads(capsys.readouterr().out) | {"problems": 0} == {
        "pictures": 2, "done": 2, "written": 1, "unchanged": 0, "annotations": 1, "unknown": 1, "invalid": 0,
        "stray": 0, "left_out": 0, "problems": 0,
    }  # fmt: skip
    assert await importing_of(path) == 1
    out, err = capsys.readouterr()
    assert out == (
        "2 pictures; 0 media written with 0 annotations; 1 said the same already; 1 are no media or not one; "
        "0 not taken for what the file says of them.\n"
    )
    assert "images[1]: " in err
    assert "\x1b" not in err, "names in files do not steer the terminal"

    assert await importing_of(path, source="detector") == 1
    assert "'detector' is no source" in capsys.readouterr().err
    stray = exchange.coco([{"file_name": f"{media_id}.jpg"}], [{"score": 0.5}, {"image_id": 7}])
    assert await importing_of(stray, skip_unknown=True) == 1
    out, err = capsys.readouterr()
    assert "; 1 records of no picture in the file." in out
    assert "annotations[1]: there is no picture 7" in err
    path.write_text("{")
    assert await importing_of(path, skip_unknown=True) == 1
    assert "is not JSON that can be read" in capsys.readouterr().err

    exported = exchange.folder / "out.json"
    run = await run_export(settings, exported, Format.COCO, where=[], confidences=False, as_json=False)
    assert run == 0
    assert capsys.readouterr().out == f"1 annotations of 1 media are in {exported}.\n"
    run = await run_export(settings, exported, Format.COCO, where=["x"], confidences=False, as_json=False)
    assert run == 1
    assert "is not understood" in capsys.readouterr().err
