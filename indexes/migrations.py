"""The index of media that are still to be migrated, or of no version at all: empty for most of the time."""

from __future__ import annotations

from typing import Any

from indexes.declaration import Index

# With another version comes another name: the old one is then undeclared, and may be dropped.
VERSION = 3

# What no range of numbers holds.
UNVERSIONED: tuple[dict[str, Any], ...] = (
    {"schema_version": None},
    {"schema_version": {"$type": ["string", "bool", "object", "array", "date"]}},
)

MEDIA_INDEXES = (
    Index(
        name=f"pending_{VERSION}",
        keys=(("_id", 1), ("schema_version", 1)),
        serves="migrate and doctor: the media of earlier releases, or of none, in the order of their ids",
        targets="every shard, merge-sorted by _id",
        options={"partialFilterExpression": {"$or": [{"schema_version": {"$lt": VERSION}}, *UNVERSIONED]}},
        seldom=True,
    ),
)
