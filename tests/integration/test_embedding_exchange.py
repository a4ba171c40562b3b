"""Embeddings go out and come back the same, as often as one likes."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import orjson
import pytest
from pydantic import SecretStr

from schema.global_id import encode_id
from service.annotation_exchange.embeddings import export_embeddings
from service.commands.embeddings import run_export, run_forget_model, run_import
from service.embeddings import delete_embeddings
from service.settings import Settings
from service.stores.embeddings import MAX_MODELS
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
    told = [line.split(": ", 1) for line in output.err.splitlines() if line.startswith("line ")]
    assert [place for place, _ in told] == [f"line {number}" for number in (2, 3, 4, 5, 6, 7, 8, 10)]
    assert told[0][1] == "there is no such media"
    [row] = await service.runtime.database.embeddings.find({"media_id": uuid_of(known)}).to_list(None)
    assert row["model"] == model


async def test_a_folder_and_lines_of_no_media_are_told_in_words(
    service: RunningService, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(orjson.dumps({"mediaId": encode_id("Media", uuid4()), "model": "a@1", "vector": [1, 2]}))
    assert await run_import(service.settings, file, skip_unknown=True, dry_run=False, as_json=False) == 0
    assert "; 1 are of no media; " in capsys.readouterr().out
    assert await run_import(service.settings, tmp_path, skip_unknown=True, dry_run=False, as_json=False) == 1
    assert "embeddings are a file of JSON Lines: give that." in capsys.readouterr().err


async def test_a_trial_run_tells_what_a_run_would(
    service: RunningService, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first line that is taken says how many numbers vectors of a new model have; nothing is left of a trial."""
    known, new, file = f"clip-{uuid4().hex[:8]}@1", f"new-{uuid4().hex[:8]}@1", tmp_path / "embeddings.jsonl"
    first, full, *others = await embedded(service, known, 7)
    for index in range(MAX_MODELS - 1):
        given = {"idempotency_key": uuid4().hex, "model": f"m@{index}", "vector": [1.0, 2.0]}
        await embed_media(JOB, uuid_of(full), given, stores=service.runtime.stores)
    lines = [
        *({"mediaId": each, "model": new, "vector": [1.0, 1.0, 1.0]} for each in others),
        {"mediaId": first, "model": new, "vector": [1.0, 1.0]},
        {"mediaId": first, "model": known, "vector": [1.0, 1.0]},
        {"mediaId": others[0], "model": known, "vector": [0.0, 0.0, 0.0]},
        {"mediaId": others[1], "model": known, "vector": [True, False, True]},
        {"mediaId": others[2], "model": known, "vector": [1e300, 1.0, 1.0]},
        {"mediaId": others[3], "model": "no version", "vector": [1.0, 1.0, 1.0]},
        {"mediaId": full, "model": new, "vector": [1.0, 1.0, 1.0]},
    ]
    file.write_bytes(b"\n".join(map(orjson.dumps, lines)))
    database = service.runtime.database
    records = await database.idempotency.count_documents({})
    assert await run_import(service.settings, file, skip_unknown=False, dry_run=True, as_json=True) == 1
    assert await database.embedding_models.find_one({"_id": new}) is None
    assert await run_import(service.settings, file, skip_unknown=False, dry_run=False, as_json=True) == 1
    foreseen, done = [orjson.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert foreseen == done
    assert (done["written"], done["invalid"]) == (5, 7), done["problems"]
    assert await database.embeddings.count_documents({"model": new, "dimensions": 3}) == 5
    assert await database.idempotency.count_documents({}) == records, "nobody repeats a line by a key"


async def test_a_model_that_nothing_is_embedded_by_may_be_forgotten(
    service: RunningService, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where the first line of a file was cut short."""
    [known], model, file = await embedded(service, "x@1", 1), f"short-{uuid4().hex[:8]}@1", tmp_path / "a.jsonl"
    for vector in ([1.0, 2.0], [1.0, 2.0, 3.0]):
        file.write_bytes(orjson.dumps({"mediaId": known, "model": model, "vector": vector}))
        assert await run_import(service.settings, file, skip_unknown=False, dry_run=False, as_json=True) == 0
        assert await run_forget_model(service.settings, model) == 1
        assert "Media have embeddings by" in capsys.readouterr().err
        given = {"idempotency_key": uuid4().hex, "models": [model]}
        await delete_embeddings(JOB, uuid_of(known), given, stores=service.runtime.stores)
        assert await run_forget_model(service.settings, model) == 0
        assert f"{model} is forgotten; its vectors had {len(vector)} numbers." in capsys.readouterr().out
    assert await run_forget_model(service.settings, model) == 1
    assert "is known here" in capsys.readouterr().err


async def test_a_database_that_is_away_is_told_in_a_sentence(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(orjson.dumps({"mediaId": encode_id("Media", uuid4()), "model": "a@1", "vector": [1, 2]}))
    mongo = {"uri": SecretStr("mongodb://127.0.0.1:1"), "timeout_ms": 200}
    away = settings.model_copy(update={"mongo": settings.mongo.model_copy(update=mongo)})
    assert await run_import(away, file, skip_unknown=False, dry_run=False, as_json=False) == 1
    assert capsys.readouterr().err == (
        "Stopped: The database does not answer. What was written stays; run it again to go on.\n"
    )


async def test_a_failed_export_leaves_nothing(service: RunningService, tmp_path: Path) -> None:
    model = f"clip-{uuid4().hex[:8]}@1"
    await embedded(service, model, 1)

    def fail(_count: int) -> None:
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        await export_embeddings(tmp_path / "a.jsonl", model=model, stores=service.runtime.stores, on_page=fail)
    assert list(tmp_path.iterdir()) == []
