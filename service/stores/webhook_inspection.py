"""What operators ask of `webhook_deliveries`, and replays."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NotRequired, TypedDict
from uuid import UUID

from service.stores.database import Database
from service.stores.expressions import NOW
from service.stores.webhook_deliveries import WebhookDeliveryStore

STATES = ("open", "delivered", "dead")
# Counts stop here, so that asking costs the same whatever has piled up.
COUNT_LIMIT = 10_000
# Deliveries that are replayed together.
_PAGE = 500
_NOT_ENDED = dict.fromkeys(("expires_at", "ended_at", "status", "last_error"), "$$REMOVE")


class DeliveryDocument(TypedDict):
    """`body`: only where it was asked for. `ended_at`: when it was accepted or given up."""

    _id: str
    receiver: str
    event_id: str
    media_id: UUID
    sequence: int
    type: str
    owner_id: str
    at: datetime
    state: str
    failures: int
    opened_at: datetime
    ended_at: NotRequired[datetime]
    tried_at: NotRequired[datetime]
    status: NotRequired[int]
    last_error: NotRequired[str]
    body: NotRequired[str]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Of one receiver: deliveries that wait (10000 stands for that many or more), the oldest's age, dead letters."""

    open: int
    oldest_s: float
    dead: int


@dataclass(frozen=True, slots=True)
class Choice:
    """Which deliveries, of a receiver or of a media: all that are given hold. `since`: of when the event happened."""

    receiver: str | None = None
    state: str | None = None
    media_id: UUID | None = None
    since: datetime | None = None

    def query(self) -> dict[str, Any]:
        """As MongoDB takes it."""
        given: Mapping[str, Any] = {"receiver": self.receiver, "media_id": self.media_id}
        query: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        query["state"] = {"$in": list(STATES)} if self.state is None else self.state
        if self.since is not None:
            query["at"] = {"$gte": self.since}
        return query


class WebhookInspection:
    def __init__(self, database: Database, *, deliveries: WebhookDeliveryStore) -> None:
        self._rows = database.handle["webhook_deliveries"]
        self._deliveries = deliveries

    async def waiting(self, receiver: str) -> Waiting:
        """How much waits for a receiver, and for how long."""
        pipeline: list[dict[str, Any]] = [
            {"$match": {"receiver": receiver, "state": "open"}},
            {"$sort": {"opened_at": 1}},
            {"$limit": 1},
            {"$project": {"_id": 0, "waited_ms": {"$subtract": [NOW, "$opened_at"]}}},
        ]
        oldest = await self._rows.aggregate(pipeline).to_list(1)
        counts = [
            await self._rows.count_documents({"receiver": receiver, "state": state}, limit=COUNT_LIMIT)
            for state in ("open", "dead")
        ]
        return Waiting(counts[0], max(oldest[0]["waited_ms"] / 1000, 0.0) if oldest else 0.0, counts[1])

    async def find(self, choice: Choice, *, limit: int) -> list[DeliveryDocument]:
        """The newest deliveries, without their bodies."""
        cursor = self._rows.find(choice.query(), {"body": 0}).sort("opened_at", -1).limit(limit)
        rows: list[DeliveryDocument] = await cursor.to_list(limit)
        return rows

    async def get(self, event_id: str) -> list[DeliveryDocument]:
        """One event as it is kept for each receiver, with its body."""
        rows: list[DeliveryDocument] = await self._rows.find({"event_id": event_id}).sort("_id", 1).to_list(None)
        return rows

    async def replay(self, choice: Choice, *, limit: int) -> AsyncIterator[int]:
        """Have deliveries that were accepted or given up sent once more, under the ids they had; pages of how many.

        Of each media in the order of its events. Those that still wait are left as they are.
        """
        query = choice.query()
        if choice.state is None:
            query["state"] = {"$in": ["delivered", "dead"]}
        left = limit
        # What is sent again while this goes on is not taken again.
        begun = (await self._rows.database.command("hello"))["localTime"]
        while left > 0:
            page = min(left, _PAGE)
            cursor = self._rows.find({**query, "opened_at": {"$lt": begun}}, {"receiver": 1, "media_id": 1})
            rows = await cursor.sort([("media_id", 1), ("sequence", 1)]).limit(page).to_list(page)
            if not rows:
                return
            opened = {
                "state": "open",
                "failures": 0,
                "opened_at": NOW,
                **_NOT_ENDED,
            }
            await self._rows.update_many({"_id": {"$in": [row["_id"] for row in rows]}, **query}, [{"$set": opened}])
            await self._deliveries.wake({(row["receiver"], row["media_id"]) for row in rows})
            left -= len(rows)
            yield len(rows)
