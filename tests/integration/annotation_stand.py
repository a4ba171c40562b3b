"""Annotations on a real database: the executable schema over it, and what is really stored."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import strawberry

from indexes.ensure import ensure
from resolvers.api import build_schema
from schema.context import Context
from schema.global_id import decode_id, encode_id
from service.access import MODERATOR_ROLE, SERVICE_ROLE, Viewer
from service.annotation_layout import MAX_EMBEDDED
from service.annotation_writes import replace_annotations
from service.backpressure import Backpressure
from service.change_feed import ChangeFeed
from service.documents import AnnotationDocument, MediaDocument
from service.labels import summarise
from service.runtime import Runtime, open_runtime
from service.settings import Settings
from service.stores import Stores
from service.telemetry import Metrics
from tests.documents import ready_media

ANNA, BERT = Viewer("anna"), Viewer("bert")
MODERATOR = Viewer("mod", frozenset({MODERATOR_ROLE}))
MODEL = Viewer("model-runner", frozenset({SERVICE_ROLE}))
DETECTOR = "model:detector@1"

ANNOTATE = """mutation ($input: AnnotateMediaInput!) { annotateMedia(input: $input) {
  media { id } annotations { id label confidence text source createdAt boundingBox { x y width height } }
  userErrors { code message field retryable } } }"""
DELETE = """mutation ($input: DeleteAnnotationsInput!) { deleteAnnotations(input: $input) {
  deletedIds userErrors { code message field retryable } } }"""
PAGE = """query ($id: ID!, $label: String, $min: Float, $source: String, $first: Int, $after: String) {
  media(id: $id) { annotations(label: $label, minConfidence: $min, source: $source, first: $first, after: $after) {
    edges { cursor node { id label confidence text source } } pageInfo { hasNextPage hasPreviousPage endCursor }
} } }"""

_keys = itertools.count()


def said(*labels: str, confidence: float = 0.5) -> list[dict[str, Any]]:
    """Annotations as a client gives them."""
    return [{"label": label, "confidence": confidence} for label in labels]


def many(count: int, label: str = "thing") -> list[dict[str, Any]]:
    """As many annotations of one label, of different confidences, some of which are equal."""
    return [{"label": label, "confidence": (index * 7 % 50) / 50} for index in range(count)]


@dataclass
class AnnotationStand:
    runtime: Runtime
    schema: strawberry.Schema = field(default_factory=build_schema)

    @property
    def stores(self) -> Stores:
        return self.runtime.stores

    async def add(self, **changed: Any) -> UUID:
        """A READY media of Anna's."""
        document = ready_media(**changed)
        await self.runtime.database.media.insert_one(document)
        return document["_id"]

    async def post(self, query: str, viewer: Viewer, **variables: Any) -> Any:
        """The whole result of an operation."""
        pressure = Backpressure(self.runtime.settings.limits, self.runtime.stores.job_inspection.waiting_s)
        feed = ChangeFeed(self.runtime.database)
        context = Context(self.runtime, None, feed, viewer, None, pressure)  # type: ignore[arg-type]
        return await self.schema.execute(query, variable_values=variables, context_value=context)

    async def run(self, query: str, viewer: Viewer, **variables: Any) -> Any:
        """The data of an operation that must not fail."""
        result = await self.post(query, viewer, **variables)
        assert result.errors is None, result.errors
        return result.data

    async def annotate(self, viewer: Viewer, media_id: UUID, *, key: str | None = None, **given: Any) -> dict[str, Any]:
        """The payload of annotateMedia, with a key of its own unless one is given."""
        asked = {
            "idempotencyKey": key or f"key-{next(_keys)}",
            "mediaId": encode_id("Media", media_id),
            "source": f"user:{viewer.id}",
            "annotations": [],
            **given,
        }
        payload: dict[str, Any] = (await self.run(ANNOTATE, viewer, input=asked))["annotateMedia"]
        return payload

    async def take_back(self, viewer: Viewer, ids: Sequence[str], *, key: str | None = None) -> dict[str, Any]:
        """The payload of deleteAnnotations."""
        asked = {"idempotencyKey": key or f"key-{next(_keys)}", "ids": list(ids)}
        payload: dict[str, Any] = (await self.run(DELETE, viewer, input=asked))["deleteAnnotations"]
        return payload

    async def say(self, media_id: UUID, source: str, *labels: str, confidence: float = 0.5) -> list[UUID]:
        """Have a source say these labels and nothing else, as a job does; the ids."""
        fresh = [
            AnnotationDocument(
                id=uuid4(), label=label, confidence=confidence, bounding_box=None, text=None, source=source
            )
            for label in labels
        ]
        assert await replace_annotations(media_id, source.__eq__, fresh, stores=self.stores)
        return [each["id"] for each in fresh]

    async def listed(self, viewer: Viewer, media_id: UUID, *, first: int = 100, **wanted: Any) -> list[dict[str, Any]]:
        """All annotations that the viewer is shown, page by page."""
        edges: list[dict[str, Any]] = []
        while True:
            page = await self.page(viewer, media_id, first=first, **wanted)
            edges += page["edges"]
            if not page["pageInfo"]["hasNextPage"]:
                return [edge["node"] for edge in edges]
            assert page["edges"][-1]["cursor"] == page["pageInfo"]["endCursor"]
            wanted["after"] = page["pageInfo"]["endCursor"]

    async def page(self, viewer: Viewer, media_id: UUID, **wanted: Any) -> dict[str, Any]:
        """One page of annotations."""
        data = await self.run(PAGE, viewer, id=encode_id("Media", media_id), **wanted)
        page: dict[str, Any] = data["media"]["annotations"]
        return page

    async def media(self, media_id: UUID) -> MediaDocument:
        """The stored document."""
        document: MediaDocument | None = await self.runtime.database.media.find_one({"_id": media_id})
        assert document is not None
        return document

    async def is_moved(self, media_id: UUID) -> bool:
        return bool((await self.media(media_id)).get("annotation_segments"))

    async def assert_sound(self, media_id: UUID) -> set[UUID]:
        """That what the document says is what there is, and nothing else is left; the ids of all annotations."""
        media, database = await self.media(media_id), self.runtime.database
        assert await database.annotation_rounds.count_documents({"media_id": media_id}) == 0
        rows = await database.annotations.find({"media_id": media_id}).to_list(None)
        segments = {each["id"]: each for each in media.get("annotation_segments", [])}
        counted = Counter(row["segment"] for row in rows)
        assert counted == {segment_id: each["count"] for segment_id, each in segments.items()}
        assert all(row["source"] == segments[row["segment"]]["source"] for row in rows)
        assert not (segments and media.get("annotations"))
        held: list[Any] = [{**row, "id": row["annotation_id"]} for row in rows] or media.get("annotations", [])
        assert len(segments) > 0 or len(held) <= MAX_EMBEDDED
        assert media.get("annotation_count", 0) == len(held)
        assert media.get("labels", []) == summarise(held)
        ids = [each["id"] for each in held]
        assert len(ids) == len(set(ids))
        return set(ids)


@asynccontextmanager
async def annotation_stand(settings: Settings) -> AsyncIterator[AnnotationStand]:
    """A stand on the database of these settings, with its indexes."""
    async with open_runtime(settings, Metrics()) as runtime:
        await ensure(runtime.database.handle)
        yield AnnotationStand(runtime)


def uuid_of(global_id: str) -> UUID:
    decoded = decode_id(global_id)
    assert decoded is not None
    return decoded[1]
