"""Indexes of `audit`, and of the outboxes that lead to it. `audit` is sharded by {bucket: 1}, if at all."""

from __future__ import annotations

from indexes.declaration import Index

INDEXES = (
    Index(
        name="entry",
        keys=(("bucket", 1), ("id", 1)),
        serves="append: which entries a chain has already; none is there twice",
        targets="one shard",
        options={"unique": True},
    ),
    # Moments are texts that sort as they came.
    Index(
        name="by_subject",
        keys=(("subject", 1), ("at", 1), ("_id", 1)),
        serves="audit show --media: what is on record of one media",
        targets="every shard",
    ),
    Index(
        name="by_owner",
        keys=(("owner", 1), ("at", 1), ("_id", 1)),
        serves="audit show --owner: what is on record of one owner's media",
        targets="every shard",
    ),
    Index(
        name="by_actor",
        keys=(("actor", 1), ("at", 1), ("_id", 1)),
        serves="audit show --actor: what one person has done",
        targets="every shard",
    ),
)

_OUTBOX = Index(
    name="audit_pending",
    keys=(("audit_pending.id", 1),),
    serves="settle_all: documents whose changes have not been taken to the audit chains",
    targets="every shard",
    options={"partialFilterExpression": {"audit_pending.id": {"$gt": ""}}},
)

MEDIA_INDEXES = (_OUTBOX,)
DELETION_INDEXES = (_OUTBOX,)
HOLD_INDEXES = (_OUTBOX,)
ERASURE_INDEXES = (_OUTBOX,)
EMBEDDING_INDEXES = (_OUTBOX,)
