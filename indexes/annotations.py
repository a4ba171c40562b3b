"""Indexes of `annotations` and `annotation_rounds`: of media with many annotations, and of writes to these.

Sharded by {media_id: hashed}, so that the rows of a media lie together. Rounds, of which there are few, are not sharded
and found by their ids.
"""

from __future__ import annotations

from indexes.declaration import Index

_ONE = "the media's shard"

INDEXES = (
    Index(
        name="segment",
        keys=(("segment", 1), ("place", 1)),
        serves="Media.annotations: a page of the segments that the media lists, the surest first; writes that read, "
        "sum up and remove segments",
        targets=_ONE,
    ),
    Index(
        name="segment_label",
        keys=(("segment", 1), ("label", 1), ("place", 1)),
        serves="Media.annotations of one label",
        targets=_ONE,
    ),
    Index(
        name="annotation",
        keys=(("annotation_id", 1),),
        serves="node, deleteAnnotations: annotations by their ids",
        targets="every shard",
    ),
    Index(
        name="media",
        keys=(("media_id", 1),),
        serves="deletion: whatever there is of a media",
        targets=_ONE,
    ),
)
