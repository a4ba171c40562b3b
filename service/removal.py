"""Removing objects from the buckets, and seeing that they are gone."""

from __future__ import annotations

from collections.abc import Collection

from service.errors import StorageRefused
from service.object_store import ObjectStore


async def remove_for_good(keys: Collection[tuple[str, str]], object_store: ObjectStore) -> None:
    """Remove every one of `keys` (bucket, key); one that is not there is gone already.

    Raises StorageRefused if storage keeps one, TemporarilyUnavailable.
    """
    for bucket in sorted({bucket for bucket, _ in keys}):
        await object_store.delete(bucket, sorted(key for holder, key in keys if holder == bucket))
    for bucket, key in sorted(keys):
        if await object_store.head(bucket, key) is not None:
            raise StorageRefused(f"Storage still holds {key} after its deletion; it will be removed again.")
