"""What a process has opened: stores, object storage and metrics; opened once, by the API and by the worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from service.job_hints import JobHints, open_hints
from service.object_store import ObjectStore
from service.retention_periods import retention_periods
from service.settings import Settings
from service.stores import Stores, bind_stores
from service.stores.database import Database, open_database
from service.telemetry import Metrics
from service.vector_search import open_vector_search


@dataclass(frozen=True, slots=True)
class Runtime:
    settings: Settings
    database: Database
    stores: Stores
    object_store: ObjectStore
    metrics: Metrics
    hints: JobHints | None = None


async def preflight(settings: Settings) -> None:
    """Raise ConfigurationError if the database cannot serve, before anything is promised to clients."""
    async with open_database(settings.mongo) as database:
        await database.require_replica_set()
        search = open_vector_search(settings.vectors, database)
        if search is not None:
            await search.check()


@asynccontextmanager
async def open_runtime(settings: Settings, metrics: Metrics) -> AsyncIterator[Runtime]:
    """Open everything lazily; nothing is contacted until it is used."""
    object_store, hints = ObjectStore(settings.storage), open_hints(settings)
    refreshing = asyncio.create_task(object_store.keep_credentials_fresh())
    try:
        async with open_database(settings.mongo) as database:
            announce = None if hints is None else hints.announce
            stores = bind_stores(
                database,
                count_status=metrics.count_status,
                announce=announce,
                invalidates=bool(settings.cdn.distribution_id),
                notes_events=settings.webhooks.notes_events,
                keep_for=retention_periods(settings.retention).keep_for,
            )
            stores.audit.after_appends(metrics.audit.count_appended)
            yield Runtime(settings, database, stores, object_store, metrics, hints)
    finally:
        refreshing.cancel()
        with suppress(asyncio.CancelledError):
            await refreshing
        await object_store.close()
        if hints is not None:
            await hints.close()
