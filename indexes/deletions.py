"""Indexes of `deletions`. Sharded by {_id: hashed}."""

from __future__ import annotations

from indexes.declaration import Index

INDEXES = (
    Index(
        name="upkeep",
        keys=(("stage", 1), ("look_at", 1)),
        serves="take_due: deletions that the sweeper is to look after",
        targets="every shard",
    ),
    Index(
        name="unfinished",
        keys=(("stage", 1), ("due_at", 1)),
        serves="unverified: those that could have been verified and are not, longest first",
        targets="every shard",
        # All other stages come before it.
        options={"partialFilterExpression": {"stage": {"$lt": "VERIFIED"}}},
    ),
)
