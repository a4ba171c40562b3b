"""Indexes of `jobs`. Not sharded: open jobs are few, and one claim must see all lanes."""

from __future__ import annotations

from indexes.declaration import Index

INDEXES = (
    Index(
        name="claim_by_workload",
        keys=(("workload", 1), ("lane_rank", 1), ("visible_at", 1)),
        serves="claim: the next visible open job of the foremost lane, of the workloads that there are places for",
        targets="one shard",
        options={"partialFilterExpression": {"state": "open"}},
    ),
    Index(
        name="inspection",
        keys=(("state", 1), ("lane", 1), ("visible_at", 1), ("claimed_by", 1)),
        serves="the oldest job and the number of jobs of each lane and state; lists of jobs; dead letters",
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
