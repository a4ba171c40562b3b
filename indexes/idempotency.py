"""Indexes of `idempotency`. Sharded by {_id: hashed}: every use is by id."""

from __future__ import annotations

from indexes.declaration import Index

INDEXES = (
    Index(
        name="expiry",
        keys=(("expires_at", 1),),
        serves="TTL: a key may be used anew once its retention is over",
        targets="every shard, in the background",
        options={"expireAfterSeconds": 0},
    ),
)
