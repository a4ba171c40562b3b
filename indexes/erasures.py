"""Indexes of `erasures`, and of what is looked through for somebody who is to be erased."""

from __future__ import annotations

from indexes.declaration import Index

_EVERY_SHARD = "every shard"
# Names of people begin so, and `;` follows `:`. What models say, which is most, is not in it.
_BY_PEOPLE = {"$gte": "user:", "$lt": "user;"}

INDEXES = (
    Index(
        name="due",
        keys=(("look_at", 1),),
        serves="take_due: erasures that are not over, in turn",
        targets="one shard",
        options={"partialFilterExpression": {"open": True}},
    ),
)

DELETION_INDEXES = (
    Index(
        name="of_owner",
        keys=(("owner_id", 1), ("stage", 1)),
        serves="erasures: how far the deletions of one owner have come",
        targets=_EVERY_SHARD,
        seldom=True,
    ),
    Index(
        name="requested_by",
        keys=(("requested_by", 1),),
        serves="erasures: what somebody had deleted",
        targets=_EVERY_SHARD,
        seldom=True,
    ),
)

MEDIA_INDEXES = (
    Index(
        name="annotators",
        keys=(("annotations.source", 1),),
        serves="erasures: media that somebody has annotated",
        targets=_EVERY_SHARD,
        options={"partialFilterExpression": {"annotations.source": _BY_PEOPLE}},
        seldom=True,
    ),
    Index(
        name="segment_annotators",
        keys=(("annotation_segments.source", 1),),
        serves="erasures: media that somebody has annotated, where their annotations have moved",
        targets=_EVERY_SHARD,
        options={"partialFilterExpression": {"annotation_segments.source": _BY_PEOPLE}},
        seldom=True,
    ),
    Index(
        name="moderated_by",
        keys=(("moderation.by", 1),),
        serves="erasures: media that somebody has decided about",
        targets=_EVERY_SHARD,
        options={"partialFilterExpression": {"moderation.by": {"$gt": ""}}},
        seldom=True,
    ),
)

IDEMPOTENCY_INDEXES = (
    Index(
        name="of_owner",
        keys=(("owner", 1),),
        serves="forget_owner: the keys of an owner who is erased",
        targets=_EVERY_SHARD,
        options={"partialFilterExpression": {"owner": {"$gt": ""}}},
        seldom=True,
    ),
)
