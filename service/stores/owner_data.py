"""What there is of one owner, and taking their name off what stays."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from datetime import datetime
from typing import Final
from uuid import UUID

from service.documents import MediaDocument
from service.lifecycle import MediaStatus
from service.models import DeletionStage, Visibility
from service.stores.database import Database
from service.stores.deletions import DeletionDocument
from service.stores.media_reads import Projection, projection

_PAGE: Final = 500
_VISIBILITIES: Final = {"$in": sorted(visibility.value for visibility in Visibility)}
_LIVE: Final = {"$in": sorted(status.value for status in MediaStatus if status is not MediaStatus.DELETED)}


class OwnerDataStore:
    def __init__(self, database: Database) -> None:
        self._media = database.media
        self._uploads = database.uploads
        self._deletions = database.deletions

    async def live_media(self, owner_id: str, *, limit: int, fields: Projection) -> list[MediaDocument]:
        """Up to `limit` media of an owner that are not DELETED."""
        query = {"owner_id": owner_id, "status": _LIVE, "visibility": _VISIBILITIES}
        cursor = self._media.find(query, projection(fields)).hint("owner_newest").limit(limit)
        documents: list[MediaDocument] = await cursor.to_list(limit)
        return documents

    async def count_media(self, owner_id: str) -> dict[str, int]:
        """The number of media of an owner in each status."""
        match = {"$match": {"owner_id": owner_id, "status": {"$gt": ""}}}
        group = {"$group": {"_id": "$status", "count": {"$sum": 1}}}
        rows = await self._media.aggregate([match, group], hint="owner_newest").to_list(None)
        return {row["_id"]: row["count"] for row in sorted(rows, key=lambda row: str(row["_id"]))}

    async def annotated_by(self, source: str, *, limit: int) -> list[MediaDocument]:
        """Up to `limit` media, not DELETED, that have annotations by a source, which must be a person."""
        found: dict[UUID, MediaDocument] = {}
        for path, index in (("annotations.source", "annotators"), ("annotation_segments.source", "segment_annotators")):
            query = {path: source, "status": _LIVE}
            async for media in self._media.find(query, projection(())).hint(index).limit(limit):
                found[media["_id"]] = media
        return list(found.values())[:limit]

    async def count_deletions(self, owner_id: str) -> dict[str, int]:
        """The number of deletions of an owner's media in each stage."""
        match = {"$match": {"owner_id": owner_id, "stage": {"$gt": ""}}}
        group = {"$group": {"_id": "$stage", "count": {"$sum": 1}}}
        rows = await self._deletions.aggregate([match, group], hint="of_owner").to_list(None)
        return {row["_id"]: row["count"] for row in sorted(rows, key=lambda row: str(row["_id"]))}

    async def blocked_deletions(self, owner_id: str, *, limit: int) -> list[DeletionDocument]:
        """Up to `limit` deletions of an owner's media that wait because these are kept."""
        query = {"owner_id": owner_id, "stage": DeletionStage.BLOCKED_BY_RETENTION.value}
        documents: list[DeletionDocument] = (
            await self._deletions.find(query).hint("of_owner").limit(limit).to_list(limit)
        )
        return documents

    async def verifiable_from(self, owner_id: str) -> datetime | None:
        """Before then the last of the deletions of an owner's media cannot be verified; None if none says when."""
        query = {"owner_id": owner_id, "due_at": {"$type": "date"}}
        last = await self._deletions.find_one(query, {"due_at": 1}, sort=[("due_at", -1)], hint="of_owner")
        return None if last is None else last["due_at"]

    async def sum_up(self, names: Collection[str]) -> tuple[int, str]:
        """How many deletions there are under these names, and the SHA-256 (hex) of all their certificates.

        Over the certificates in hex, sorted, one a line.
        """
        cursor = self._deletions.find({"owner_id": {"$in": sorted(names)}}, {"certificate": 1}).hint("of_owner")
        certificates = sorted([each.get("certificate", "") async for each in cursor])
        return len(certificates), hashlib.sha256("".join(f"{each}\n" for each in certificates).encode()).hexdigest()

    async def rename_decisions(self, name: str, pseudonym: str) -> None:
        """Let a pseudonym stand where somebody had others' media deleted, or decided about them as a moderator."""
        await self._deletions.update_many(
            {"requested_by": name}, {"$set": {"requested_by": pseudonym}}, hint="requested_by"
        )
        await self._media.update_many(
            {"moderation.by": name},
            {"$set": {"moderation.$[each].by": pseudonym}, "$unset": {"moderation.$[each].record": ""}},
            array_filters=[{"each.by": name}],
            hint="moderated_by",
        )

    async def rename(self, owner_id: str, pseudonym: str) -> None:
        """Let a pseudonym stand for the owner of what is kept of deleted media: that they were there, and went.

        Media last: by them the rest is found, should this be interrupted.
        """
        query = {"owner_id": owner_id, "status": MediaStatus.DELETED.value, "visibility": _VISIBILITIES}
        named = {"$set": {"owner_id": pseudonym}}
        while page := await self._media.find(query, {"_id": 1}).hint("owner_newest").limit(_PAGE).to_list(_PAGE):
            ids = {"$in": [media["_id"] for media in page]}
            await self._uploads.update_many({"_id": ids}, named)
            await self._deletions.update_many({"_id": ids}, named)
            await self._media.update_many({"_id": ids, "status": MediaStatus.DELETED.value}, named)
