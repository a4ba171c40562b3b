"""nearestMedia: as exact as brute force, filtered before it is cut, true while everything changes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest

from schema.global_id import encode_id
from service.access import Viewer
from service.doctor.findings import Level
from service.doctor.vectors import check_vectors
from service.embeddings import settle_due
from service.errors import ConfigurationError
from service.lifecycle import MediaStatus
from service.nearest_media import nearest_media
from service.runtime import preflight
from service.settings import VectorSettings
from service.stores.embeddings import packed, row_id
from service.vector_search import Candidate
from tests.documents import MOMENT, ready_media
from tests.integration.conftest import RunningService

NEAREST = """query ($model: String!, $vector: [Float!], $mediaId: ID, $first: Int = 20) {
  nearestMedia(model: $model, vector: $vector, mediaId: $mediaId, first: $first) {
    similarity media { id ownerId visibility }
  }
}"""
DIMENSIONS = 16


async def embedded(service: RunningService, model: str, vectors: Any, **changed: Any) -> list[UUID]:
    """Media with these embeddings, written as the service would have."""
    media = [ready_media(**changed) for _ in vectors]
    rows = [
        {
            "_id": row_id(each["_id"], model),
            "media_id": each["_id"],
            "owner_id": each["owner_id"],
            "status": each["status"],
            "visibility": each["visibility"],
            "as_of": MOMENT,
            "created_at": MOMENT,
            "model": model,
            "place": 0,
            "dimensions": len(vector),
            "vector": packed(vector.tolist()),
            "last_change": {"id": "1", "record": "1"},
        }
        for each, vector in zip(media, vectors, strict=True)
    ]
    for each in media:
        each["has_embeddings"] = True
    await service.runtime.database.media.insert_many(media)
    await service.runtime.database.embeddings.insert_many(rows)
    await service.runtime.stores.embeddings.introduce(model, len(vectors[0]))
    return [each["_id"] for each in media]


def brute_force(vectors: Any, asked: Any) -> Any:
    """Cosine similarities, in 64 bits."""
    wide = vectors.astype(np.float64)
    return wide @ asked / (np.linalg.norm(wide, axis=1) * np.linalg.norm(asked))


@pytest.fixture
def model() -> str:
    return f"clip-{uuid4().hex[:8]}@1"


@pytest.fixture
def vectors() -> Any:
    return np.random.default_rng(7).normal(size=(400, DIMENSIONS)).astype(np.float32)


async def ask(service: RunningService, who: str | None, *, roles: tuple[str, ...] = (), **given: Any) -> Any:
    return (await service.client(who, roles=roles).run(NEAREST, **given))["nearestMedia"]


async def test_scan_finds_what_brute_force_finds(service: RunningService, model: str, vectors: Any) -> None:
    ids = await embedded(service, model, vectors)
    for asked in np.random.default_rng(8).normal(size=(5, DIMENSIONS)):
        expected = brute_force(vectors, asked)
        order = np.argsort(-expected)[:50]
        found = await ask(service, "anna", model=model, vector=asked.tolist(), first=50)
        assert [each["media"]["id"] for each in found] == [encode_id("Media", ids[place]) for place in order]
        assert [each["similarity"] for each in found] == pytest.approx(expected[order].tolist(), abs=1e-6)


async def test_viewers_get_whole_pages_of_what_they_may_see(service: RunningService, model: str, vectors: Any) -> None:
    """Nearly everything that is near belongs to somebody else."""
    asked = np.ones(DIMENSIONS)
    near, far = asked + vectors[:100] / 100, vectors[100:130]
    await embedded(service, model, near.astype(np.float32), owner_id="other", visibility="PRIVATE")
    shown = await embedded(service, model, far[:15])
    await embedded(service, model, far[15:20], status="PROCESSING", owner_id="other")
    mine = await embedded(service, model, far[20:], owner_id="bob", visibility="PRIVATE")
    given = {"model": model, "vector": asked.tolist(), "first": 20}
    assert {each["media"]["id"] for each in await ask(service, None, **given)} == {
        encode_id("Media", each) for each in shown
    }
    assert {
        each["media"]["id"]
        for each in await ask(
            service,
            "bob",
            **given,
        )
    } <= {encode_id("Media", each) for each in (*shown, *mine)}
    assert len(await ask(service, "bob", **given)) == 20
    for who, roles in (("other", ()), ("mod", ("moderator",))):
        assert {each["media"]["visibility"] for each in await ask(service, who, roles=roles, **given)} == {"PRIVATE"}


async def test_what_embeddings_say_of_their_media_is_never_the_last_word(
    service: RunningService, model: str, vectors: Any
) -> None:
    """Media that were hidden a moment ago are passed over, and the page is filled with others."""
    ids = await embedded(service, model, vectors[:60])
    given = {"model": model, "vector": vectors[0].tolist(), "first": 10}
    before = [each["media"]["id"] for each in await ask(service, None, **given)]
    nearest = sorted(
        ids, key=lambda each: before.index(encode_id("Media", each)) if encode_id("Media", each) in before else 99
    )
    for media_id in nearest[:10]:
        await service.runtime.stores.media.transition(media_id, MediaStatus.QUARANTINED)
    after = [each["media"]["id"] for each in await ask(service, None, **given)]
    assert len(after) == 10
    assert not set(after) & set(before)
    await settle_due(stores=service.runtime.stores)
    assert [each["media"]["id"] for each in await ask(service, None, **given)] == after


async def test_near_to_a_media_without_itself(service: RunningService, model: str, vectors: Any) -> None:
    ids = await embedded(service, model, vectors[:30])
    [hidden] = await embedded(service, model, vectors[:1], visibility="PRIVATE")
    found = await ask(service, None, model=model, mediaId=encode_id("Media", ids[3]), first=29)
    assert len(found) == 29
    assert encode_id("Media", ids[3]) not in {each["media"]["id"] for each in found}
    assert await ask(service, None, model=model, mediaId=await plain(service)) == []
    refused = await service.client("bob").post(NEAREST, model=model, mediaId=encode_id("Media", hidden))
    assert refused["errors"][0]["extensions"]["code"] == "NOT_FOUND"


async def plain(service: RunningService) -> str:
    media = ready_media()
    await service.runtime.database.media.insert_one(media)
    return encode_id("Media", media["_id"])


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({}, "INVALID_INPUT"),
        ({"vector": [1.0, 2.0], "mediaId": "x"}, "INVALID_INPUT"),
        ({"vector": [1.0, 2.0]}, "INVALID_INPUT"),
        ({"vector": [0.0] * DIMENSIONS}, "INVALID_INPUT"),
        ({"vector": [1.0] * DIMENSIONS, "first": 0}, "INVALID_INPUT"),
        ({"vector": [1.0] * DIMENSIONS, "first": 101}, "INVALID_INPUT"),
        ({"vector": [1.0] * DIMENSIONS, "model": "nobody@1"}, "NOT_FOUND"),
        ({"mediaId": "rubbish"}, "NOT_FOUND"),
        ({"vector": [1.0, 2.0], "model": "nope"}, "INVALID_INPUT"),
        ({"mediaId": encode_id("Media", uuid4()), "model": "nope"}, "INVALID_INPUT"),
    ],
)
async def test_senseless_questions_are_refused(
    service: RunningService, model: str, vectors: Any, given: dict[str, Any], code: str
) -> None:
    await embedded(service, model, vectors[:2])
    body = await service.client(None).post(NEAREST, **{"model": model, **given})
    assert [error["extensions"]["code"] for error in body["errors"]] == [code]


async def test_vectors_are_told_in_full_to_those_alone_who_may_read_them(
    service: RunningService, model: str, vectors: Any
) -> None:
    await embedded(service, model, vectors[:5])
    given = {"model": model, "vector": [1.0] * DIMENSIONS}
    exact = [each["similarity"] for each in await ask(service, "anna", **given)]
    assert any(round(each, 3) != each for each in exact)
    for who in (None, "bob"):
        told = [each["similarity"] for each in await ask(service, who, **given)]
        assert told == [round(each, 3) for each in exact]
    for who, roles in (("mod", ("moderator",)), ("job", ("service",))):
        assert [each["similarity"] for each in await ask(service, who, roles=roles, **given)] == exact


class LateSearch:
    """Finds the nearest last, as an approximate engine may."""

    def __init__(self, batches: list[list[Candidate]]) -> None:
        self._batches = batches

    async def nearest(self, *_: object, **__: object) -> AsyncGenerator[list[Candidate], None]:
        for batch in self._batches:
            yield batch

    async def check(self) -> None: ...

    async def close(self) -> None: ...


async def test_what_is_found_late_stands_in_its_place(service: RunningService, model: str, vectors: Any) -> None:
    ids = await embedded(service, model, vectors[:4])
    [hidden] = await embedded(service, model, vectors[:1], visibility="PRIVATE")
    found = await nearest_media(
        Viewer("bob"),
        model=model,
        vector=vectors[0].tolist(),
        media_id=None,
        first=3,
        fields=(),
        stores=service.runtime.stores,
        search=LateSearch(
            [
                [Candidate(hidden, 0.9), Candidate(ids[0], 0.5), Candidate(ids[1], 0.4)],
                [Candidate(ids[2], 0.8), Candidate(ids[3], 0.45)],
            ]
        ),
    )
    assert [(media["_id"], similarity) for media, similarity in found] == [(ids[2], 0.8), (ids[0], 0.5), (ids[3], 0.45)]


async def test_a_server_without_vector_search_is_refused_and_said(service: RunningService) -> None:
    asked = service.settings.model_copy(update={"vectors": VectorSettings(engine="atlas")})
    with pytest.raises(ConfigurationError, match=r"MEDIA_VECTORS__ENGINE=scan"):
        await preflight(asked)
    await preflight(service.settings)
    [finding] = await check_vectors(asked.vectors, asked.mongo)
    assert (finding.level, "$vectorSearch" in finding.text) == (Level.PROBLEM, True)
    assert await check_vectors(service.settings.vectors, service.settings.mongo) == []
