"""Creates the declared indexes and reports drift; drops one only where it is told to rebuild it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from indexes import contents, embeddings, idempotency, invalidations, jobs, media, migrations
from indexes.declaration import Index

DECLARED: Mapping[str, tuple[Index, ...]] = {
    "media": (*media.INDEXES, *migrations.MEDIA_INDEXES),
    "contents": contents.INDEXES,
    "jobs": jobs.INDEXES,
    "idempotency": idempotency.INDEXES,
    "embeddings": embeddings.INDEXES,
    "invalidations": invalidations.INDEXES,
    "invalidation_batches": invalidations.BATCH_INDEXES,
}


@dataclass(frozen=True, slots=True)
class Drift:
    """How a collection differs from its declaration, by index name."""

    collection: str
    missing: tuple[str, ...]
    undeclared: tuple[str, ...]
    different: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.undeclared or self.different)


async def _existing(database: Any, collection: str) -> dict[str, Mapping[str, Any]]:
    rows = await database[collection].list_indexes().to_list(None)
    return {row["name"]: row for row in rows if row["name"] != "_id_"}


def _differs(index: Index, row: Mapping[str, Any]) -> bool:
    stored = {key: value for key, value in row.items() if key not in {"v", "ns", "background"}}
    return stored != index.specification() or tuple(row["key"].items()) != index.keys


async def check(database: Any) -> list[Drift]:
    """Compare every declared collection with `database` (an asynchronous driver handle); only drift is listed."""
    found = []
    for collection, declared in DECLARED.items():
        rows = await _existing(database, collection)
        drift = Drift(
            collection=collection,
            missing=tuple(index.name for index in declared if index.name not in rows),
            undeclared=tuple(sorted(rows.keys() - {index.name for index in declared})),
            different=tuple(
                index.name for index in declared if index.name in rows and _differs(index, rows[index.name])
            ),
        )
        if drift:
            found.append(drift)
    return found


async def ensure(database: Any) -> list[Drift]:
    """Create what is missing and return the drift that is left: a person decides about the rest."""
    for drift in await check(database):
        specifications = [index.specification() for index in DECLARED[drift.collection] if index.name in drift.missing]
        if specifications:
            await database.command({"createIndexes": drift.collection, "indexes": specifications})
    return await check(database)


async def rebuild(database: Any) -> list[Drift]:
    """Drop and create again what differs from its declaration, and return the drift that is left.

    For a database that one person has to themselves: queries go without the index while it is built.
    """
    for drift in await check(database):
        for name in drift.different:
            await database[drift.collection].drop_index(name)
    return await ensure(database)
