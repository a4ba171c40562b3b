"""The `webhook_deliveries` and `webhook_streams` collections: what each receiver is to be sent, in which order.

A delivery is one event for one receiver. A stream is all that one receiver is still to be sent of one media: there is a
document of it for as long as there is something, and whoever has claimed it sends its deliveries one after the other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from pymongo import ReturnDocument, UpdateOne

from service.stores.database import Database
from service.stores.expressions import NOW, after_now, insert_if_absent


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """`event_id` follows from the media and `sequence`. `body`: what is sent, to the letter, whenever it is sent."""

    receiver: str
    event_id: str
    media_id: UUID
    sequence: int
    type: str
    owner_id: str
    at: datetime
    body: str = field(repr=False)

    @property
    def id(self) -> str:
        return f"{self.receiver}:{self.event_id}"


@dataclass(frozen=True, slots=True)
class DueDelivery:
    """`failures`: attempts so far since `opened_at`, when it was made or replayed."""

    id: str
    event_id: str
    body: str = field(repr=False)
    failures: int
    opened_at: datetime


@dataclass(frozen=True, slots=True)
class ClaimedStream:
    """`claimed_at`: server time. `wakes`: how often anything was added by then."""

    id: str
    receiver: str
    media_id: UUID
    claim: UUID
    wakes: int
    claimed_at: datetime


def stream_id(receiver: str, media_id: UUID) -> str:
    """One for each receiver and media."""
    return f"{receiver}:{media_id}"


class WebhookDeliveryStore:
    def __init__(self, database: Database) -> None:
        self._deliveries = database.handle["webhook_deliveries"]
        self._streams = database.handle["webhook_streams"]

    async def add(self, deliveries: Collection[NewDelivery]) -> None:
        """Write deliveries down and wake their streams; those that are there already stay as they are."""
        if not deliveries:
            return
        await self._deliveries.bulk_write([_insertion(each) for each in deliveries], ordered=False)
        await self.wake({(each.receiver, each.media_id) for each in deliveries})

    async def wake(self, streams: Iterable[tuple[str, UUID]], *, at_once: bool = False) -> None:
        """Have somebody look what there is to send.

        A stream that waits for its next attempt goes on waiting, unless `at_once`; one that is being sent, anyway.
        """
        updates = [_waking(receiver, media_id, at_once=at_once) for receiver, media_id in streams]
        if updates:
            await self._streams.bulk_write(updates, ordered=False)

    async def claim(self, receiver: str, *, lease_s: float) -> ClaimedStream | None:
        """The stream of a receiver that has been due longest, for nobody else for `lease_s` seconds; None: none is."""
        row = await self._streams.find_one_and_update(
            {"receiver": receiver, "$expr": {"$lte": ["$due_at", NOW]}},
            [{"$set": {"claim": uuid4(), "claimed_at": NOW, "due_at": after_now(lease_s)}}],
            sort=[("due_at", 1)],
            return_document=ReturnDocument.AFTER,
        )
        if row is None:
            return None
        return ClaimedStream(
            row["_id"], receiver, row["media_id"], claim=row["claim"], wakes=row["wakes"], claimed_at=row["claimed_at"]
        )

    async def next_of(self, stream: ClaimedStream, *, limit: int) -> list[DueDelivery]:
        """The earliest events of a stream that were neither accepted nor given up, in their order."""
        query = {"receiver": stream.receiver, "media_id": stream.media_id, "state": "open"}
        fields = dict.fromkeys(("event_id", "body", "failures", "opened_at"), 1)
        rows = await self._deliveries.find(query, fields).sort("sequence", 1).limit(limit).to_list(limit)
        return [DueDelivery(row.pop("_id"), **row) for row in rows]

    async def close(self, stream: ClaimedStream) -> None:
        """Nothing is left of a stream; or something was added meanwhile, and it is due again."""
        over = await self._streams.delete_one({"_id": stream.id, "claim": stream.claim, "wakes": stream.wakes})
        if not over.deleted_count:
            await self.put_back(stream, delay_s=0)

    async def put_back(self, stream: ClaimedStream, *, delay_s: float) -> bool:
        """Let go of a stream, due again in `delay_s` seconds; False if it is another's by now."""
        freed = {"due_at": after_now(delay_s), "claim": "$$REMOVE"}
        written = await self._streams.update_one({"_id": stream.id, "claim": stream.claim}, [{"$set": freed}])
        return bool(written.matched_count)

    async def note_accepted(self, delivery_id: str, *, status: int, keep_s: float) -> None:
        """A receiver has taken it. Whose owner has left meanwhile is forgotten at once."""
        leaves = {"$cond": ["$is_owner_gone", NOW, after_now(keep_s)]}
        values = {
            "state": "delivered",
            "ended_at": NOW,
            "status": status,
            "expires_at": leaves,
            "last_error": "$$REMOVE",
        }
        await self._end(delivery_id, values)

    async def note_failed(self, delivery_id: str, *, reason: str) -> None:
        """An attempt has failed; another will follow."""
        values = {"failures": {"$add": ["$failures", 1]}, "last_error": {"$literal": reason}, "tried_at": NOW}
        await self._end(delivery_id, values)

    async def give_up(self, delivery_id: str, *, reason: str, keep_s: float) -> None:
        """The last attempt has failed: it is a dead letter, and what follows it is sent."""
        await self._end(delivery_id, {"failures": {"$add": ["$failures", 1]}, **_dead(reason, keep_s)})

    async def _end(self, delivery_id: str, values: dict[str, Any]) -> None:
        await self._deliveries.update_one({"_id": delivery_id, "state": "open"}, [{"$set": values}])

    async def give_up_older(self, receiver: str, *, age_s: float, reason: str, keep_s: float) -> int:
        """Make dead letters of all that has waited for longer, for a receiver that is down; how many there were.

        Of one that is being sent just now, what comes of it is as good.
        """
        query = {"receiver": receiver, "state": "open", "$expr": {"$lt": ["$opened_at", after_now(-age_s)]}}
        written = await self._deliveries.update_many(query, [{"$set": _dead(reason, keep_s)}])
        return int(written.modified_count)

    async def forget_owner(self, owner_id: str) -> None:
        """Remove what was sent of somebody's media and what was given up; what still waits goes once it is sent.

        That is what tells receivers that these media are gone. It holds ids only.
        """
        # In this order: what is sent between the two is found by the second.
        await self._deliveries.update_many({"owner_id": owner_id, "state": "open"}, {"$set": {"is_owner_gone": True}})
        await self._deliveries.delete_many({"owner_id": owner_id, "state": {"$in": ["delivered", "dead"]}})

    async def forget_receiver(self, receiver: str) -> int:
        """Remove everything that is kept for a receiver; how many deliveries there were."""
        await self._streams.delete_many({"receiver": receiver})
        return int((await self._deliveries.delete_many({"receiver": receiver})).deleted_count)


