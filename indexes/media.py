"""Indexes of `media`. Sharded by {_id: hashed}: reads by id go to one shard, lists are merged by `_id`."""

from __future__ import annotations

from indexes.declaration import Index

# MongoDB takes a partial index only where it can prove that the query lies inside it: equality with a text proves
# `$gt ""`, but not `$type: "string"`.
_TEXT = {"$gt": ""}
# And `$elemMatch` proves that there is something, but nothing of what is in it.
_PRESENT = {"$exists": True}

# Below every 64-bit hash, stored as a signed integer: a range that holds them all can be read from an index alone.
LEAST_HASH = -(2**63)

_MERGED = "every shard, merge-sorted by _id"

INDEXES = (
    Index(
        name="feed",
        keys=(("purpose", 1), ("status", 1), ("visibility", 1), ("_id", -1)),
        serves="feed: READY media of one purpose, public ones for everybody, both for moderators",
        targets=_MERGED,
    ),
    Index(
        name="owner_by_purpose",
        keys=(("owner_id", 1), ("purpose", 1), ("status", 1), ("visibility", 1), ("_id", -1)),
        serves="feed: the viewer's own part, and what only they see in it; mediaList by owner and purpose",
        targets=_MERGED,
    ),
    Index(
        name="owner_newest",
        keys=(("owner_id", 1), ("status", 1), ("visibility", 1), ("_id", -1)),
        serves="mediaList: everything of one owner",
        targets=_MERGED,
    ),
    Index(
        name="recent",
        keys=(("status", 1), ("visibility", 1), ("_id", -1)),
        serves="mediaList without a narrower filter: all that the viewer may see",
        targets=_MERGED,
    ),
    Index(
        name="captured",
        keys=(("capture_id", 1), ("status", 1), ("visibility", 1), ("_id", -1), ("owner_id", 1)),
        serves="mediaList by captureId; captureStatus",
        targets=_MERGED,
        options={"partialFilterExpression": {"capture_id": _TEXT}},
    ),
    Index(
        name="of_subject",
        keys=(("subject.type", 1), ("subject.id", 1), ("status", 1), ("visibility", 1), ("_id", -1), ("owner_id", 1)),
        serves="mediaList by subject",
        targets=_MERGED,
        options={"partialFilterExpression": {"subject.id": _TEXT}},
    ),
    Index(
        name="in_album",
        keys=(("album_ids", 1), ("status", 1), ("visibility", 1), ("_id", -1), ("owner_id", 1)),
        serves="mediaList by albumId",
        targets=_MERGED,
        options={"partialFilterExpression": {"album_ids": _TEXT}},
    ),
    Index(
        name="tags_by_purpose",
        keys=(("tags", 1), ("purpose", 1), ("status", 1), ("visibility", 1), ("_id", -1)),
        serves="mediaList by a tag, of everybody",
        targets=_MERGED,
        options={"partialFilterExpression": {"tags": _TEXT}},
    ),
    Index(
        name="owner_tags",
        keys=(("owner_id", 1), ("tags", 1), ("status", 1), ("visibility", 1), ("_id", -1)),
        serves="mediaList by owner and tags; the viewer's own part of mediaList by a tag",
        targets=_MERGED,
        options={"partialFilterExpression": {"tags": _TEXT}},
    ),
    Index(
        name="labels",
        keys=(
            ("labels.label", 1),
            ("labels.step", 1),
            ("purpose", 1),
            ("status", 1),
            ("visibility", 1),
            ("_id", -1),
        ),
        serves="mediaList by label and minConfidence, of everybody",
        targets=_MERGED,
        options={"partialFilterExpression": {"labels": _PRESENT}},
    ),
    Index(
        name="owner_labels",
        keys=(
            ("owner_id", 1),
            ("labels.label", 1),
            ("labels.step", 1),
            ("status", 1),
            ("visibility", 1),
            ("_id", -1),
        ),
        serves="mediaList by owner, label and minConfidence; the viewer's own part of mediaList by label",
        targets=_MERGED,
        options={"partialFilterExpression": {"labels": _PRESENT}},
    ),
    Index(
        name="kinds",
        keys=(("kind", 1), ("purpose", 1), ("status", 1), ("visibility", 1), ("_id", -1)),
        serves="mediaList by kind, of everybody",
        targets=_MERGED,
    ),
    Index(
        name="owner_content",
        keys=(("owner_id", 1), ("content.sha256", 1), ("_id", 1)),
        serves="findDuplicates, createUploads: what an owner already has of these contents",
        targets="every shard",
        options={"partialFilterExpression": {"content.sha256": _TEXT}},
    ),
    Index(
        name="owner_awaited",
        keys=(("owner_id", 1), ("content.announced_sha256", 1), ("_id", 1)),
        serves="createUploads: the session that is open for the same file",
        targets="every shard",
        options={"partialFilterExpression": {"waiting_since": {"$exists": True}}},
    ),
    Index(
        name="stalled",
        keys=(("waiting_since", 1),),
        serves="sweeper: media that wait for bytes or for a worker, longest first",
        targets="every shard",
        options={"partialFilterExpression": {"waiting_since": {"$exists": True}}},
    ),
    Index(
        name="look_alikes",
        keys=(("hashes.bands", 1), ("hashes.phash", 1)),
        serves="similar, similarMedia, near-duplicates: which hashes lie within a distance, from the index alone",
        targets="every shard",
        options={"partialFilterExpression": {"hashes.bands": {"$exists": True}}},
    ),
    Index(
        name="same_hash",
        keys=(("hashes.phash", 1), ("status", 1), ("visibility", 1), ("_id", -1)),
        serves="similar, similarMedia: the newest media that have one of the hashes that were found, from it alone",
        targets=_MERGED,
        options={"partialFilterExpression": {"hashes.phash": {"$gte": LEAST_HASH}}},
    ),
    Index(
        name="owner_same_hash",
        keys=(("owner_id", 1), ("hashes.phash", 1), ("_id", -1), ("status", 1)),
        serves="similar, similarMedia: the viewer's own part; near-duplicates: the media of one owner that have one of "
        "the hashes that were found, and before migration all hashes of theirs",
        targets=_MERGED,
        options={"partialFilterExpression": {"hashes.phash": {"$gte": LEAST_HASH}}},
    ),
    Index(
        name="annotation",
        keys=(("annotations.id", 1),),
        serves="node: an annotation by its id",
        targets="every shard",
        options={"partialFilterExpression": {"annotations.id": {"$exists": True}}},
    ),
    Index(
        name="embeddings_due",
        keys=(("embeddings_due_at", 1),),
        serves="sweeper: media whose embeddings are to follow them, longest first",
        targets="every shard",
        options={"partialFilterExpression": {"embeddings_due_at": {"$exists": True}}},
    ),
)
