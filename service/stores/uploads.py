"""The `uploads` collection: one session an upload, under the same id as its media."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from pymongo import UpdateOne

from service.documents import UploadDocument
from service.stores.database import Database


class UploadStore:
    def __init__(self, database: Database) -> None:
        self._uploads = database.uploads

    async def insert(self, uploads: Sequence[UploadDocument]) -> None:
        """Write new sessions; ids that exist already stay as they are."""
        if uploads:
            writes = [
                UpdateOne({"_id": upload["_id"]}, {"$setOnInsert": _without_id(upload)}, upsert=True)
                for upload in uploads
            ]
            await self._uploads.bulk_write(writes, ordered=False)

    async def get_many(self, upload_ids: Iterable[UUID], *, owner_id: str | None = None) -> dict[UUID, UploadDocument]:
        """Sessions by id; only those of `owner_id` where it is given."""
        query: dict[str, Any] = {"_id": {"$in": list(upload_ids)}}
        if owner_id is not None:
            query["owner_id"] = owner_id
        return {upload["_id"]: upload async for upload in self._uploads.find(query)}

    async def get(self, upload_id: UUID) -> UploadDocument | None:
        return (await self.get_many([upload_id])).get(upload_id)

    async def get_own(self, owner_id: str | None, upload_id: UUID | None) -> UploadDocument | None:
        """A session of `owner_id`; None for nobody, for what is no id, and for another's."""
        if owner_id is None or upload_id is None:
            return None
        return (await self.get_many([upload_id], owner_id=owner_id)).get(upload_id)

    async def remember_multipart(
        self, upload_id: UUID, storage_upload_id: str, *, checksums: bool
    ) -> UploadDocument | None:
        """Bind a session to a multipart upload in storage, once; the session as it is now, whoever bound it."""
        bound: dict[str, Any] = {"storage_upload_id": storage_upload_id}
        await self._uploads.update_one(
            {"_id": upload_id, "storage_upload_id": {"$exists": False}},
            {"$set": {**bound, "part_checksums": {}} if checksums else bound},
        )
        return await self.get(upload_id)

    async def remember_checksums(self, upload_id: UUID, checksums: Mapping[int, str]) -> None:
        """Note the SHA-256 in base64 that each part was signed with: not every store tells it again."""
        await self._uploads.update_one(
            {"_id": upload_id}, {"$set": {f"part_checksums.{number}": each for number, each in checksums.items()}}
        )

    async def forget_multipart(self, upload_id: UUID, storage_upload_id: str) -> None:
        """Storage no longer knows the multipart upload: the next part begins another."""
        await self._uploads.update_one(
            {"_id": upload_id, "storage_upload_id": storage_upload_id},
            {"$unset": {"storage_upload_id": "", "part_checksums": ""}},
        )

    async def strip_deleted(self, upload_id: UUID) -> None:
        """Forget what the session says of its owner's file and device; the key stays, to know late bytes by."""
        await self._uploads.update_one({"_id": upload_id}, {"$unset": {"client": "", "sha256": ""}})

    async def mark_completed(self, upload_id: UUID) -> None:
        """Note, in server time and once, that storage holds the whole object."""
        await self._uploads.update_one(
            {"_id": upload_id, "completed_at": {"$exists": False}}, {"$currentDate": {"completed_at": True}}
        )

    async def note_event(self, upload_id: UUID, sequencer: str) -> None:
        """Remember that the storage event with this (canonical) sequencer was handled, unless a later one was."""
        await self._uploads.update_one({"_id": upload_id}, {"$max": {"event_sequencer": sequencer}})


def _without_id(upload: UploadDocument) -> Mapping[str, Any]:
    return {key: value for key, value in upload.items() if key != "_id"}
