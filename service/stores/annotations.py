"""Annotations, as far as they are embedded in `media`: replaced by their source, found by their id."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from service.documents import AnnotationDocument, MediaDocument
from service.lifecycle import MediaStatus
from service.perceptual_hash import LEAST_STORED
from service.stores.database import Database
from service.stores.expressions import NOW, REVISION
from service.stores.restriction import restrict

# What a media document holds at most.
MAX_EMBEDDED: Final = 100

_EXISTING: Final[Mapping[str, Any]] = {"$ifNull": ["$annotations", []]}


class AnnotationStore:
    def __init__(self, database: Database) -> None:
        self._media = database.media

    async def replace_model(
        self, media_id: UUID, model: str, annotations: Sequence[AnnotationDocument], *, revision: int
    ) -> bool:
        """Let `annotations` take the place of all that any version of `model` has said of a media.

        Written only while the media is READY and in that revision; otherwise False. People's annotations stay; of the
        models' the most confident stay, as many as there is room for.
        """
        fresh = [{"$mergeObjects": [{"$literal": dict(each)}, {"created_at": NOW}]} for each in annotations]
        others = _where({"$ne": [_beginning(f"model:{model}@"), f"model:{model}@"]}, _EXISTING)
        people = _where({"$ne": [_beginning("model:"), "model:"]}, "$annotations")
        models = _where({"$eq": [_beginning("model:"), "model:"]}, "$annotations")
        room = {"$max": [{"$subtract": [MAX_EMBEDDED, {"$size": people}]}, 0]}
        # $slice takes no 0.
        chosen = {"$cond": [{"$gt": [room, 0]}, {"$slice": [_most_confident(models), {"$max": [room, 1]}]}, []]}
        written = await self._media.update_one(
            {
                "_id": media_id,
                "status": MediaStatus.READY.value,
                "$expr": {"$eq": [REVISION, revision]},
            },
            [
                {"$set": {"annotations": {"$concatArrays": [others, fresh]}}},
                {"$set": {"annotations": {"$concatArrays": [people, chosen]}}},
            ],
        )
        return bool(written.matched_count)

    async def find_holders(
        self, annotation_ids: Collection[UUID], *, access: Sequence[Mapping[str, Any]]
    ) -> list[MediaDocument]:
        """The media that have one of these annotations and that `access` lets through: their annotations and owners."""
        query = restrict({"annotations.id": {"$in": sorted(set(annotation_ids))}}, access)
        if query is None:
            return []
        fields = {"annotations": 1, "owner_id": 1, "status": 1, "visibility": 1}
        cursor = self._media.find(query, fields).hint("annotation")
        documents: list[MediaDocument] = await cursor.to_list(len(annotation_ids))
        return documents

    async def newest_hashes(self, owner_id: str, *, limit: int) -> dict[UUID, int]:
        """Perceptual hashes, as they are stored, of the newest READY media of one owner; from the index alone."""
        query = {"owner_id": owner_id, "status": MediaStatus.READY.value, "hashes.phash": {"$gte": LEAST_STORED}}
        cursor = self._media.find(query, {"hashes.phash": 1}).sort("_id", -1).limit(limit).hint("owner_hashes")
        return {document["_id"]: document["hashes"]["phash"] for document in await cursor.to_list(limit)}


def _beginning(prefix: str) -> Mapping[str, Any]:
    return {"$substrCP": ["$$each.source", 0, len(prefix)]}


def _where(condition: Mapping[str, Any], annotations: Any) -> Mapping[str, Any]:
    return {"$filter": {"input": annotations, "as": "each", "cond": condition}}


def _most_confident(annotations: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"$sortArray": {"input": annotations, "sortBy": {"confidence": -1, "id": 1}}}
