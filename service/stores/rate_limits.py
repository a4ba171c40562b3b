"""What viewers have asked for lately, counted by the `limits` library in MongoDB, or in Redis.

Its sliding window counter: one small document a viewer and budget, and one atomic write a portion. A moving window
would hold an entry for every unit of cost, and a fixed one lets twice the limit through around its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import floor
from typing import Any, cast

from limits.aio.storage import MongoDBStorage, Storage
from limits.aio.storage.base import SlidingWindowCounterSupport
from limits.errors import ConfigurationError as LimitsConfigurationError
from limits.errors import StorageError
from limits.storage import storage_from_string
from pymongo.errors import PyMongoError

from service.errors import ConfigurationError
from service.rate_limits import STORE_TIMEOUT_S, RateLimitStore, Standing, StoreAway
from service.settings import LimitsSettings
from service.stores.database import RATE_LIMITS, Database
from service.stores.expressions import NOW


class SharedWindows:
    """Windows in any storage of the library that has sliding window counters."""

    def __init__(self, storage: Storage) -> None:
        if not isinstance(storage, SlidingWindowCounterSupport):
            raise TypeError("this storage has no sliding window counters")
        self._storage = storage

    async def standing(self, key: str, *, limit: int, window_s: int) -> Standing:
        async with _answering():
            previous, _, current, current_expires_s = await self._storage.get_sliding_window(key, window_s)
        # What is counted is kept for a window more, in which it fades.
        ends_s = current_expires_s - window_s if current_expires_s else window_s
        return _standing(previous, current, ends_s, limit=limit, window_s=window_s)

    async def take(self, key: str, amount: int, *, limit: int, window_s: int) -> bool:
        async with _answering():
            return await self._storage.acquire_sliding_window_entry(key, limit, window_s, amount)


class _OurDatabase(MongoDBStorage):
    """The library's own way of counting, over the connections that this process has, and with indexes as declared."""

    def __init__(self, database: Database) -> None:
        # It makes a client of its own, which never connects.
        super().__init__("async+mongodb://127.0.0.1", window_collection_name=RATE_LIMITS)
        self._ours = database.handle

    @property
    def database(self) -> Any:
        return self._ours

    async def create_indices(self) -> None:
        return


class DatabaseWindows:
    """Windows in MongoDB, read in its own time: clocks of processes may differ by more than a window is long."""

    def __init__(self, database: Database) -> None:
        self._windows = database.rate_limits
        self._storage = _OurDatabase(database)

    async def standing(self, key: str, *, limit: int, window_s: int) -> Standing:
        fields = {"current": "$currentCount", "previous": "$previousCount", "ends_ms": _until("$expireAt", window_s)}
        async with _answering():
            rows = await self._windows.aggregate([{"$match": {"_id": key}}, {"$project": fields}]).to_list(1)
            ends_s = rows[0]["ends_ms"] / 1_000 if rows else -window_s
            if rows and ends_s <= -window_s:
                # Counted anew it would go on from where it ended, one window a write, in which portions fade too early.
                await self._windows.delete_one({"_id": key, "$expr": {"$lte": ["$expireAt", NOW]}})
        if ends_s <= -window_s:
            return Standing(limit, window_s)
        current, previous = rows[0]["current"], rows[0]["previous"]
        if ends_s > 0:
            return _standing(previous, current, ends_s, limit=limit, window_s=window_s)
        # With the next that is taken the window after this one begins.
        return _standing(current, 0, ends_s + window_s, limit=limit, window_s=window_s)

    async def take(self, key: str, amount: int, *, limit: int, window_s: int) -> bool:
        async with _answering():
            return await self._storage.acquire_sliding_window_entry(key, limit, window_s, amount)


def _until(expires_at: str, window_s: int) -> dict[str, Any]:
    """Milliseconds until a window ends: its document is kept for one window more."""
    return {"$subtract": [{"$subtract": [expires_at, NOW]}, window_s * 1_000]}


def _standing(previous: int, current: int, ends_s: float, *, limit: int, window_s: int) -> Standing:
    ends_s = max(0.0, min(ends_s, float(window_s)))
    taken = floor(previous * ends_s / window_s + current)
    return Standing(max(0, limit - taken), ends_s, current, previous)


@asynccontextmanager
async def _answering() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(STORE_TIMEOUT_S):
            yield
    except (PyMongoError, StorageError, OSError, TimeoutError) as error:
        raise StoreAway(type(error).__name__) from error


def open_rate_limit_store(settings: LimitsSettings, database: Database) -> RateLimitStore:
    """The store that the settings name, not contacted yet. Raises ConfigurationError where its client is missing."""
    address = settings.store.get_secret_value()
    if not address:
        return DatabaseWindows(database)
    try:
        storage = storage_from_string(f"async+{address}", wrap_exceptions=True, implementation="coredis")
    except LimitsConfigurationError as error:
        raise ConfigurationError(
            "MEDIA_LIMITS__STORE names a Redis server, but its client is not installed: install the extra `redis`."
        ) from error
    return SharedWindows(cast("Storage", storage))
