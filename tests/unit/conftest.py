"""The executable schema over a database in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import strawberry

from resolvers.api import build_schema
from schema.context import Context
from service.access import ANONYMOUS, Viewer
from service.backpressure import Backpressure
from service.change_feed import ChangeFeed
from service.delivery import Delivery, SignedUrl
from service.dev.environment import dev_delivery
from service.dev.keys import DevKeys
from service.documents import MediaDocument, RenditionDocument
from service.object_store import ObjectStore
from service.original_access import OriginalAccess
from service.runtime import Runtime
from service.settings import Settings, StorageSettings
from service.stores import bind_stores
from service.telemetry import Metrics
from tests.in_memory import in_memory_database
from tests.issuer_stand import EC_KEY, IssuerStand, issuing, jwk


class CountingDelivery(Delivery):
    """Signs, and remembers how often it was asked to."""

    signed = 0

    def sign(self, media: MediaDocument, rendition: RenditionDocument, *, together: bool) -> SignedUrl:
        self.signed += 1
        return super().sign(media, rendition, together=together)


class RecordingCollection:
    """A collection that remembers what it was asked to find."""

    def __init__(self, collection: Any) -> None:
        self._collection = collection
        self.finds: list[tuple[dict[str, Any], dict[str, int]]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._collection, name)

    def find(self, query: dict[str, Any], projection: dict[str, int]) -> Any:
        self.finds.append((query, projection))
        return self._collection.find(query, projection)


@dataclass
class Library:
    """Some media, and the API over them."""

    runtime: Runtime
    delivery: CountingDelivery
    media: RecordingCollection
    schema: strawberry.Schema = field(default_factory=build_schema)

    async def add(self, *documents: MediaDocument) -> None:
        await self.runtime.database.media.insert_many(documents)

    async def post(self, query: str, viewer: Viewer = ANONYMOUS, **variables: Any) -> Any:
        """The whole result of an operation."""
        originals = OriginalAccess(self.runtime.stores.audit)
        pressure = Backpressure(self.runtime.settings.limits, self.runtime.stores.job_inspection.waiting_s)
        feed = ChangeFeed(self.runtime.database)
        context = Context(self.runtime, self.delivery, feed, viewer, originals, pressure)
        return await self.schema.execute(query, variable_values=variables, context_value=context)

    async def run(self, query: str, viewer: Viewer = ANONYMOUS, **variables: Any) -> Any:
        """The data of an operation that must not fail."""
        result = await self.post(query, viewer, **variables)
        assert result.errors is None, result.errors
        return result.data


@pytest.fixture
async def library(dev_keys: DevKeys) -> AsyncIterator[Library]:
    storage = StorageSettings(endpoint="http://127.0.0.1:1", access_key="nobody", secret_key="calls-this")  # type: ignore[arg-type]
    object_store = ObjectStore(storage)
    database = in_memory_database()
    stores = bind_stores(database)
    recording = RecordingCollection(database.media)
    stores.media._reads = recording
    delivery = CountingDelivery(dev_delivery(dev_keys, "http://edge.test"))
    yield Library(Runtime(Settings(), database, stores, object_store, Metrics()), delivery, recording)
    await object_store.close()


@pytest.fixture
async def issuer() -> AsyncIterator[IssuerStand]:
    """On loopback, with one key published."""
    async with issuing() as stand:
        stand.keys = [jwk(EC_KEY, "one", "ES256")]
        yield stand
