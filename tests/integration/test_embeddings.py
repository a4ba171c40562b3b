"""Embeddings: who may write and see them, each request once, and never a vector without its media."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from schema.global_id import encode_id
from service.access import Viewer
from service.embeddings import delete_embeddings, embed_media, settle_due
from service.errors import StateConflict
from service.lifecycle import MediaStatus
from service.models import JobKind
from service.stores.embeddings import MAX_MODELS, EmbeddingStore, unpacked
from tests.documents import ready_media
from tests.integration.conftest import RunningService
from tests.integration.jobs_by_hand import run_job
from tests.integration.mutation_scenarios import uuid_of

EMBED = """mutation ($input: EmbedMediaInput!) {
  embedMedia(input: $input) {
    media { id } embedding { model dimensions createdAt vector } userErrors { code message field retryable }
  }
}"""
REMOVE = """mutation ($input: DeleteEmbeddingsInput!) {
  deleteEmbeddings(input: $input) { media { id } deletedModels userErrors { code message field } }
}"""
SEEN = """query ($id: ID!, $models: [String!]) {
  media(id: $id) { embeddings(models: $models) { model dimensions createdAt vector } }
}"""
JOB = Viewer("job", frozenset({"service"}))


@pytest.fixture
async def model(service: RunningService) -> str:
    """A model of three dimensions that a job has introduced."""
    name = f"clip-{uuid4().hex[:8]}@1"
    await service.runtime.stores.embeddings.introduce(name, 3)
    return name


async def stored(service: RunningService, **changed: Any) -> str:
    document = ready_media(**changed)
    await service.runtime.database.media.insert_one(document)
    return encode_id("Media", document["_id"])


def asked(media_id: str, model: str, vector: list[float], key: str | None = None) -> dict[str, Any]:
    return {"idempotencyKey": key or uuid4().hex, "mediaId": media_id, "model": model, "vector": vector}


async def embed(
    service: RunningService, given: dict[str, Any], *, who: str = "anna", roles: tuple[str, ...] = ()
) -> Any:
    return (await service.client(who, roles=roles).run(EMBED, input=given))["embedMedia"]


async def rows(service: RunningService, media_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = await service.runtime.database.embeddings.find(
        {"media_id": uuid_of(media_id)}
    ).to_list(None)
    return found


async def reread(service: RunningService, media_id: str) -> dict[str, Any]:
    media: dict[str, Any] | None = await service.runtime.database.media.find_one({"_id": uuid_of(media_id)})
    assert media is not None
    return media


async def test_owner_embeds_replaces_and_removes(service: RunningService, model: str) -> None:
    media_id = await stored(service)
    first = await embed(service, asked(media_id, model, [1.0, 2.0, 0.1]))
    assert first["userErrors"] == []
    assert first["embedding"]["vector"] == pytest.approx([1.0, 2.0, 0.1])
    # Kept as 32-bit floats, beside the media and not in it, and nothing is left to be done.
    [row] = await rows(service, media_id)
    assert unpacked(row["vector"])[2] == 0.10000000149011612
    assert (row["owner_id"], row["status"], row["visibility"]) == ("anna", "READY", "PUBLIC")
    media = await reread(service, media_id)
    assert "embeddings_due_at" not in media
    assert media["updated_at"] == ready_media()["updated_at"]

    await embed(service, asked(media_id, model, [0.0, 0.0, 5.0]))
    anna, bob = service.client("anna"), service.client("bob")
    [seen] = (await anna.run(SEEN, id=media_id))["media"]["embeddings"]
    assert (seen["model"], seen["dimensions"], seen["vector"]) == (model, 3, [0.0, 0.0, 5.0])
    assert seen["createdAt"] > first["embedding"]["createdAt"]
    [public] = (await bob.run(SEEN, id=media_id))["media"]["embeddings"]
    assert (public["model"], public["vector"]) == (model, None)
    assert (await anna.run(SEEN, id=media_id, models=["other@1"]))["media"]["embeddings"] == []

    gone = {"idempotencyKey": uuid4().hex, "mediaId": media_id, "models": [model, "other@1"]}
    payload = (await anna.run(REMOVE, input=gone))["deleteEmbeddings"]
    assert payload == {"media": {"id": media_id}, "deletedModels": [model], "userErrors": []}
    assert (await anna.run(SEEN, id=media_id))["media"]["embeddings"] == []
    [row] = await rows(service, media_id)
    assert row.keys() == {"_id", "media_id", "last_change"}


async def test_late_repeats_undo_nothing_newer(service: RunningService, model: str) -> None:
    media_id = await stored(service)
    early = asked(media_id, model, [1.0, 0.0, 0.0])
    removal = {"idempotencyKey": uuid4().hex, "mediaId": media_id, "models": [model]}
    anna = service.client("anna")
    await embed(service, early)
    await embed(service, asked(media_id, model, [0.0, 1.0, 0.0]))
    await embed(service, early)
    [row] = await rows(service, media_id)
    assert unpacked(row["vector"]) == [0.0, 1.0, 0.0]
    await anna.run(REMOVE, input=removal)
    await embed(service, early)
    assert "vector" not in (await rows(service, media_id))[0]
    await embed(service, asked(media_id, model, [0.0, 0.0, 1.0]))
    repeated = (await anna.run(REMOVE, input=removal))["deleteEmbeddings"]
    assert repeated["deletedModels"] == [model]
    [row] = await rows(service, media_id)
    assert unpacked(row["vector"]) == [0.0, 0.0, 1.0]


async def test_writers_at_once_leave_one_whole_embedding(service: RunningService, model: str) -> None:
    media_id = await stored(service)
    stores = service.runtime.stores
    vectors = [[float(index), 1.0, 2.0] for index in range(12)]
    await asyncio.gather(
        *(
            embed_media(
                Viewer("anna"),
                uuid_of(media_id),
                {"idempotency_key": f"{media_id}{index % 6}", "model": model, "vector": vectors[index % 6]},
                stores=stores,
            )
            for index in range(12)
        )
    )
    [row] = await rows(service, media_id)
    assert unpacked(row["vector"]) in vectors


async def test_first_vector_decides_how_many_numbers_the_others_have(service: RunningService) -> None:
    model, media_id = f"new-{uuid4().hex[:8]}@1", await stored(service)
    refused = await embed(service, asked(media_id, model, [1.0, 2.0]))
    assert [(error["code"], error["field"]) for error in refused["userErrors"]] == [("NOT_PERMITTED", ["model"])]
    assert await service.runtime.database.embedding_models.find_one({"_id": model}) is None

    async def introduce(dimensions: int) -> list[str]:
        media = await stored(service, owner_id=f"owner-{dimensions}")
        given = asked(media, model, [1.0] * dimensions)
        payload = await embed(service, given, who="job", roles=("service",))
        return [error["code"] for error in payload["userErrors"]]

    outcomes = await asyncio.gather(*(introduce(2 + index % 4) for index in range(8)))
    [known] = await service.runtime.database.embedding_models.find({"_id": model}).to_list(None)
    assert sum(outcome == [] for outcome in outcomes) == 2
    assert {
        row["dimensions"] for row in await service.runtime.database.embeddings.find({"model": model}).to_list(None)
    } == {known["dimensions"]}
    assert all(outcome in ([], ["INVALID_INPUT"]) for outcome in outcomes)
    # Now that it is known, owners may use it.
    payload = await embed(service, asked(media_id, model, [1.0] * known["dimensions"]))
    assert payload["userErrors"] == []


@pytest.mark.parametrize(
    ("vector", "field"),
    [
        ([1.0], ["vector"]),
        ([1.0] * 4_097, ["vector"]),
        ([0.0, -0.0, 0.0], ["vector"]),
        ([1e-60, 0.0, 0.0], ["vector"]),
        ([1e39, 0.0, 0.0], ["vector"]),
        ([1.0, 2.0], ["vector"]),
    ],
)
async def test_unusable_vectors_are_refused_and_nothing_is_written(
    service: RunningService, model: str, vector: list[float], field: list[str]
) -> None:
    media_id = await stored(service)
    before = await reread(service, media_id)
    payload = await embed(service, asked(media_id, model, vector))
    assert [(error["code"], error["field"]) for error in payload["userErrors"]] == [("INVALID_INPUT", field)]
    assert await rows(service, media_id) == []
    assert await reread(service, media_id) == before


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
async def test_what_is_no_number_is_refused_below_graphql_too(
    service: RunningService, model: str, number: float
) -> None:
    media_id = await stored(service)
    given = {"idempotency_key": uuid4().hex, "model": model, "vector": [number, 1.0, 1.0]}
    with pytest.raises(Exception, match="vector"):
        await embed_media(Viewer("anna"), uuid_of(media_id), given, stores=service.runtime.stores)
    assert await rows(service, media_id) == []


@pytest.mark.parametrize("name", ["clip", "clip@", "@1", "a b@1", "clip@1 ", "x" * 200 + "@1"])
async def test_a_model_needs_a_name_and_a_version(service: RunningService, name: str) -> None:
    media_id = await stored(service)
    payload = await embed(service, asked(media_id, name, [1.0, 2.0, 3.0]), who="job", roles=("service",))
    assert [error["field"] for error in payload["userErrors"]] == [["model"]]
    assert await service.runtime.database.embedding_models.find_one({"_id": name}) is None


async def test_only_so_many_models_embed_one_media(service: RunningService) -> None:
    media_id, stores = uuid_of(await stored(service)), service.runtime.stores

    async def write(index: int) -> str | None:
        given = {"idempotency_key": uuid4().hex, "model": f"many-{index}@{media_id}", "vector": [1.0, 2.0, 3.0]}
        try:
            await embed_media(JOB, media_id, given, stores=stores)
        except StateConflict:
            return None
        return given["model"]

    models = [each for each in await asyncio.gather(*map(write, range(MAX_MODELS + 5))) if each is not None]
    assert len(models) == MAX_MODELS
    assert sorted(row["model"] for row in await rows(service, encode_id("Media", media_id))) == sorted(models)
    # Those that are there may be replaced, and one that goes makes room.
    known = models[0].removeprefix("many-").partition("@")[0]
    assert await write(int(known)) == models[0]
    removal = {"idempotency_key": uuid4().hex, "models": [models[0]]}
    await delete_embeddings(JOB, media_id, removal, stores=stores)
    assert await write(99) is not None
    assert await write(int(known)) is None


@pytest.mark.parametrize(
    ("who", "roles", "visibility", "code"),
    [
        ("bob", (), "PUBLIC", "NOT_PERMITTED"),
        ("bob", (), "PRIVATE", "NOT_FOUND"),
        (None, (), "PUBLIC", "NOT_PERMITTED"),
        ("anna", (), "PRIVATE", None),
        ("mod", ("moderator",), "PRIVATE", None),
        ("job", ("service",), "PRIVATE", None),
    ],
)
async def test_who_may_write(
    service: RunningService, model: str, who: str | None, roles: tuple[str, ...], visibility: str, code: str | None
) -> None:
    media_id = await stored(service, visibility=visibility)
    client = service.client(who, roles=roles)
    payload = (await client.run(EMBED, input=asked(media_id, model, [1.0, 2.0, 3.0])))["embedMedia"]
    assert [error["code"] for error in payload["userErrors"]] == ([] if code is None else [code])
    assert len(await rows(service, media_id)) == (code is None)
    if code is not None:
        await embed(service, asked(media_id, model, [1.0, 2.0, 3.0]))
        gone = {"idempotencyKey": uuid4().hex, "mediaId": media_id, "models": [model]}
        refused = (await client.run(REMOVE, input=gone))["deleteEmbeddings"]
        assert [error["code"] for error in refused["userErrors"]] == [code]
        assert [row["model"] for row in await rows(service, media_id)] == [model]


async def test_rows_follow_their_media(service: RunningService, model: str) -> None:
    media_id, stores = await stored(service), service.runtime.stores
    await embed(service, asked(media_id, model, [1.0, 2.0, 3.0]))
    change = """mutation ($input: UpdateMediaInput!) { updateMedia(input: $input) { userErrors { code } } }"""
    anna = service.client("anna")
    await anna.run(change, input={"idempotencyKey": uuid4().hex, "id": media_id, "title": "Elsewhere"})
    assert "embeddings_due_at" not in await reread(service, media_id)
    await anna.run(change, input={"idempotencyKey": uuid4().hex, "id": media_id, "visibility": "PRIVATE"})
    # At once, without the sweeper.
    assert "embeddings_due_at" not in await reread(service, media_id)
    [row] = await rows(service, media_id)
    assert row["visibility"] == "PRIVATE"
    await stores.media.transition(uuid_of(media_id), MediaStatus.QUARANTINED)
    await settle_due(stores=stores)
    [row] = await rows(service, media_id)
    assert row["status"] == "QUARANTINED"
    assert "embeddings_due_at" not in await reread(service, media_id)


async def test_a_deleted_media_leaves_no_vector(service: RunningService, model: str) -> None:
    media_id = await stored(service)
    await embed(service, asked(media_id, model, [1.0, 2.0, 3.0]))
    await service.client("anna").delete(media_id)
    # Besides those that other tests' changes have caused.
    while (job := await service.runtime.stores.jobs.claim(lease_s=60, worker="test")) is not None:
        if job.kind is JobKind.DELETE:
            await run_job(service, job)
    assert await rows(service, media_id) == []
    payload = await embed(service, asked(media_id, model, [1.0, 2.0, 3.0]))
    assert [error["code"] for error in payload["userErrors"]] == ["NOT_FOUND"]


@pytest.mark.parametrize("is_deleted", [False, True])
async def test_what_a_dead_writer_left_is_seen_to(
    service: RunningService, model: str, monkeypatch: pytest.MonkeyPatch, is_deleted: bool
) -> None:
    """It wrote its row from what it had read of the media, which has changed meanwhile, and died."""
    monkeypatch.setattr("service.stores.embeddings.GRACE_S", 0.0)
    media_id, stores = await stored(service), service.runtime.stores
    media = await stores.embeddings.announce(uuid_of(media_id))
    assert media is not None
    change = MediaStatus.DELETED if is_deleted else MediaStatus.QUARANTINED
    await stores.media.transition(uuid_of(media_id), change)
    if is_deleted:
        await stores.embeddings.remove_of(uuid_of(media_id))
        await stores.media.strip_deleted(uuid_of(media_id))
    assert await stores.embeddings.put(
        media, model, [1.0, 2.0, 3.0], place=0, mark={"id": "1", "record": "1"}, replacing=None
    )
    [row] = await rows(service, media_id)
    assert row["status"] == "READY"
    await settle_due(stores=stores)
    # Of a media that is gone a row stays until what was done to it is in the audit chain.
    assert [row["status"] for row in await rows(service, media_id)] == (["READY"] if is_deleted else ["QUARANTINED"])
    await stores.audit.settle_all()
    await settle_due(stores=stores)
    assert [row["status"] for row in await rows(service, media_id)] == ([] if is_deleted else ["QUARANTINED"])
    assert "embeddings_due_at" not in await reread(service, media_id)


async def test_a_sweep_settles_all_that_is_due_but_what_cannot_be(
    service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.embeddings._DUE_A_PAGE", 4)
    media = [ready_media(has_embeddings=True, embeddings_due_at=ready_media()["updated_at"]) for _ in range(10)]
    await service.runtime.database.media.insert_many(media)
    ids, settle = {each["_id"] for each in media}, EmbeddingStore.settle
    stuck = media[2]["_id"]

    async def settle_but_one(self: EmbeddingStore, media_id: UUID, due_at: Any) -> bool:
        if media_id == stuck:
            raise RuntimeError("unreadable")
        return await settle(self, media_id, due_at)

    async def due() -> set[UUID]:
        query = {"_id": {"$in": list(ids)}, "embeddings_due_at": {"$exists": True}}
        return {each["_id"] async for each in service.runtime.database.media.find(query, {"_id": 1})}

    with monkeypatch.context() as broken:
        broken.setattr(EmbeddingStore, "settle", settle_but_one)
        await settle_due(stores=service.runtime.stores)
    assert await due() == {stuck}
    await settle_due(stores=service.runtime.stores)
    assert await due() == set()


async def test_a_page_asks_once_for_the_embeddings_of_all_its_media(
    service: RunningService, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = f"owner-{uuid4().hex[:8]}"
    for index in range(5):
        media_id = await stored(service, owner_id=owner)
        await embed(service, asked(media_id, model, [float(index), 1.0, 1.0]), who=owner)
    app_stores = service.app.state.runtime.stores
    calls: list[int] = []
    read, load = app_stores.embeddings.of_media, app_stores.embeddings.by_ids

    async def count_rows(ids: list[UUID], **more: Any) -> Any:
        calls.append(len(ids))
        return await read(ids, **more)

    async def count_vectors(ids: list[UUID]) -> Any:
        calls.append(len(ids))
        return await load(ids)

    monkeypatch.setattr(type(app_stores.embeddings), "of_media", staticmethod(count_rows))
    monkeypatch.setattr(type(app_stores.embeddings), "by_ids", staticmethod(count_vectors))
    query = """query ($owner: ID!, $model: String!) {
      mediaList(filter: {ownerId: $owner}) { nodes { embeddings(models: [$model]) { vector } } } }"""
    nodes = (await service.client(owner).run(query, owner=owner, model=model))["mediaList"]["nodes"]
    assert [node["embeddings"][0]["vector"][0] for node in nodes] == [4.0, 3.0, 2.0, 1.0, 0.0]
    assert calls == [5, 5]
