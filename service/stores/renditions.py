"""The renditions that a READY media lists: replaced under the fence of a rendering job, the old ones kept until due."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from pymongo import ReturnDocument

from service.audit import SERVICE_ACTOR, AuditAction
from service.documents import MediaDocument, RenditionDocument
from service.lifecycle import MediaStatus
from service.stores.audit_outbox import noted
from service.stores.database import Database
from service.stores.expressions import NEXT_LOOK, NOW, RETIRED, REVISION, after_now, literals
from service.stores.media_reads import Projection, projection

_DUE_NOW = {"$map": {"input": RETIRED, "in": {"key": "$$this.key", "due_at": NOW}}}
_RENDERED_ONCE_MORE = {"$add": [{"$ifNull": ["$processing.renders", 0]}, 1]}


class RenditionStore:
    def __init__(self, database: Database) -> None:
        self._media = database.media

    async def hold(self, media_id: UUID, fence: int, *, fields: Projection) -> MediaDocument | None:
        """Take a READY media under `fence`, and read it; None if a later claim has it or it is not READY."""
        document: MediaDocument | None = await self._media.find_one_and_update(
            {
                "_id": media_id,
                "status": MediaStatus.READY.value,
                "processing.render_fence": {"$not": {"$gt": fence}},
            },
            [{"$set": {"processing.render_fence": fence, "processing.rendering_revision": REVISION}}],
            projection=projection(fields),
            return_document=ReturnDocument.AFTER,
        )
        return document

    async def replace(
        self,
        media: MediaDocument,
        renditions: Sequence[RenditionDocument],
        *,
        fence: int,
        retire_after: timedelta,
        values: Mapping[str, Any],
    ) -> bool:
        """List `renditions` and write `values` in one; False if a later claim has it, it was revised, or is not READY.

        Those that `media` listed and now are not fall due `retire_after` from now, in server time: until then addresses
        of them are about. With no time at all, all that were replaced earlier fall due as well.
        """
        revision = media.get("processing", {}).get("revision", 0)
        kept = {rendition["key"] for rendition in renditions}
        due_at = after_now(retire_after.total_seconds())
        due = [
            {"key": {"$literal": each["key"]}, "due_at": due_at}
            for each in media.get("renditions", [])
            if each["key"] not in kept
        ]
        earlier = RETIRED if retire_after else _DUE_NOW
        # The first ones of a media are part of its being processed.
        on_record = _replacement(media["_id"], fence, listed=len(renditions), replaced=len(due)) if due else {}
        replaced = await self._media.update_one(
            {
                "_id": media["_id"],
                "status": MediaStatus.READY.value,
                "original.key": media["original"]["key"],
                "processing.render_fence": fence,
                "$expr": {"$eq": [REVISION, revision]},
            },
            [
                {
                    "$set": {
                        **literals({**values, "renditions": list(renditions)}),
                        "processing.renders": _RENDERED_ONCE_MORE,
                        # Until now, addresses of the replaced ones were given out.
                        "processing.replaced_at": NOW,
                        "retired_renditions": {"$concatArrays": [earlier, due]},
                        **on_record,
                    }
                },
                {"$set": {"waiting_since": NEXT_LOOK}},
            ],
        )
        return bool(replaced.matched_count)

    async def leave(self, media_id: UUID, fence: int) -> None:
        """Let a READY media be with the renditions it has, in the revision for which others could not be made.

        A later revision is another matter, and so is one that is made for others than may see it: the sweeper comes
        back to it until that is mended.
        """
        made_for = {"$ifNull": ["$processing.made_for", "$visibility"]}
        await self._media.update_one(
            {
                "_id": media_id,
                "status": MediaStatus.READY.value,
                "processing.render_fence": {"$not": {"$gt": fence}},
            },
            [
                {
                    "$set": {
                        "processing.rendered_revision": {
                            "$cond": [
                                {"$eq": [made_for, "$visibility"]},
                                "$processing.rendering_revision",
                                "$processing.rendered_revision",
                            ]
                        },
                        "processing.complete": True,
                        "processing.renders": _RENDERED_ONCE_MORE,
                    }
                },
                {"$set": {"waiting_since": NEXT_LOOK}},
            ],
        )

    async def forget_retired(self, media_id: UUID, keys: Sequence[str]) -> None:
        """Take `keys` off the replaced renditions that are still to be removed."""
        left = {"$filter": {"input": RETIRED, "cond": {"$not": [{"$in": ["$$this.key", {"$literal": list(keys)}]}]}}}
        await self._media.update_one(
            {"_id": media_id, "retired_renditions": {"$exists": True}},
            [
                {
                    "$set": {
                        "retired_renditions": left,
                        "processing.retirements": {"$add": [{"$ifNull": ["$processing.retirements", 0]}, 1]},
                    }
                },
                {
                    "$set": {
                        "waiting_since": {
                            "$cond": [{"$eq": ["$status", MediaStatus.READY.value]}, NEXT_LOOK, "$waiting_since"]
                        }
                    }
                },
            ],
        )

    async def forget_quarantined(self, media_id: UUID, sequence: int) -> None:
        """A media that is QUARANTINED since `sequence` has no renditions left in storage, listed or replaced."""
        await self._media.update_one(
            {"_id": media_id, "status": MediaStatus.QUARANTINED.value, "status_sequence": sequence},
            {"$set": {"renditions": []}, "$unset": {"retired_renditions": ""}},
        )

    async def secret_of(self, media_id: UUID) -> str | None:
        """What the keys of a media are made with that nobody is given; always the same. None for an unknown media."""
        fresh = {"$ifNull": ["$kept_under", secrets.token_hex(16)]}
        document = await self._media.find_one_and_update(
            {"_id": media_id},
            [{"$set": {"kept_under": fresh}}],
            projection={"kept_under": 1},
            return_document=ReturnDocument.AFTER,
        )
        return None if document is None else str(document["kept_under"])

    async def expect_kept(self, media_id: UUID, places: Mapping[str, str]) -> None:
        """What was replaced and lies under one of `places` is about to be kept under its value as well: both go when
        it falls due.
        """
        known = {"$map": {"input": RETIRED, "in": "$$this.key"}}
        added = [
            {
                "$map": {
                    "input": {"$filter": {"input": RETIRED, "cond": {"$eq": ["$$this.key", {"$literal": key}]}}},
                    "in": {"key": {"$literal": place}, "due_at": "$$this.due_at"},
                }
            }
            for key, place in places.items()
        ]
        new = {"$filter": {"input": {"$concatArrays": added}, "cond": {"$not": [{"$in": ["$$this.key", known]}]}}}
        await self._media.update_one(
            {"_id": media_id, "retired_renditions.key": {"$in": list(places)}},
            [{"$set": {"retired_renditions": {"$concatArrays": [RETIRED, new]}}}],
        )

    async def list_kept(self, media_id: UUID, places: Mapping[str, str]) -> None:
        """Nothing lies under the keys of `places` any longer; what did is kept under their values."""
        gone = {"$literal": list(places)}
        place = {"$arrayElemAt": [{"$literal": list(places.values())}, {"$indexOfArray": [gone, "$$this.key"]}]}
        moved = {"$cond": [{"$in": ["$$this.key", gone]}, {"$mergeObjects": ["$$this", {"key": place}]}, "$$this"]}
        left = {"$filter": {"input": RETIRED, "cond": {"$not": [{"$in": ["$$this.key", gone]}]}}}
        of_media = {"_id": media_id}
        await self._media.update_one(
            {**of_media, "renditions.key": {"$in": list(places)}},
            [{"$set": {"renditions": {"$map": {"input": "$renditions", "in": moved}}}}],
        )
        await self._media.update_one(
            {**of_media, "retired_renditions.key": {"$in": list(places)}}, [{"$set": {"retired_renditions": left}}]
        )


def _replacement(media_id: UUID, fence: int, *, listed: int, replaced: int) -> Mapping[str, Any]:
    # No claim replaces them twice: afterwards none of those that it lists is replaced.
    entry_id, details = f"reprocessed:{media_id}:{fence}", {"renditions": listed, "replaced": replaced}
    return noted(entry_id, AuditAction.MEDIA_REPROCESSED, actor=SERVICE_ACTOR, details=details)
