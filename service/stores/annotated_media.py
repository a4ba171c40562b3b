"""Media with annotations in the order of their ids, however few there are among all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from service.documents import MediaDocument
from service.lifecycle import MediaStatus
from service.stores.database import Database

# One operation reads no more documents than this, so that it keeps its deadline where nothing matches for long.
_WINDOW: Final = 10_000
_PAGE: Final = 200


class AnnotatedMediaScan:
    def __init__(self, database: Database) -> None:
        self._media = database.media

    async def media(
        self, query: Mapping[str, Any], labels: Collection[str], *, fields: Sequence[str]
    ) -> AsyncIterator[MediaDocument]:
        """READY media that match and have annotations, with one of `labels` if any are given."""
        query = {"$and": [query, _annotated(labels)]}
        after: UUID | None = None
        while True:
            until = await self._end_of_window(after)
            async for media in self._within(after, until, query, fields):
                yield media
            if until is None:
                return
            after = until

    async def _end_of_window(self, after: UUID | None) -> UUID | None:
        """The last id of the next window; None if it is the last one."""
        query = {} if after is None else {"_id": {"$gt": after}}
        cursor = self._media.find(query, {"_id": 1}).sort("_id", 1).hint([("_id", 1)]).skip(_WINDOW - 1).limit(1)
        found: list[MediaDocument] = await cursor.to_list(1)
        return found[0]["_id"] if found else None

    async def _within(
        self, after: UUID | None, until: UUID | None, query: Mapping[str, Any], fields: Sequence[str]
    ) -> AsyncIterator[MediaDocument]:
        while True:
            bounds = {"$gt": after, "$lte": until}
            span = {operator: value for operator, value in bounds.items() if value is not None}
            found = self._media.find({**query, **({"_id": span} if span else {})}, dict.fromkeys(fields, 1))
            page: list[MediaDocument] = await found.sort("_id", 1).limit(_PAGE).hint([("_id", 1)]).to_list(_PAGE)
            for media in page:
                yield media
            if len(page) < _PAGE:
                return
            after = page[-1]["_id"]


def _annotated(labels: Collection[str]) -> dict[str, Any]:
    held = {"$or": [{"annotations.0": {"$exists": True}}, {"annotation_segments.0": {"$exists": True}}]}
    conditions: list[dict[str, Any]] = [{"status": MediaStatus.READY.value}, held]
    if labels:
        # Documents of earlier releases have no summary.
        summary = [{"labels.label": {"$in": sorted(labels)}}, {"labels": {"$exists": False}}]
        conditions.append({"$or": summary})
    return {"$and": conditions}
