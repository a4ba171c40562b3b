"""What is counted of uploads that have come to rest: a mark on the upload's session; where it has none, on its media.

A session goes with its media for good; media without one were restored or brought in from elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from uuid import UUID

from pymongo import UpdateOne

from service.models import Holding
from service.stores.database import Database


@dataclass(frozen=True, slots=True)
class Counted:
    """What the sums count of one upload, after so many steps."""

    held: Holding = Holding.NOTHING
    bytes: int = 0
    step: int = 0

    def is_same_as(self, other: Counted) -> bool:
        """Whether the sums are the same by both, however many steps it took."""
        return (self.held, self.bytes) == (other.held, other.bytes)


class QuotaMarks:
    def __init__(self, database: Database) -> None:
        self._uploads = database.uploads
        self._media = database.media

    async def read(self, media_ids: Collection[UUID]) -> dict[UUID, Counted]:
        """The mark of each; Counted() where there is none."""
        found = {each: Counted() for each in media_ids}
        for rows in (self._uploads, self._media):
            # A session that came late has the later mark, if it has one.
            without = [each for each, counted in found.items() if not counted.step]
            if without:
                query = {"_id": {"$in": without}, "quota": {"$exists": True}}
                async for row in rows.find(query, {"quota": 1}):
                    mark = row["quota"]
                    found[row["_id"]] = Counted(Holding(mark["held"]), mark["bytes"], mark["step"])
        return found

    async def write(self, counted: Mapping[UUID, Counted]) -> None:
        """Mark each, unless a later step is marked. What has neither session nor media counts nothing without one."""
        await self._uploads.bulk_write([_later(*each) for each in counted.items()], ordered=False)
        with_session = {row["_id"] async for row in self._uploads.find({"_id": {"$in": list(counted)}}, {"_id": 1})}
        others = [_later(*each) for each in counted.items() if each[0] not in with_session]
        if others:
            await self._media.bulk_write(others, ordered=False)


def _later(media_id: UUID, counted: Counted) -> UpdateOne:
    earlier = [{"quota": {"$exists": False}}, {"quota.step": {"$lt": counted.step}}]
    mark = {"held": counted.held.value, "bytes": counted.bytes, "step": counted.step}
    return UpdateOne({"_id": media_id, "$or": earlier}, {"$set": {"quota": mark}})
