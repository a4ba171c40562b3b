"""Indexes of `deletions`. Sharded by {_id: hashed}."""

from __future__ import annotations

from indexes.declaration import Index

INDEXES = (
    Index(
        name="upkeep",
        keys=(("stage", 1), ("look_at", 1)),
        serves="take_due: deletions that the sweeper is to look after; unverified: those that are not verified",
        targets="every shard",
    ),
)
