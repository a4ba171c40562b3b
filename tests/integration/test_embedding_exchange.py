"""Embeddings go out and come back the same, as often as one likes."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import orjson
import pytest

from schema.global_id import encode_id
from service.annotation_exchange.embeddings import export_embeddings
from service.commands.embeddings import run_export, run_import
from tests.documents import ready_media
from tests.integration.conftest import RunningService
from tests.integration.mutation_scenarios import uuid_of
from tests.integration.test_embeddings import JOB, embed_media


async def embedded(service: RunningService, model: str, count: int) -> list[str]:
    """So many media, each with an embedding of its own."""
    media = [ready_media() for _ in range(count)]
    await service.runtime.database.media.insert_many(media)
    for place, each in enumerate(media):
        given = {"idempotency_key": uuid4().hex, "model": model, "vector": [0.1 + place, 1.0, -2.5]}
        await embed_media(JOB, each["_id"], given, stores=service.runtime.stores)
    return [encode_id("Media", each["_id"]) for each in media]


async def test_out_and_in_again_is_the_same(
    service: RunningService, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, file = f"clip-{uuid4().hex[:8]}@1", tmp_path / "embeddings.jsonl"
    ids = await embedded(service, model, 5)
    collection = service.runtime.database.embeddings
    before = {row["_id"]: row["vector"] async for row in collection.find({"model": model})}
    assert await run_export(service.settings, file, model=model, as_json=False) == 0
    lines = [orjson.loads(line) for line in file.read_bytes().splitlines()]
    assert {line["mediaId"] for line in lines} == set(ids)
    assert all(line.keys() == {"mediaId", "model", "dimensions", "vector", "createdAt"} for line in lines)

    await collection.delete_many({"media_id": {"$in": [uuid_of(each) for each in ids[:3]]}})
    capsys.readouterr()
    for expected in ({"written": 3, "unchanged": 2}, {"written": 0, "unchanged": 5}):
        assert await run_import(service.settings, file, skip_unknown=False, dry_run=True, as_json=True) == 0
        assert await run_import(service.settings, file, skip_unknown=False, dry_run=False, as_json=True) == 0
        foreseen, done = [orjson.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert foreseen == done
        assert {name: done[name] for name in expected} == expected
    assert {row["_id"]: row["vector"] async for row in collection.find({"model": model})} == before


async def test_what_cannot_be_taken_is_said_and_the_rest_is_taken(
    service: RunningService, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, file = f"clip-{uuid4().hex[:8]}@1", tmp_path / "embeddings.jsonl"
    [known] = await embedded(service, model, 1)
    gone = encode_id("Media", ready_media(status="DELETED")["_id"])
    lines = [
        {"mediaId": known, "model": model, "vector": [9.0, 9.0, 9.0]},
        {"mediaId": gone, "model": model, "vector": [1.0, 1.0, 1.0]},
        {"mediaId": known, "model": "no-version", "vector": [1.0, 1.0, 1.0]},
        {"mediaId": known, "model": f"{model}1", "dimensions": 4, "vector": [1.0, 1.0, 1.0]},
        {"mediaId": known, "model": f"{model}2", "vector": ["1", 1.0, 1.0]},
        {"mediaId": "rubbish", "model": model, "vector": [1.0, 1.0, 1.0]},
    ]
    text = b"\n".join([*map(orjson.dumps, lines), b'{"mediaId": "x", "vector": [NaN]}', b"[1, 2]", b"", b"x" * 300_000])
    file.write_bytes(text)
    assert await run_import(service.settings, file, skip_unknown=True, dry_run=False, as_json=True) == 1
    output = capsys.readouterr()
    report = orjson.loads(output.out)
    assert (report["written"], report["unknown"]) == (1, 1)
    for number in (2, 3, 4, 5, 6, 7, 8, 10):
        assert f"line {number}: " in output.err
    [row] = await service.runtime.database.embeddings.find({"media_id": uuid_of(known)}).to_list(None)
    assert row["model"] == model


async def test_a_failed_export_leaves_nothing(service: RunningService, tmp_path: Path) -> None:
    model = f"clip-{uuid4().hex[:8]}@1"
    await embedded(service, model, 1)

    def fail(_count: int) -> None:
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        await export_embeddings(tmp_path / "a.jsonl", model=model, stores=service.runtime.stores, on_page=fail)
    assert list(tmp_path.iterdir()) == []
