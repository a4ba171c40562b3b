"""Indexes of `embeddings`. Sharded by {media_id: hashed}: all of a media on one shard, searches ask every shard.

`embedding_models`, a row a model, is not sharded and read by id alone.
"""

from __future__ import annotations

from indexes.declaration import Index

INDEXES = (
    Index(
        name="by_media",
        keys=(("media_id", 1), ("model", 1)),
        serves="Media.embeddings; settle and remove_of: all rows of a media",
        targets="one shard",
    ),
    Index(
        name="places",
        keys=(("media_id", 1), ("place", 1)),
        serves="free_places; put: no media has more embeddings than places, however many write at once",
        targets="one shard",
        options={"unique": True, "partialFilterExpression": {"place": {"$gte": 0}}},
    ),
    Index(
        name="by_model",
        keys=(("model", 1), ("_id", 1)),
        serves="of_model: what is searched by scanning; page: export of one model",
        targets="every shard",
        options={"partialFilterExpression": {"model": {"$gt": ""}}},
    ),
)
