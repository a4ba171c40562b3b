"""Compiled operations answer as graphql-core's executor does: byte for byte, over random operations and documents."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from resolvers.api import build_schema
from schema.annotations import encode_cursor as encode_annotation_cursor
from schema.context import Context
from schema.cursors import encode_cursor
from service import presigning, upload_sessions
from service.access import ANONYMOUS, MODERATOR_ROLE, Viewer
from service.backpressure import Backpressure
from service.change_feed import ChangeFeed
from service.delivery import Delivery, SignedUrl
from service.dev.environment import dev_delivery
from service.dev.keys import DevKeys
from service.object_store import ObjectStore
from service.original_access import OriginalAccess
from service.runtime import Runtime
from service.settings import Settings, StorageSettings
from service.stores import bind_stores
from service.telemetry import Metrics
from tests.argument_generator import SCALARS, Vocabulary
from tests.documents import MOMENT
from tests.in_memory import in_memory_database
from tests.operation_generator import Shape, operations
from tests.random_media import ANNOTATION_GLOBAL_IDS, MEDIA_IDS, Stored, annotation, global_ids, stored_documents
from tests.two_roads import RecordingCollection, TwoRoads, examples

VIEWERS = (ANONYMOUS, Viewer("anna"), Viewer("stranger"), Viewer("mod", frozenset({MODERATOR_ROLE})))

_ANY_ID = (
    *global_ids("Media") * 3, *global_ids("Upload"), *global_ids("Deletion"), *ANNOTATION_GLOBAL_IDS * 2, "rubbish"
)  # fmt: skip
_CURSORS = (*map(encode_cursor, MEDIA_IDS), "rubbish")
_ANNOTATION_CURSORS = (encode_annotation_cursor(annotation(0)), encode_annotation_cursor(annotation(2)), "")  # type: ignore[arg-type]
VOCABULARY = Vocabulary(
    named={
        "id": st.sampled_from(_ANY_ID),
        "ids": st.sampled_from(_ANY_ID),
        "media.id": st.sampled_from([*global_ids("Media"), "rubbish"]),
        "upload.id": st.sampled_from(global_ids("Upload")),
        "deletion.id": st.sampled_from(global_ids("Deletion")),
        "status": st.sampled_from(["READY"] * 3 + ["PROCESSING"]),
        "captureId": st.just("walk"),
        "albumId": st.just("summer"),
        "kind": st.sampled_from(["IMAGE"] * 4 + ["VIDEO"]),
        "createdBefore": st.just("2030-01-01T00:00:00Z"),
        "createdAfter": st.sampled_from(["1960-01-01T00:00:00Z", "2020-01-31T23:59:59.5+02:00"]),
        "first": st.sampled_from([20, 1, 2, 3] * 4 + [0, 101]),
        "after": st.sampled_from(_CURSORS),
        "annotations.after": st.sampled_from(_ANNOTATION_CURSORS),
        "purpose": st.sampled_from(["COMMUNITY"] * 5 + ["MEDICAL", "PROFILE"]),
        "ownerId": st.sampled_from(["anna", "bert"]),
        "tags": st.sampled_from(["cat", "garden"]),
        "label": st.sampled_from(["cat", "near-duplicate"]),
        "width": st.integers(1, 1500),
        "sha256": st.sampled_from(["a" * 64, "b" * 64]),
    },
    scalars={
        **SCALARS,
        "DateTime": st.sampled_from(["2026-03-01T12:00:00Z", "2020-01-31T23:59:59.5+02:00"]),
        "ByteSize": st.integers(0, 2**53 - 1),
        "SHA256": st.just("a" * 64),
        "PerceptualHash": st.just("f" * 16),
        "URL": st.just("https://example.org/x"),
    },
)
SHAPE = Shape(
    favoured=frozenset({"feed", "mediaList", "nodes", "edges", "node", "media", "upload", "display", "renditions"})
)


class NotingDelivery(Delivery):
    """Signs at one moment, and notes in `calls` what."""

    calls: list[str]

    def sign(self, media: Any, rendition: Any, *, together: bool) -> SignedUrl:
        self.calls.append(f"sign {media['_id']} {rendition!r} {together}")
        return super().sign(media, rendition, together=together)

    def original_url(self, **asked: Any) -> SignedUrl:
        self.calls.append(f"sign {asked!r}")
        return super().original_url(**asked)


class SilentStorage(ObjectStore):
    """Storage that holds nothing, known without asking."""

    async def head(self, bucket: str, key: str) -> None:
        return None


class _At(datetime):
    @classmethod
    def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
        return MOMENT + timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Stand:
    """The service's schema on both roads, over a database in memory."""

    runner: asyncio.Runner
    runtime: Runtime
    delivery: NotingDelivery
    roads: TwoRoads

    def compare(self, generated: Any, stored: Stored, viewers: Any = VIEWERS) -> list[Any]:
        """Run for each viewer; the journeys, None where the document was refused."""
        return self.runner.run(self._compare(generated, stored, viewers))

    async def _compare(self, generated: Any, stored: Stored, viewers: Any) -> list[Any]:
        database = in_memory_database()
        for name in ("media", "uploads", "deletions"):
            if documents := getattr(stored, name):
                await getattr(database, name).insert_many(documents)

        def make_context(viewer: Viewer, calls: list[str]) -> Context:
            names = ("media", "media_reads", "uploads", "contents", "deletions")
            watched = {name: RecordingCollection(getattr(database, name), name, calls) for name in names}
            recorded = replace(database, **watched)  # type: ignore[arg-type]
            self.delivery.calls = calls
            runtime = replace(self.runtime, database=recorded, stores=bind_stores(recorded))
            originals = OriginalAccess(runtime.stores.audit)
            pressure = Backpressure(runtime.settings.limits, runtime.stores.job_inspection.waiting_s)
            return Context(runtime, self.delivery, ChangeFeed(recorded), viewer, originals, pressure)

        return [
            await self.roads.compare(generated, lambda calls, viewer=viewer: make_context(viewer, calls))
            for viewer in viewers
        ]


@pytest.fixture
def stand(dev_keys: DevKeys, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    monkeypatch.setattr(presigning, "datetime", _At)
    monkeypatch.setattr(upload_sessions, "datetime", _At)
    storage = SilentStorage(
        StorageSettings(endpoint="http://127.0.0.1:1", access_key="nobody", secret_key="calls-this")  # type: ignore[arg-type]
    )
    database = in_memory_database()
    runtime = Runtime(Settings(), database, bind_stores(database), storage, Metrics())
    delivery = NotingDelivery(dev_delivery(dev_keys, "http://edge.test"), clock=MOMENT.timestamp)
    with asyncio.Runner() as runner, structlog.contextvars.bound_contextvars(request_id="r1"):
        yield Stand(runner, runtime, delivery, TwoRoads(build_schema()))
        runner.run(storage.close())


def test_random_queries_over_random_media(stand: Stand) -> None:
    @examples(70)
    @given(operations(stand.roads.schema._schema, VOCABULARY, SHAPE), stored_documents())
    def agree(generated: Any, stored: Stored) -> None:
        stand.compare(generated, stored)

    agree()
    assert stand.roads.answers["refused"] == 0, stand.roads.answers
    assert stand.roads.compiled_share > 0.8, stand.roads.roads


def test_introspection_among_other_fields(stand: Stand) -> None:
    shape = Shape(depth=4, fields=12, introspection=True)

    @examples(20)
    @given(operations(stand.roads.schema._schema, VOCABULARY, shape), stored_documents())
    def agree(generated: Any, stored: Stored) -> None:
        stand.compare(generated, stored, VIEWERS[:1])

    agree()
