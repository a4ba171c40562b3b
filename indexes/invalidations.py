"""Indexes of `invalidations` and `invalidation_batches`. Not sharded: what is open is little, and gathered from all."""

from __future__ import annotations

from indexes.declaration import Index

INDEXES = (
    Index(
        name="gathering",
        keys=(("state", 1), ("requested_at", 1), ("_id", 1)),
        serves="list_waiting and oldest_age_s: the oldest requests of a state; list_abandoned: those gathered",
        targets="one shard",
    ),
    Index(
        name="by_batch",
        keys=(("batch_id", 1), ("state", 1)),
        serves="list_gathered, complete and scatter: the requests of one batch",
        targets="one shard",
    ),
    Index(
        name="by_media",
        keys=(("media_id", 1), ("state", 1)),
        serves="with_open: whether edges are still to forget something of a media",
        targets="one shard",
    ),
    Index(
        name="expiry",
        keys=(("expires_at", 1),),
        serves="TTL: requests that were completed go after their retention",
        targets="one shard",
        options={"expireAfterSeconds": 0},
    ),
)

BATCH_INDEXES = (
    Index(
        name="due",
        keys=(("state", 1), ("due_at", 1)),
        serves="list_due: batches to be sent or asked about; list_open_paths",
        targets="one shard",
    ),
    Index(
        name="expiry",
        keys=(("expires_at", 1),),
        serves="TTL: batches that were closed go after their retention",
        targets="one shard",
        options={"expireAfterSeconds": 0},
    ),
)
