"""What an import takes in, of which media and in place of what, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest
from uuid6 import uuid7

from schema.global_id import encode_id
from service.annotation_exchange import importing
from service.annotation_exchange.identity import global_id
from service.annotation_exchange.records import Format
from service.annotation_layout import MAX_SOURCES
from service.errors import TemporarilyUnavailable
from service.object_store import ObjectStore
from service.stores.database import Database
from tests.integration.exchange_stand import HEIGHT, MODEL, WIDTH, Exchange, boxes, open_exchange


@pytest.fixture
async def exchange(connected: tuple[Database, ObjectStore], tmp_path: Path) -> Exchange:
    return await open_exchange(connected[0], tmp_path)


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


async def test_problems_are_told_in_the_order_of_the_file(exchange: Exchange) -> None:
    """Whether they are found when it is read, when its media are looked for, or when these are written to."""
    ids = await exchange.media(3)
    images = [{"file_name": "nothing.jpg"}, *({"file_name": f"{media_id}.jpg"} for media_id in [*ids, ids[2]])]
    path = exchange.coco(
        images,
        [
            {"image_id": 1, "bbox": [0, 0, WIDTH + 9, 1]},
            {"image_id": 2, "category_id": 9},
            {"image_id": 9},
            {"image_id": 2, "bbox": None},
        ],
    )
    report = await exchange.imported(path, Format.COCO)
    assert (report.written, report.unknown, report.invalid, report.stray) == (0, 3, 2, 1)
    assert [problem.split(":")[0] for problem in report.problems] == [
        *("images[0]", "images[3]", "images[4]"),
        *("annotations[0]", "annotations[1]", "annotations[2]", "annotations[3].bbox"),
    ]


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
    assert any(
        "images[0]: a media holds up to 10,000 annotations, and this picture has 10001" in each
        for each in report.problems
    )
    assert any("annotations[10001]: " in each and "label" in each for each in report.problems)
    assert [len(await exchange.said(each)) for each in (full, longwinded, fine)] == [0, 0, 1]
    assert await exchange.database.annotations.count_documents({}) == 0


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


async def test_a_trial_run_tells_what_a_run_would_be_refused_for(exchange: Exchange) -> None:
    """Labels and sources together with what others said, in the document and moved out of it."""
    many, moved, crowded, fine = await exchange.media(4)
    labels = [{"label": f"thing {index}", "confidence": 0.5} for index in range(199)]
    await exchange.say(moved, labels, source="user:anna")
    await exchange.say(fine, labels, source=MODEL)
    for index in range(MAX_SOURCES):
        await exchange.say(crowded, [{}], source=f"model:x@{index}")
    document = {
        "images": [{"id": index, "file_name": f"{each}"} for index, each in enumerate((many, moved, crowded, fine))],
        "image_labels": [
            *({"image_id": 0, "category_id": index} for index in range(201)),
            *({"image_id": place, "category_id": index} for place in (1, 3) for index in range(2)),
            {"image_id": 2, "category_id": 0},
        ],
        "categories": [{"id": index, "name": f"class {index}"} for index in range(201)],
    }
    path = exchange.folder / "a.json"
    path.write_bytes(orjson.dumps(document))
    foreseen = await exchange.imported(path, Format.COCO, dry_run=True)
    assert [len(await exchange.said(each)) for each in (many, moved, crowded, fine)] == [0, 0, 0, 199]
    done = await exchange.imported(path, Format.COCO)
    # Media are written at the same time.
    foreseen.problems.sort()
    done.problems.sort()
    assert foreseen == done
    assert (done.written, done.invalid) == (1, 3), done.problems
    assert [len(await exchange.said(each)) for each in (many, moved, crowded, fine)] == [0, 0, 0, 2]
