"""The `distributions` collection: what the CDN was seen to do, under CloudFront's id of the distribution."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pymongo import ReturnDocument

from service.stores.database import Database
from service.stores.expressions import NOW, after_now


class DistributionStore:
    def __init__(self, database: Database) -> None:
        self._distributions = database.handle["distributions"]

    async def note(self, distribution_id: str, *, reads_tags: bool) -> timedelta:
        """A distribution is about to be told, and reads cache tags or does not; for how long it has without a break."""
        since = {"$ifNull": ["$reads_tags_since", NOW]} if reads_tags else "$$REMOVE"
        document: dict[str, Any] = await self._distributions.find_one_and_update(
            {"_id": distribution_id},
            [{"$set": {"reads_tags_since": since, "told_at": NOW}}],
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        told_at, began = document["told_at"], document.get("reads_tags_since")
        return timedelta(0) if began is None else told_at - began

    async def list_told(self, within: timedelta) -> list[str]:
        """The distributions that workers have told to forget something in the last `within`."""
        recently = {"$expr": {"$gt": ["$told_at", after_now(-within.total_seconds())]}}
        return [each["_id"] async for each in self._distributions.find(recently, {"_id": 1})]
