"""Annotations that have moved out of their media's documents, and the writes of them that are under way.

Whether a row counts, the document of its media says: these are the rows alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid5

from pymongo import ReturnDocument

from service.annotation_places import last_place, place_of
from service.documents import (
    AnnotationDocument,
    AnnotationRoundDocument,
    AnnotationRowDocument,
    SegmentDocument,
)
from service.models import NEAR_DUPLICATE
from service.stores.database import Database

# A write that is refused as too long would be refused for ever.
_INSERTED_AT_ONCE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which annotations of a media are asked for. `details`: also those that tell of other media of the owner.

    `label` as it is stored (`service.labels.composed`).
    """

    label: str | None = None
    min_confidence: float | None = None
    source: str | None = None
    details: bool = True

    def admits(self, annotation: AnnotationDocument) -> bool:
        """Whether this is one of them."""
        return (
            (self.details or annotation["label"] != NEAR_DUPLICATE)
            and (self.label is None or annotation["label"] == self.label)
            and (self.min_confidence is None or annotation["confidence"] >= self.min_confidence)
            and (self.source is None or annotation["source"] == self.source)
        )

    @property
    def is_void(self) -> bool:
        """Whether it can be none, whatever there is."""
        return self.label == NEAR_DUPLICATE and not self.details

    def condition(self, after: bytes | None) -> dict[str, Any]:
        """The same for rows that come after a place, but for the source: that chooses the segments."""
        condition: dict[str, Any] = {}
        if self.label is not None:
            condition["label"] = self.label
        elif not self.details:
            condition["label"] = {"$ne": NEAR_DUPLICATE}
        span = {} if after is None else {"$gt": after}
        if self.min_confidence is not None and self.min_confidence > 0:
            span["$lte"] = last_place(self.min_confidence)
        return {**condition, "place": span} if span else condition


class AnnotationRowStore:
    def __init__(self, database: Database) -> None:
        self._rows = database.annotations
        self._reads = database.annotation_reads
        self._rounds = database.annotation_rounds

    async def begin(self, round_: AnnotationRoundDocument) -> None:
        """Note that a write begins: should it never `finish`, its rows are found by this."""
        await self._rounds.insert_one(round_)

    async def extend(self, round_id: UUID, segments: Collection[UUID]) -> bool:
        """Note more segments of a write that goes on; False if somebody clears up after it or has done so."""
        going_on = {"_id": round_id, "given_up": {"$exists": False}}
        noted = await self._rounds.update_one(going_on, {"$addToSet": {"segments": {"$each": sorted(segments)}}})
        return bool(noted.matched_count)

    async def give_up(self, round_id: UUID) -> AnnotationRoundDocument | None:
        """Have no write go on from what it has noted: what that is by now; None if the write has finished."""
        given_up: AnnotationRoundDocument | None = await self._rounds.find_one_and_update(
            {"_id": round_id}, {"$set": {"given_up": True}}, return_document=ReturnDocument.AFTER
        )
        return given_up

    async def finish(self, round_id: UUID) -> None:
        """Note that a write has left nothing behind."""
        await self._rounds.delete_one({"_id": round_id})

    async def unfinished(self, before: datetime, *, limit: int) -> list[AnnotationRoundDocument]:
        """Writes that began before a moment and have not finished, oldest first."""
        # The first 48 bits of a UUIDv7 are milliseconds since 1970 (RFC 9562, 5.7).
        bound = UUID(int=int(before.timestamp() * 1000) << 80)
        cursor = self._rounds.find({"_id": {"$lt": bound}}).sort("_id", 1).limit(limit)
        rounds: list[AnnotationRoundDocument] = await cursor.to_list(limit)
        return rounds

    async def insert(
        self, media_id: UUID, segments: Sequence[tuple[SegmentDocument, Sequence[AnnotationDocument]]]
    ) -> None:
        """Write the rows of new segments of a media."""
        rows = [_row(media_id, segment["id"], each) for segment, part in segments for each in part]
        for start in range(0, len(rows), _INSERTED_AT_ONCE):
            await self._rows.insert_many(rows[start : start + _INSERTED_AT_ONCE], ordered=False)

    async def remove(self, media_id: UUID, segments: Collection[UUID]) -> None:
        """Remove all rows of some segments of a media."""
        if segments:
            await self._rows.delete_many({"media_id": media_id, "segment": {"$in": sorted(segments)}}, hint="segment")

    async def remove_all(self, media_id: UUID) -> None:
        """Remove all rows of a media, those of no segment that it lists among them."""
        await self._rows.delete_many({"media_id": media_id})

    async def read(self, media_id: UUID, segments: Collection[UUID]) -> list[AnnotationDocument]:
        """All annotations in some segments of a media."""
        if not segments:
            return []
        cursor = self._rows.find({"media_id": media_id, "segment": {"$in": sorted(segments)}}).hint("segment")
        return [annotation_of_row(row) for row in await cursor.to_list(None)]

    async def strongest(self, media_id: UUID, segments: Collection[UUID]) -> dict[str, float]:
        """The greatest confidence of each label in some segments of a media."""
        if not segments:
            return {}
        pipeline: list[Mapping[str, Any]] = [
            {"$match": {"media_id": media_id, "segment": {"$in": sorted(segments)}}},
            {"$group": {"_id": "$label", "confidence": {"$max": "$confidence"}}},
        ]
        rows = await self._rows.aggregate(pipeline, hint="segment").to_list(None)
        return {row["_id"]: row["confidence"] for row in rows}

    async def page(
        self, media_id: UUID, segments: Collection[UUID], wanted: Wanted, *, after: bytes | None, limit: int
    ) -> list[AnnotationDocument]:
        """Up to `limit` annotations in these segments that are `wanted`, in order, from behind the place `after`."""
        if not segments or wanted.is_void:
            return []
        query = {"segment": {"$in": sorted(segments)}, **wanted.condition(after), "media_id": media_id}
        index = "segment" if wanted.label is None else "segment_label"
        cursor = self._reads.find(query).sort("place", 1).limit(limit).hint(index)
        return [annotation_of_row(row) for row in await cursor.to_list(limit)]

    async def find(
        self, annotation_ids: Collection[UUID], *, media_id: UUID | None = None
    ) -> list[AnnotationRowDocument]:
        """Every row of these annotations, also those that do not count; of one media, if that is given."""
        query: dict[str, Any] = {"annotation_id": {"$in": sorted(set(annotation_ids))}}
        if media_id is not None:
            query["media_id"] = media_id
        rows: list[AnnotationRowDocument] = await self._rows.find(query).hint("annotation").to_list(None)
        return rows


def _row(media_id: UUID, segment: UUID, annotation: AnnotationDocument) -> AnnotationRowDocument:
    return AnnotationRowDocument(
        _id=uuid5(segment, str(annotation["id"])),
        annotation_id=annotation["id"],
        media_id=media_id,
        segment=segment,
        place=place_of(annotation["confidence"], annotation["id"]),
        label=annotation["label"],
        confidence=annotation["confidence"],
        bounding_box=annotation["bounding_box"],
        text=annotation["text"],
        source=annotation["source"],
        created_at=annotation["created_at"],
    )


def annotation_of_row(row: AnnotationRowDocument) -> AnnotationDocument:
    """The same as it is embedded in a media's document while they are few."""
    return AnnotationDocument(
        id=row["annotation_id"],
        label=row["label"],
        confidence=row["confidence"],
        bounding_box=row["bounding_box"],
        text=row["text"],
        source=row["source"],
        created_at=row["created_at"],
    )
