"""The `media` collection: one document a media, whose status moves by compare-and-set only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pymongo import ReturnDocument, UpdateOne

from service.audit import AuditAction, Note
from service.documents import MediaDocument
from service.lifecycle import AWAITING_BYTES, TERMINAL, MediaStatus, sources_of
from service.models import MediaPurpose, StatusChange
from service.stores.audit_outbox import noted, noted_status
from service.stores.database import Database
from service.stores.event_outbox import change_noted, initiated, status_noted
from service.stores.expressions import (
    EMBEDDINGS_DUE,
    FIRST_VIEWABLE,
    NEXT_UPDATE,
    NOW,
    REVISION,
    Expression,
    insert_if_absent,
    literals,
)
from service.stores.media_reads import MediaReads, Projection, projection
from service.stores.status_notes import own_note

# What this release writes; service/migrations brings what earlier ones wrote to it.
SCHEMA_VERSION = 3

# So many media with the contents of one batch are looked at; an owner with more of them merely gets another.
MAX_SAME = 1_000

StatusCounter = Callable[[MediaStatus, MediaPurpose], None]


def _count_nothing(_status: MediaStatus, _purpose: MediaPurpose) -> None:
    return


def held_by(fence: int) -> Mapping[str, Any]:
    """A guard: only while the media is held by this claim."""
    return {"processing.fence": fence}


_AFTER_CHANGE = {"purpose": 1, "created_at": 1, "status_history": {"$slice": -1}}

# A READY media lacks most of its renditions at first; what was shown of a QUARANTINED one is looked for again.
_AT_REST = TERMINAL - {MediaStatus.READY, MediaStatus.QUARANTINED}


class MediaStore(MediaReads):
    """`count_status` is told of every status written and of the media's purpose, once per write.

    `notes_events`: what receivers are to be told of is noted by the writes themselves.
    """

    def __init__(
        self, database: Database, *, count_status: StatusCounter = _count_nothing, notes_events: bool = False
    ) -> None:
        super().__init__(database)
        self._media = database.media
        self._handle = database.handle
        self._count_status = count_status
        self._notes_events = notes_events
        self._written: list[Callable[[UUID], None]] = []

    def after_writes(self, callback: Callable[[UUID], None]) -> None:
        """Have `callback` called with the id of each media that this store has changed, before its caller goes on."""
        self._written.append(callback)

    def tell(self, media_id: UUID) -> None:
        """Say that a media was changed, for other stores that write to it."""
        for callback in self._written:
            callback(media_id)

    async def find_by_content(
        self, owner_id: str, sha256s: Collection[str], *, statuses: Collection[MediaStatus], fields: Projection
    ) -> list[MediaDocument]:
        """Media of one owner with one of these contents, in one of `statuses`, oldest first."""
        query = {
            "owner_id": owner_id,
            "content.sha256": {"$in": sorted(set(sha256s))},
            "status": {"$in": sorted(statuses)},
        }
        cursor = self._media.find(query, projection(fields)).sort("_id", 1).hint("owner_content").limit(MAX_SAME)
        documents: list[MediaDocument] = await cursor.to_list(MAX_SAME)
        return documents

    async def find_awaited(self, owner_id: str, sha256s: Collection[str], *, fields: Projection) -> list[MediaDocument]:
        """Media of one owner that were announced with one of these contents and wait for its bytes, oldest first."""
        query = {
            "owner_id": owner_id,
            "content.announced_sha256": {"$in": sorted(set(sha256s))},
            "status": {"$in": sorted(AWAITING_BYTES)},
            "waiting_since": {"$exists": True},
        }
        cursor = self._media.find(query, projection(fields)).sort("_id", 1).hint("owner_awaited").limit(MAX_SAME)
        documents: list[MediaDocument] = await cursor.to_list(MAX_SAME)
        return documents

    async def insert_initiated(self, documents: Sequence[MediaDocument]) -> None:
        """Write new media as INITIATED in server time; ids that exist already stay as they are."""
        if not documents:
            return
        written = await self._media.bulk_write([self._insertion(document) for document in documents], ordered=False)
        for index in written.upserted_ids or ():
            self._count_status(MediaStatus.INITIATED, MediaPurpose(documents[index]["purpose"]))

    def _insertion(self, document: MediaDocument) -> UpdateOne:
        first = {"status": MediaStatus.INITIATED.value, "sequence": 1, "at": NOW}
        fresh = {
            **literals({key: value for key, value in document.items() if key != "_id"}),
            "schema_version": SCHEMA_VERSION,
            "status": MediaStatus.INITIATED.value,
            "status_sequence": 1,
            "status_history": [first],
            "waiting_since": NOW,
            "created_at": NOW,
            "updated_at": NOW,
            **(initiated(document) if self._notes_events else {}),
            **noted_status(
                document["_id"],
                Note(
                    AuditAction.UPLOAD_CREATED,
                    actor=document["owner_id"],
                    details={"purpose": document["purpose"], "bytes": document["content"]["bytes"]},
                ),
                sequence=1,
                # The document that is being made has none yet.
                owner={"$literal": document["owner_id"]},
            ),
        }
        return UpdateOne({"_id": document["_id"]}, insert_if_absent(fresh, marker="status"), upsert=True)

    async def transition(
        self,
        media_id: UUID,
        target: MediaStatus,
        *,
        sources: Collection[MediaStatus] | None = None,
        guard: Mapping[str, Any] | None = None,
        values: Mapping[str, Any] | None = None,
        computed: Mapping[str, Expression] | None = None,
        unset: Sequence[str] = (),
        look_again_at: datetime | Expression | None = None,
        note: Note | None = None,
    ) -> StatusChange | None:
        """The one place that writes a status: compare-and-set from an allowed source, history in server time.

        `guard`: refuse unless it matches this query, such as `held_by`. `computed`: what follows from the document as
        it was. `note`: what goes on record, unless it is the service's own doing; whoever answers somebody should
        `settle` it. Returns None when nothing was written.
        """
        allowed = sources_of(target) if sources is None else frozenset(sources) & sources_of(target)
        query: dict[str, Any] = {**(guard or {}), "_id": media_id, "status": {"$in": sorted(allowed)}}
        sequence = {"$add": ["$status_sequence", 1]}
        change = {"status": target.value, "sequence": sequence, "at": NOW}
        note = note or own_note(target, values or {})
        update: list[dict[str, Any]] = [
            {
                "$set": {
                    **literals(values or {}),
                    **(computed or {}),
                    "status": target.value,
                    "status_sequence": sequence,
                    "status_history": {"$concatArrays": ["$status_history", [change]]},
                    "updated_at": NEXT_UPDATE,
                    "embeddings_due_at": EMBEDDINGS_DUE,
                    "waiting_since": look_again_at or ("$$REMOVE" if target in _AT_REST else NOW),
                    **({"first_viewable_at": FIRST_VIEWABLE} if target is MediaStatus.READY else {}),
                    **({} if note is None else noted_status(media_id, note, sequence=sequence)),
                }
            }
        ]
        if unset:
            update.append({"$unset": list(unset)})
        if self._notes_events:
            update += status_noted(moderated="moderation" in (computed or {}))
        after = await self._media.find_one_and_update(
            query, update, projection=_AFTER_CHANGE, return_document=ReturnDocument.AFTER
        )
        if after is None:
            return None
        self.tell(media_id)
        self._count_status(target, MediaPurpose(after["purpose"]))
        # Not necessarily the only one: a write that the driver repeats is answered with the document, unprojected.
        written = after["status_history"][-1]
        return StatusChange(media_id, target, written["sequence"], written["at"] - after["created_at"])

    async def hold(self, media_id: UUID, fence: int, *, attempt: int, lane: str) -> bool:
        """Take a media for processing under `fence`; False if a later claim holds it or it is past processing.

        The first hold moves UPLOADED to PROCESSING; a later one takes over from a worker that died.
        """
        values = {"processing.fence": fence, "processing.attempt": attempt, "processing.lane": lane}
        # A worker that slept through a retry of the media must not take hold of it again.
        not_later = {"processing.fence": {"$not": {"$gt": fence}}}
        if await self.transition(media_id, MediaStatus.PROCESSING, guard=not_later, values=values) is not None:
            return True
        taken = await self._media.update_one(
            {"_id": media_id, "status": MediaStatus.PROCESSING.value, "processing.fence": {"$lte": fence}},
            {"$set": values},
        )
        return bool(taken.matched_count)

    async def change(
        self,
        media_id: UUID,
        values: Mapping[str, Any],
        *,
        mark: Mapping[str, str],
        replacing: Mapping[str, str] | None,
        unchanged_since: datetime | None = None,
        revise: bool = False,
        actor: str,
    ) -> bool:
        """Write `values`, leave `mark` and note what `actor` has changed; False if nothing was written.

        Refused if the media is DELETED, was updated after `unchanged_since`, or if its last change left another mark
        than `replacing` (None: no change yet). A mark's `id` is never used twice. `revise`: its renditions are out of
        date with this change; the sweeper sees to those of a READY media.
        """
        query: dict[str, Any] = {
            "_id": media_id,
            "status": {"$ne": MediaStatus.DELETED.value},
            "last_change.id": {"$exists": False} if replacing is None else replacing["id"],
        }
        if unchanged_since is not None:
            query["updated_at"] = {"$lte": unchanged_since}
        revised = {
            "processing.revision": {"$add": [REVISION, 1]},
            "waiting_since": {"$cond": [{"$eq": ["$status", MediaStatus.READY.value]}, NOW, "$waiting_since"]},
            "processing.complete": {"$literal": False},
        }
        update = {
            **literals({**values, "last_change": dict(mark)}),
            "updated_at": NEXT_UPDATE,
            **(revised if revise else {}),
            **({"embeddings_due_at": EMBEDDINGS_DUE} if "visibility" in values else {}),
            **noted(f"change:{mark['id']}", AuditAction.MEDIA_CHANGED, actor=actor, details={"fields": sorted(values)}),
        }
        is_event = self._notes_events and ("visibility" in values or "subject" in values)
        written = await self._media.update_one(query, [{"$set": update}, *(change_noted() if is_event else ())])
        if written.matched_count:
            self.tell(media_id)
        return bool(written.matched_count)

    async def learn_content(self, media_id: UUID, fence: int, sha256: str) -> None:
        """Write what the bytes are of a media that is being processed under `fence`, whatever becomes of it."""
        await self._media.update_one(
            {"_id": media_id, "status": MediaStatus.PROCESSING.value, "processing.fence": fence},
            {"$set": {"content.sha256": sha256}},
        )

    async def point_to(self, media_id: UUID, fence: int, *, bucket: str, key: str) -> bool:
        """Let a media that is being processed under `fence` refer to another object with the same content."""
        moved = await self._media.update_one(
            {"_id": media_id, "status": MediaStatus.PROCESSING.value, "processing.fence": fence},
            {"$set": {"original": {"bucket": bucket, "key": key}}},
        )
        return bool(moved.matched_count)

    async def look_again(self, media_id: UUID, status: MediaStatus, *, at: datetime | None) -> None:
        """Let the sweeper come back to a media that is still in `status` once `at` has passed; None: never."""
        update = {"$unset": {"waiting_since": ""}} if at is None else {"$set": {"waiting_since": at}}
        await self._media.update_one({"_id": media_id, "status": status.value}, update)

    async def strip_deleted(self, media_id: UUID) -> None:
        """Leave of a DELETED media only what shows that it existed and when it went."""
        personal = (
            "title", "alt_text", "tags", "album_ids", "focus", "location", "captured_at", "subject", "capture_id",
            "content", "original", "renditions", "placeholder", "hashes", "annotations", "failure", "last_change",
            "retired_renditions", "processing.receipts", "first_viewable_at", "embedded", "metadata_choice",
            "has_embeddings", "annotation_segments", "annotation_count", "labels", "last_annotating",
            "is_location_settled", "moderation", "kept_under",
        )  # fmt: skip
        await self._media.update_one(
            {"_id": media_id, "status": MediaStatus.DELETED.value}, {"$unset": dict.fromkeys(personal, "")}
        )

    async def server_time(self) -> datetime:
        """The database's clock, which every status and lease goes by."""
        hello = await self._handle.command("hello")
        moment: datetime = hello["localTime"]
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)

    async def list_stalled(self, statuses: Collection[MediaStatus], *, before: datetime) -> AsyncIterator[UUID]:
        """Ids of media that have waited in one of `statuses` since before `before`, longest first."""
        query = {"waiting_since": {"$lt": before}, "status": {"$in": sorted(statuses)}}
        async for document in self._media.find(query, {"_id": 1}).sort("waiting_since", 1):
            yield document["_id"]
