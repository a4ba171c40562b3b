"""Indexes of `quotas` and `rate_limits`. Both sharded by {_id: hashed}: every use but upkeep's is by id."""

from __future__ import annotations

from indexes.declaration import Index

INDEXES = (
    Index(
        name="due",
        keys=(("due_at", 1),),
        serves="upkeep: owners some of whose uploads are neither settled nor forgotten, longest first",
        targets="every shard",
        options={"partialFilterExpression": {"due_at": {"$exists": True}}},
    ),
)

RATE_LIMIT_INDEXES = (
    Index(
        name="expiry",
        keys=(("expireAt", 1),),
        serves="TTL: what was asked for counts for two windows",
        targets="every shard, in the background",
        options={"expireAfterSeconds": 0},
    ),
)
