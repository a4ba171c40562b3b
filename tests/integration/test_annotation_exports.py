"""What an export holds, and what the commands say of it and of imports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from service.annotation_exchange.formats import writer_of
from service.annotation_exchange.identity import global_id
from service.annotation_exchange.records import Format
from service.annotation_exchange.scope import parse_scope
from service.commands.annotations import run_export, run_import
from service.errors import InvalidInput
from service.object_store import ObjectStore
from service.settings import Settings
from service.stores.database import Database
from tests.integration.exchange_stand import MODEL, Exchange, boxes, open_exchange


@pytest.fixture
async def exchange(connected: tuple[Database, ObjectStore], tmp_path: Path) -> Exchange:
    return await open_exchange(connected[0], tmp_path)


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
