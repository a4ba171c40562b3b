"""Creates the declared indexes and reports drift; drops one only where it is told to rebuild it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from indexes import (
    audit,
    contents,
    deletions,
    embeddings,
    erasures,
    holds,
    idempotency,
    invalidations,
    jobs,
    media,
    migrations,
    quotas,
    webhooks,
)
from indexes.annotations import INDEXES as ANNOTATION_INDEXES
from indexes.declaration import Index
from indexes.drift import BEING_BUILT, Drift, compare

DECLARED: Mapping[str, tuple[Index, ...]] = {
    "media": (
        *media.INDEXES,
        *migrations.MEDIA_INDEXES,
        *audit.MEDIA_INDEXES,
        *erasures.MEDIA_INDEXES,
        *webhooks.MEDIA_INDEXES,
    ),
    "annotations": ANNOTATION_INDEXES,
    "contents": contents.INDEXES,
    "jobs": jobs.INDEXES,
    "idempotency": (*idempotency.INDEXES, *erasures.IDEMPOTENCY_INDEXES),
    "quotas": quotas.INDEXES,
    "rate_limits": quotas.RATE_LIMIT_INDEXES,
    "embeddings": (*embeddings.INDEXES, *audit.EMBEDDING_INDEXES),
    "deletions": (
        *deletions.INDEXES,
        *audit.DELETION_INDEXES,
        *holds.DELETION_INDEXES,
        *erasures.DELETION_INDEXES,
        *webhooks.DELETION_INDEXES,
    ),
    "holds": (*holds.INDEXES, *audit.HOLD_INDEXES),
    "removals": holds.REMOVAL_INDEXES,
    "erasures": (*erasures.INDEXES, *audit.ERASURE_INDEXES),
    "audit": audit.INDEXES,
    "webhook_deliveries": webhooks.DELIVERY_INDEXES,
    "webhook_streams": webhooks.STREAM_INDEXES,
    "invalidations": invalidations.INDEXES,
    "invalidation_batches": invalidations.BATCH_INDEXES,
}


async def _existing(database: Any, collection: str) -> dict[str, Mapping[str, Any]]:
    # Without this option an index that is still being built looks like one that queries can use.
    answer = await database.command({"listIndexes": collection, "includeBuildUUIDs": True})
    rows = [{**row["spec"], BEING_BUILT: True} if "spec" in row else row for row in answer["cursor"]["firstBatch"]]
    return {row["name"]: row for row in rows if row["name"] != "_id_"}


async def check(database: Any) -> list[Drift]:
    """Compare every declared collection with `database` (an asynchronous driver handle); only drift is listed."""
    collections = await database.list_collection_names()
    found = []
    for collection, declared in DECLARED.items():
        existing = await _existing(database, collection) if collection in collections else {}
        if drift := compare(collection, declared, existing):
            found.append(drift)
    return found


async def ensure(database: Any) -> list[Drift]:
    """Create what is missing, all at once, and return the drift that is left: a person decides about the rest.

    For databases that hold little; `python -m service indexes --apply` goes about it with more care.
    """
    for drift in await check(database):
        wanted = {*drift.missing, *drift.building}
        specifications = [index.specification() for index in DECLARED[drift.collection] if index.name in wanted]
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
