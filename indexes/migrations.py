"""The index of media that an earlier release wrote and that are still to be migrated: empty for most of the time."""

from __future__ import annotations

from indexes.declaration import Index

# With another version comes another name: the old one is then undeclared, and may be dropped.
VERSION = 3

MEDIA_INDEXES = (
    Index(
        name=f"unmigrated_{VERSION}",
        keys=(("_id", 1), ("schema_version", 1)),
        serves="migrate and doctor: the media of earlier releases, in the order of their ids",
        targets="every shard, merge-sorted by _id",
        options={"partialFilterExpression": {"schema_version": {"$lt": VERSION}}},
        seldom=True,
    ),
)
