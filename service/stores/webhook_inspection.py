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
        """Deliveries without their bodies: the newest, or of one media those that were told last."""
        order = "opened_at" if choice.media_id is None else "sequence"
        cursor = self._rows.find(choice.query(), {"body": 0}).sort(order, -1).limit(limit)
        rows: list[DeliveryDocument] = await cursor.to_list(limit)
        return rows

    async def get(self, event_id: str) -> list[DeliveryDocument]:
        """One event as it is kept for each receiver, with its body."""
        rows: list[DeliveryDocument] = await self._rows.find({"event_id": event_id}).sort("receiver", 1).to_list(None)
        return rows

    async def replay(self, choice: Choice, *, limit: int) -> AsyncIterator[int]:
        """Have deliveries that were accepted or given up sent once more, under the ids they had; pages of how many.

        Of each media in the order of its events, from now on, also where the next attempt would have been later. At
        most `limit`: of the media that were made first, and of none a later event without those before it. What waits
        already keeps its count of failures; should an earlier replay have died before it said that there is something
        to be sent, this one does.
        """
        states = ["delivered", "dead"] if choice.state is None else [choice.state]
        # Apart: what waits takes nothing of the limit, or some replays would never come to what follows.
        rows = await self._first(choice, states, limit) + await self._first(choice, ["open"], limit)
        rows.sort(key=_in_order)
        opened = {"state": "open", "failures": 0, "opened_at": NOW, **_NOT_ENDED}
        for start in range(0, len(rows), _PAGE):
            page = rows[start : start + _PAGE]
            ended = {"_id": {"$in": [row["_id"] for row in page]}, "state": {"$in": states}}
            written = await self._rows.update_many(ended, [{"$set": opened}])
            await self._deliveries.wake({(row["receiver"], row["media_id"]) for row in page}, at_once=True)
            yield int(written.modified_count)

    async def _first(self, choice: Choice, states: list[str], limit: int) -> list[dict[str, Any]]:
        query = {**choice.query(), "state": {"$in": states}}
        fields = dict.fromkeys(("receiver", "media_id", "sequence"), 1)
        cursor = self._rows.find(query, fields).sort([("media_id", 1), ("sequence", 1)]).limit(limit)
        rows: list[dict[str, Any]] = await cursor.to_list(limit)
        return rows


def _in_order(row: Mapping[str, Any]) -> tuple[UUID, int]:
    return row["media_id"], row["sequence"]
