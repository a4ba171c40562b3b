"""The `contents` collection: each content of an owner once, with the media that need it.

An object may be removed only by whoever took away its last reference; taking a reference and giving the last one up
are single-document writes, so that the two cannot pass each other unseen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Any
from uuid import UUID

from pymongo import ReturnDocument

from service.documents import ContentDocument
from service.stores.database import Database


def content_id(owner_id: str, sha256: str) -> str:
    """One id per owner and content, so that nobody can ask after another's."""
    return hashlib.sha256(f"{owner_id}\0{sha256}".encode()).hexdigest()


class ContentStore:
    def __init__(self, database: Database) -> None:
        self._contents = database.contents

    async def find(self, owner_id: str, sha256s: Collection[str]) -> dict[str, ContentDocument]:
        """What is stored of `owner_id`, by SHA-256 in hex."""
        ids = [content_id(owner_id, sha256) for sha256 in set(sha256s)]
        return {found["sha256"]: found async for found in self._contents.find({"_id": {"$in": ids}})} if ids else {}

    async def link(self, owner_id: str, sha256: str, media_id: UUID) -> ContentDocument | None:
        """Let `media_id` refer to a content that is stored already; None if there is none."""
        return await self._after({"_id": content_id(owner_id, sha256)}, {"$addToSet": {"refs": media_id}})

    async def register(
        self, owner_id: str, sha256: str, media_id: UUID, *, bucket: str, key: str, byte_size: int
    ) -> ContentDocument:
        """Let `media_id` refer to its content: to the object that is known, or from now on to the one at `key`."""
        fresh = {"owner_id": owner_id, "sha256": sha256, "bucket": bucket, "key": key, "bytes": byte_size}
        document: ContentDocument = await self._contents.find_one_and_update(
            {"_id": content_id(owner_id, sha256)},
            {"$setOnInsert": fresh, "$addToSet": {"refs": media_id}},
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        return document

    async def move(self, content: ContentDocument, media_id: UUID, *, bucket: str, key: str) -> bool:
        """Name the object of `media_id` for a content whose own is lost; False if somebody else just did.

        Whoever referred to the lost object refers to nothing: those references end here.
        """
        moved = await self._contents.update_one(
            {"_id": content["_id"], "key": content["key"]},
            {"$set": {"bucket": bucket, "key": key, "refs": [media_id]}},
        )
        return bool(moved.matched_count)

    async def release(self, media_id: UUID) -> list[ContentDocument]:
        """Take back every reference of `media_id`; the contents that it had, each perhaps free now."""
        found: list[ContentDocument] = await self._contents.find({"refs": media_id}).to_list(None)
        await self._contents.update_many({"refs": media_id}, {"$pull": {"refs": media_id}})
        return found

    async def is_free(self, key: str) -> bool:
        """Whether nobody refers to the object at `key`; from then on nobody can."""
        # Somebody may have linked to it a moment ago: then it stays. Many, for one has to be named by its shard key.
        await self._contents.delete_many({"key": key, "refs": []})
        return await self._contents.find_one({"key": key}, {"_id": 1}) is None

    async def _after(self, query: dict[str, Any], update: dict[str, Any]) -> ContentDocument | None:
        document: ContentDocument | None = await self._contents.find_one_and_update(
            query, update, return_document=ReturnDocument.AFTER
        )
        return document