def _insertion(delivery: NewDelivery) -> UpdateOne:
    values = {
        "receiver": delivery.receiver,
        "event_id": delivery.event_id,
        "media_id": delivery.media_id,
        "sequence": delivery.sequence,
        "type": delivery.type,
        "owner_id": delivery.owner_id,
        "at": delivery.at,
        "body": delivery.body,
    }
    fresh: dict[str, Any] = {name: {"$literal": value} for name, value in values.items()}
    fresh |= {"state": "open", "failures": 0, "opened_at": NOW}
    return UpdateOne({"_id": delivery.id}, insert_if_absent(fresh, marker="state"), upsert=True)


def _waking(receiver: str, media_id: UUID, *, at_once: bool) -> UpdateOne:
    # Of one that is claimed it is the end of the lease.
    waits = {"$and": [{"$eq": [{"$type": "$claim"}, "missing"]}, at_once]}
    values = {
        "receiver": {"$literal": receiver},
        "media_id": {"$literal": media_id},
        "due_at": {"$cond": [waits, NOW, {"$ifNull": ["$due_at", NOW]}]},
        "wakes": {"$add": [{"$ifNull": ["$wakes", 0]}, 1]},
    }
    return UpdateOne({"_id": stream_id(receiver, media_id)}, [{"$set": values}], upsert=True)


def _dead(reason: str, keep_s: float) -> dict[str, Any]:
    leaves = {"$cond": ["$is_owner_gone", NOW, after_now(keep_s)]}
    return {"state": "dead", "ended_at": NOW, "last_error": {"$literal": reason}, "expires_at": leaves}
