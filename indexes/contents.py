"""Indexes of `contents`. Sharded by {_id: hashed}: looked up by id; what ends a reference asks every shard."""

from __future__ import annotations

from indexes.declaration import Index

INDEXES = (
    Index(
        name="object",
        keys=(("key", 1),),
        serves="is_free: whether an object holds a content that is needed",
        targets="every shard",
    ),
    Index(
        name="refs",
        keys=(("refs", 1),),
        serves="release: the contents of a media that goes",
        targets="every shard",
    ),
)
