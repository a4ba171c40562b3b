"""What Atlas would be asked, by its documented format, and what is made of its answers; it cannot be had here."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any
from uuid import UUID, uuid4

import bson
import pytest
from bson.binary import Binary

from service.access import ANONYMOUS, MODERATOR_ROLE, Action, Viewer, granted_filters
from service.settings import VectorSettings
from service.stores.embeddings import numbers, packed, unpacked
from service.stores.vector_index import VectorIndex, definition_of
from service.vector_search import Candidate, open_vector_search
from service.vector_search.atlas import MOST, AtlasSearch
from tests.in_memory import in_memory_database

VECTOR = numbers(packed([1.0, 0.5]))


def pipeline(viewer: Viewer, limit: int = 50) -> list[dict[str, Any]]:
    index = VectorIndex(in_memory_database(), "vectors")
    return index.pipeline("clip@1", VECTOR, access=granted_filters(viewer, Action.READ), limit=limit)


def test_the_viewers_rules_are_part_of_the_search_itself() -> None:
    search, project = pipeline(Viewer("anna"))
    query = search["$vectorSearch"].pop("queryVector")
    assert isinstance(query, Binary)
    assert (query.subtype, unpacked(query)) == (9, [1.0, 0.5])
    live = sorted({"INITIATED", "UPLOADING", "UPLOADED", "PROCESSING", "READY", "FAILED", "QUARANTINED", "EXPIRED"})
    assert search == {
        "$vectorSearch": {
            "index": "vectors_2",
            "path": "vector",
            "numCandidates": 1_000,
            "limit": 50,
            "filter": {
                "$and": [
                    {"model": {"$eq": "clip@1"}},
                    {
                        "$or": [
                            {"$and": [{"status": {"$eq": "READY"}}, {"visibility": {"$eq": "PUBLIC"}}]},
                            {"$and": [{"owner_id": {"$eq": "anna"}}, {"status": {"$in": live}}]},
                        ]
                    },
                ]
            },
        }
    }
    assert project == {"$project": {"_id": 0, "media_id": 1, "score": {"$meta": "vectorSearchScore"}}}
    bson.encode({"pipeline": [search, project]})


@pytest.mark.parametrize("viewer", [ANONYMOUS, Viewer("anna"), Viewer("mod", frozenset({MODERATOR_ROLE}))])
def test_only_indexed_fields_are_filtered_by_and_limits_kept(viewer: Viewer) -> None:
    search = pipeline(viewer, MOST)[0]["$vectorSearch"]
    assert search["limit"] <= search["numCandidates"] <= 10_000
    indexed = {each["path"] for each in definition_of(2)["fields"] if each["type"] == "filter"}
    [model, anyone] = search["filter"]["$and"]
    asked = {name for clause in anyone["$or"] for condition in clause["$and"] for name in condition}
    assert {*model, *asked} <= indexed


class FakeIndex:
    """Answers with the first of what there is, as the stage does."""

    def __init__(self, count: int) -> None:
        self.rows = [(uuid4(), 1.0 - place / count) for place in range(count)]
        self.limits: list[int] = []

    async def nearest(self, *_: object, limit: int, **__: object) -> list[tuple[UUID, float]]:
        self.limits.append(limit)
        return self.rows[:limit]


@pytest.mark.parametrize(("count", "limits"), [(20, [50]), (50, [50, 200]), (900, [50, 200, 800, 3_200])])
async def test_more_is_asked_for_until_there_is_no_more(count: int, limits: list[int]) -> None:
    index = FakeIndex(count)
    search = AtlasSearch(index)  # type: ignore[arg-type]
    found: list[Candidate] = []
    async with aclosing(search.nearest("clip@1", VECTOR, access=[{}], limit=5)) as batches:
        async for batch in batches:
            found += batch
    assert [(each.media_id, each.similarity) for each in found] == index.rows
    assert index.limits == limits


async def test_a_media_that_was_embedded_anew_meanwhile_comes_once() -> None:
    index = FakeIndex(120)
    search, found = AtlasSearch(index), []  # type: ignore[arg-type]
    async with aclosing(search.nearest("clip@1", VECTOR, access=[{}], limit=5)) as batches:
        async for batch in batches:
            found += [each.media_id for each in batch]
            index.rows = [(media_id, similarity - 0.001) for media_id, similarity in index.rows]
    assert found == [media_id for media_id, _ in index.rows]


async def test_it_ends_where_the_stage_ends() -> None:
    index = FakeIndex(2 * MOST)
    search = AtlasSearch(index)  # type: ignore[arg-type]
    async with aclosing(search.nearest("clip@1", VECTOR, access=[{}], limit=5)) as batches:
        assert sum([len(batch) async for batch in batches]) == MOST
    assert index.limits[-1] == MOST


def test_nothing_is_searched_where_nothing_may_be_held() -> None:
    assert open_vector_search(VectorSettings(memory_bytes=0), in_memory_database()) is None
    assert isinstance(open_vector_search(VectorSettings(engine="atlas"), in_memory_database()), AtlasSearch)
