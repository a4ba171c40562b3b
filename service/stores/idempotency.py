"""The `idempotency` collection: what was decided the first time a key was used, so that a repeat decides the same."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson
from pymongo import ReturnDocument

from service.errors import IdempotencyKeyReused, InvalidInput
from service.stores.database import Database
from service.stores.erasures import ErasureStore
from service.stores.expressions import after_now, insert_if_absent

RETENTION = timedelta(hours=48)
MAX_KEY_LENGTH = 200


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def fingerprint(content: Any) -> str:
    """SHA-256 of the input as canonical JSON (sorted keys), so that field order does not matter."""
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS, default=str)).hexdigest()


@dataclass(frozen=True, slots=True)
class Remembered:
    """What is known of a key: the plan of its first use; `applied` if that was carried out and since built upon."""

    id: str
    plan: Any
    applied: bool


class IdempotencyStore:
    def __init__(self, database: Database) -> None:
        self._records = database.idempotency
        self._erasures = ErasureStore(database)

    async def remember(self, *, owner_id: str, operation: str, key: str, content: Any, plan: Any) -> Any:
        """The plan to carry out: `plan` if this key is new to the owner and operation, else the one remembered.

        A plan holds every decision (ids above all), and carrying it out twice changes nothing more, so twins that
        arrive together and repeats after a crash converge. Raises IdempotencyKeyReused if `content` differs, and
        InvalidInput for a key that is empty or too long. Raises NotPermitted for an owner who is erased, or is being.
        """
        return (await self.recall(owner_id=owner_id, operation=operation, key=key, content=content, plan=plan)).plan

    async def recall(self, *, owner_id: str, operation: str, key: str, content: Any, plan: Any) -> Remembered:
        """As `remember`, for plans that may be carried out only once: with what `mark_applied` has noted."""
        if not 1 <= len(key.strip()) <= MAX_KEY_LENGTH:
            raise InvalidInput(
                f"idempotencyKey takes 1 to {MAX_KEY_LENGTH} characters; make a random one, e.g. a UUID.",
                field=["idempotencyKey"],
            )
        await self._erasures.refuse(owner_id)
        identity = fingerprint(content)
        record_id = _digest(owner_id, operation, key)
        # By the clock of the database, which is who forgets it.
        fresh = {
            "fingerprint": identity,
            "owner": _digest(owner_id),
            "plan": {"$literal": plan},
            "expires_at": after_now(RETENTION.total_seconds()),
        }
        record = await self._records.find_one_and_update(
            {"_id": record_id},
            insert_if_absent(fresh, marker="fingerprint"),
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        if record["fingerprint"] != identity:
            raise IdempotencyKeyReused(
                "This idempotency key was used before with different input. Use a new key for a new request.",
                field=["idempotencyKey"],
            )
        return Remembered(record_id, record["plan"], record.get("applied", False))

    async def mark_applied(self, record_id: str, plan: Any) -> None:
        """Note that `plan` was carried out, unless the key has been forgotten or used anew since."""
        await self._records.update_one({"_id": record_id, "plan": plan}, {"$set": {"applied": True}})

    async def forget_owner(self, owner_id: str) -> None:
        """Forget every key of an owner. Those of an earlier release do not say whose they are, and run out."""
        await self._records.delete_many({"owner": _digest(owner_id)})
