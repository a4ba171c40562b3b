"""The `webhook_receivers` collection: who is told since when and of what, and who cannot be reached at present."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pymongo import ReturnDocument
from pymongo.read_concern import ReadConcern

from service.models import MediaPurpose
from service.stores.database import Database
from service.stores.expressions import NOW, after_now

# So many requests in a row without an answer, or with one of a server in trouble, and a receiver is taken to be down.
DOWN_AFTER = 5
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 10, 300
# Not the name of a receiver: whose turn it is to gather events.
_TURN = "*"


class Gate(enum.Enum):
    """Whether a receiver may be sent to. WAVERING: yes, though something is held against it. PROBE: one event, by
    whoever asked, to see whether it is back.
    """

    OPEN = enum.auto()
    WAVERING = enum.auto()
    PROBE = enum.auto()
    SHUT = enum.auto()


@dataclass(frozen=True, slots=True)
class RegisteredReceiver:
    """`since`: events from then on are its own. `events` and `purposes`: only these; empty for all.

    `failures`: requests in a row that found it down. `down_since`, `reason`: since when it is taken to be so, and why.
    """

    name: str
    since: datetime
    events: Sequence[str]
    purposes: Sequence[str]
    failures: int = 0
    down_since: datetime | None = None
    reason: str | None = None

    def wants(self, event_type: str, purpose: str, at: datetime) -> bool:
        """Whether an event of this type, of a media of `purpose`, at that time, is for it."""
        group = f"{event_type.partition('.')[0]}.*"
        return (
            at >= self.since
            and (not self.events or event_type in self.events or group in self.events)
            and (not self.purposes or purpose in self.purposes)
        )


class WebhookReceiverStore:
    def __init__(self, database: Database) -> None:
        self._receivers = database.handle["webhook_receivers"]
        self._settled = self._receivers.with_options(read_concern=ReadConcern("majority"))

    async def register(
        self, name: str, *, events: Sequence[str], purposes: Sequence[MediaPurpose], address: str
    ) -> None:
        """Have a receiver told of what happens from now on, or go on with what it was told before.

        `address`: stands for where it is. Where that has changed, it is taken to be up.
        """
        moved = {"$ne": ["$address", {"$literal": address}]}
        reset = {
            field: {"$cond": [moved, "$$REMOVE", f"${field}"]}
            for field in ("failures", "shut_until", "down_since", "reason")
        }
        values = {
            **reset,
            "since": {"$ifNull": ["$since", NOW]},
            "events": {"$literal": list(events)},
            "purposes": {"$literal": [purpose.value for purpose in purposes]},
            "address": {"$literal": address},
            "seen_at": NOW,
        }
        await self._receivers.update_one({"_id": name}, [{"$set": values}], upsert=True)

    async def list_all(self) -> list[RegisteredReceiver]:
        """Every receiver that was ever registered and not forgotten, by name."""
        fields = ("since", "events", "purposes", "failures", "down_since", "reason")
        cursor = self._settled.find({"_id": {"$ne": _TURN}}, dict.fromkeys(fields, 1)).sort("_id", 1)
        return [RegisteredReceiver(name=row.pop("_id"), **row) async for row in cursor]

    async def forget(self, name: str) -> bool:
        """Have nothing noted for a receiver any more; False if there is none of that name."""
        return bool((await self._receivers.delete_one({"_id": name})).deleted_count)

    async def gate(self, name: str, *, probe_s: float) -> Gate:
        """Whether a receiver may be sent to now. Who is told PROBE is the only one for `probe_s` seconds."""
        is_shut = {"$gt": ["$shut_until", NOW]}
        rows = await self._receivers.aggregate(
            [{"$match": {"_id": name}}, {"$project": {"failures": 1, "is_shut": is_shut}}]
        ).to_list(1)
        if not rows or rows[0]["is_shut"]:
            return Gate.SHUT
        failures = rows[0].get("failures", 0)
        if failures < DOWN_AFTER:
            return Gate.WAVERING if failures else Gate.OPEN
        taken = await self._receivers.update_one(
            {"_id": name, "failures": {"$gte": DOWN_AFTER}, "$expr": {"$not": [is_shut]}},
            [{"$set": {"shut_until": after_now(probe_s)}}],
        )
        return Gate.PROBE if taken.matched_count else Gate.SHUT

    async def end_probe(self, name: str) -> None:
        """There was nothing to send: the next who asks may probe."""
        await self._receivers.update_one({"_id": name}, [{"$set": {"shut_until": NOW}}])

    async def note_failure(self, name: str, *, reason: str, pause_s: float | None) -> None:
        """A request found it down. `pause_s`: how long it wants to be left alone, where it says so."""
        failures = {"$add": [{"$ifNull": ["$failures", 0]}, 1]}
        growing = {"$pow": [2, {"$min": [{"$max": [{"$subtract": ["$failures", DOWN_AFTER]}, 0]}, 10]}]}
        pause_ms = {"$multiply": [{"$min": [_LONGEST_PAUSE_S, {"$multiply": [_FIRST_PAUSE_S, growing]}]}, 1000]}
        shut: Any = {"$dateAdd": {"startDate": NOW, "unit": "millisecond", "amount": {"$toLong": pause_ms}}}
        own = {"$cond": [{"$gte": ["$failures", DOWN_AFTER]}, shut, None]}
        asked = None if pause_s is None else after_now(pause_s)
        await self._receivers.update_one(
            {"_id": name},
            [
                {"$set": {"failures": failures, "reason": {"$literal": reason}}},
                {
                    "$set": {
                        "shut_until": {"$max": ["$shut_until", own, asked]},
                        "down_since": {"$ifNull": ["$down_since", NOW]},
                    }
                },
            ],
        )

    async def note_answer(self, name: str) -> None:
        """It answers: whatever was held against it is forgotten."""
        await self._receivers.update_one(
            {"_id": name, "failures": {"$gt": 0}},
            {"$unset": dict.fromkeys(("failures", "shut_until", "down_since", "reason"), "")},
        )

    async def take_turn(self, holder: str, *, lease_s: float) -> bool:
        """Whether it is for `holder`, and nobody else for `lease_s` seconds, to gather events.

        For economy alone: gathered by two, events are the same.
        """
        mine = {"$literal": holder}
        # Of nobody, or over: a date that is missing is before all others.
        is_free = {"$or": [{"$eq": ["$holder", mine]}, {"$lte": ["$until", NOW]}]}
        values = {
            "holder": {"$cond": [is_free, mine, "$holder"]},
            "until": {"$cond": [is_free, after_now(lease_s), "$until"]},
        }
        turn = await self._receivers.find_one_and_update(
            {"_id": _TURN}, [{"$set": values}], upsert=True, return_document=ReturnDocument.AFTER
        )
        return bool(turn["holder"] == holder)
