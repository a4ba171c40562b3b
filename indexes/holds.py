"""Indexes of `holds` and `removals`, and of deletions that wait. Not sharded: few at any time."""

from __future__ import annotations

from indexes.declaration import Index

INDEXES = (
    Index(
        name="subject",
        keys=(("subject", 1),),
        serves="on: whether a media or its owner is held",
        targets="one shard",
        options={"partialFilterExpression": {"active": True}},
    ),
    Index(
        name="of_owner",
        keys=(("owner_id", 1),),
        serves="of_owner, forget_owner: holds of an owner who is erased",
        targets="one shard",
        seldom=True,
    ),
)

REMOVAL_INDEXES = (
    Index(
        name="subjects",
        keys=(("subjects", 1),),
        serves="removals_of: what is being removed while a hold is placed",
        targets="one shard",
        seldom=True,
    ),
    Index(
        name="expiry",
        keys=(("expires_at", 1),),
        serves="TTL: removals whose process was killed",
        targets="one shard",
        options={"expireAfterSeconds": 0},
    ),
)

DELETION_INDEXES = (
    Index(
        name="blocked_by",
        keys=(("blocked_by", 1),),
        serves="look_soon, count: deletions that wait for a hold to be lifted",
        targets="every shard",
        options={"partialFilterExpression": {"stage": "BLOCKED_BY_RETENTION"}},
        seldom=True,
    ),
)
