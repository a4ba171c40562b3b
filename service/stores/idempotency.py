"""The `idempotency` collection: what was decided the first time a key was used, so that a repeat decides the same."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from pymongo import ReturnDocument

from service.errors import IdempotencyKeyReused
from service.stores.database import Database

RETENTION = timedelta(hours=48)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def fingerprint(content: Any) -> str:
    """SHA-256 of the input as canonical JSON (sorted keys), so that field order does not matter."""
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS, default=str)).hexdigest()


class IdempotencyStore:
    def __init__(self, database: Database) -> None:
        self._records = database.idempotency

    async def remember(self, *, owner_id: str, operation: str, key: str, content: Any, plan: Any) -> Any:
        """The plan to carry out: `plan` if this key is new to the owner and operation, else the one remembered.

        A plan holds every decision (ids above all), and carrying it out twice changes nothing more, so twins that
        arrive together and repeats after a crash converge. Raises IdempotencyKeyReused if `content` differs.
        """
        identity = fingerprint(content)
        record = await self._records.find_one_and_update(
            {"_id": _digest(owner_id, operation, key)},
            {
                "$setOnInsert": {
                    "fingerprint": identity,
                    "plan": plan,
                    "expires_at": datetime.now(UTC) + RETENTION,
                }
            },
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        if record["fingerprint"] != identity:
            raise IdempotencyKeyReused(
                "This idempotency key was used before with different input. Use a new key for a new request.",
                field=["idempotencyKey"],
            )
        return record["plan"]
