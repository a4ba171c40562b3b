"""`$vectorSearch` over `embeddings`, for servers that have it. Each number of dimensions has an index of its own.

Definition of an index (https://www.mongodb.com/docs/atlas/atlas-vector-search/vector-search-type/): `definition_of`.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from bson.binary import Binary, BinaryVectorDtype
from pymongo.errors import OperationFailure

from service.stores.database import Database

# Among so many of the graph's nodes for each that is asked for; the manual's advice is 20 or more.
_CANDIDATES_EACH: Final = 20
_MOST_CANDIDATES: Final = 10_000
_FILTERED: Final = ("model", "owner_id", "status", "visibility")
# What servers say that do not know the stage, or have nobody to ask: unrecognised stage, SearchNotEnabled,
# CommandNotSupported, and the code of Atlas Search without mongot.
_UNKNOWN_STAGE: Final = frozenset({40324, 31082, 115, 6047401})


class NoVectorSearch(Exception):
    """The server knows no vector search."""


def definition_of(dimensions: int) -> dict[str, Any]:
    """What an index for vectors of so many dimensions is created with."""
    vector = {"type": "vector", "path": "vector", "numDimensions": dimensions, "similarity": "cosine"}
    return {"fields": [vector, *({"type": "filter", "path": path} for path in _FILTERED)]}


class VectorIndex:
    """`name`: what the indexes are called, before `_` and their dimensions."""

    def __init__(self, database: Database, name: str) -> None:
        self._embeddings = database.embeddings
        self._models = database.embedding_models
        self._name = name

    async def list_names(self) -> set[str]:
        """The search indexes that there are. Raises NoVectorSearch."""
        try:
            return {each["name"] async for each in self._embeddings.aggregate([{"$listSearchIndexes": {}}])}
        except OperationFailure as error:
            if error.code in _UNKNOWN_STAGE:
                raise NoVectorSearch(str(error)) from error
            raise

    async def missing(self) -> dict[str, dict[str, Any]]:
        """The indexes that known models ask for and that are not there, by name, with what to create them with."""
        there = await self.list_names()
        wanted = {f"{self._name}_{each}": definition_of(each) for each in await self._models.distinct("dimensions")}
        return {name: definition for name, definition in wanted.items() if name not in there}

    async def nearest(
        self, model: str, vector: bytes, *, access: Sequence[Mapping[str, Any]], limit: int
    ) -> list[tuple[UUID, float]]:
        """Up to `limit` media whose embeddings `access` lets through, with their cosine similarity, nearest first."""
        rows = await self._embeddings.aggregate(self.pipeline(model, vector, access=access, limit=limit)).to_list(limit)
        # The score of a cosine is mapped to 0 to 1.
        return [(row["media_id"], 2.0 * row["score"] - 1.0) for row in rows]

    def pipeline(
        self, model: str, vector: bytes, *, access: Sequence[Mapping[str, Any]], limit: int
    ) -> list[dict[str, Any]]:
        """The aggregation for one search. `vector`: 32-bit floats, little-endian."""
        values = struct.unpack(f"<{len(vector) // 4}f", vector)
        search = {
            "index": f"{self._name}_{len(values)}",
            "path": "vector",
            "queryVector": Binary.from_vector(list(values), BinaryVectorDtype.FLOAT32),
            "numCandidates": min(limit * _CANDIDATES_EACH, _MOST_CANDIDATES),
            "limit": limit,
            "filter": {"$and": [{"model": {"$eq": model}}, {"$or": [_filter(clause) for clause in access]}]},
        }
        project = {"_id": 0, "media_id": 1, "score": {"$meta": "vectorSearchScore"}}
        return [{"$vectorSearch": search}, {"$project": project}]


def _filter(clause: Mapping[str, Any]) -> dict[str, Any]:
    """A clause of the access table in the operators that the stage's filter takes."""
    conditions = [
        {path: condition if isinstance(condition, Mapping) else {"$eq": condition}}
        for path, condition in sorted(clause.items())
    ]
    return {"$and": conditions}
