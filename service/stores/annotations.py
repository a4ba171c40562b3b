"""What a media's document says of its annotations: written by compare-and-set on a mark, found by their ids."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from service.annotation_layout import Contents
from service.audit import Note
from service.documents import MediaDocument
from service.lifecycle import MediaStatus
from service.stores.audit_outbox import noted
from service.stores.database import Database
from service.stores.expressions import REVISION, literals
from service.stores.restriction import restrict


class AnnotationStore:
    """`tell` is called with the id of each media that was written to, before its writer goes on."""

    def __init__(self, database: Database, *, tell: Callable[[UUID], None]) -> None:
        self._media = database.media
        self._tell = tell

    async def write(
        self,
        media_id: UUID,
        contents: Contents | None,
        *,
        mark: Mapping[str, str],
        replacing: Mapping[str, str] | None,
        revision: int | None = None,
        note: Note | None = None,
    ) -> bool:
        """Let the media say `contents`, leave `mark` and have `note` on record; False if nothing was written.

        Refused if the media is DELETED, or if its last write left another mark than `replacing` (None: none yet); where
        a `revision` is given also unless the media is READY and in that one. A mark's `id` is never used twice. Without
        `contents` nothing but the mark is written.
        """
        query: dict[str, Any] = {
            "_id": media_id,
            "status": {"$ne": MediaStatus.DELETED.value},
            "last_annotating.id": {"$exists": False} if replacing is None else replacing["id"],
        }
        if revision is not None:
            query |= {"status": MediaStatus.READY.value, "$expr": {"$eq": [REVISION, revision]}}
        values: dict[str, Any] = {"last_annotating": dict(mark)}
        gone = []
        if contents is not None:
            kept, left = (
                ("annotation_segments", "annotations") if contents.segments else ("annotations", "annotation_segments")
            )
            values |= {
                kept: contents.segments or contents.embedded,
                "annotation_count": contents.count,
                "labels": contents.labels,
            }
            gone = [left]
        on_record = (
            {}
            if note is None
            else noted(f"annotations:{mark['id']}", note.action, actor=note.actor, details=note.details)
        )
        update: list[dict[str, Any]] = [
            {"$set": {**literals(values), **on_record}},
            *({"$unset": each} for each in gone),
        ]
        written = await self._media.update_one(query, update)
        if written.matched_count:
            self._tell(media_id)
        return bool(written.matched_count)

    async def find_holders(
        self, annotation_ids: Collection[UUID], *, access: Sequence[Mapping[str, Any]]
    ) -> list[MediaDocument]:
        """The media that have one of these annotations in their documents and that `access` lets through: of
        their annotations these alone, and their owners.
        """
        ids = sorted(set(annotation_ids))
        query = restrict({"annotations.id": {"$in": ids}}, access)
        if query is None:
            return []
        # The others may have megabytes of texts.
        asked = {"$filter": {"input": "$annotations", "cond": {"$in": ["$$this.id", ids]}}}
        fields = {"annotations": asked, "owner_id": 1, "status": 1, "visibility": 1}
        cursor = self._media.aggregate([{"$match": query}, {"$project": fields}], hint="annotation")
        documents: list[MediaDocument] = await cursor.to_list(len(annotation_ids))
        return documents
