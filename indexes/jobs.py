"""Indexes of `jobs`. Not sharded: open jobs are few, and one claim must see all lanes."""

from __future__ import annotations

from indexes.declaration import Index

INDEXES = (
    Index(
        name="claim",
        keys=(("lane_rank", 1), ("visible_at", 1)),
        serves="claim: the next visible open job of the foremost lane",
        targets="one shard",
        options={"partialFilterExpression": {"state": "open"}},
    ),
    Index(
        name="queue_age",
        keys=(("state", 1), ("lane", 1), ("enqueued_at", 1)),
        serves="queue age per lane; listing dead letters",
        targets="one shard",
    ),
    Index(
        name="expiry",
        keys=(("expires_at", 1),),
        serves="TTL: jobs that are done go after their retention",
        targets="one shard",
        options={"expireAfterSeconds": 0},
    ),
)
