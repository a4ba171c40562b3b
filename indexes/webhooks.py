"""Indexes of what receivers are to be told, and of the outboxes that lead to it. Not sharded: it leaves after days."""

from __future__ import annotations

from indexes.declaration import Index

_OPEN = {"partialFilterExpression": {"state": "open"}}

DELIVERY_INDEXES = (
    Index(
        name="in_order",
        keys=(("receiver", 1), ("media_id", 1), ("sequence", 1)),
        serves="next_of: the earliest event of a media that a receiver has not accepted",
        targets="one shard",
        options=_OPEN,
    ),
    Index(
        name="inspection",
        keys=(("receiver", 1), ("state", 1), ("opened_at", -1)),
        serves="the oldest that waits, and how many wait or were given up; webhooks list; giving up",
        targets="one shard",
    ),
    Index(
        name="replay",
        keys=(("receiver", 1), ("state", 1), ("media_id", 1), ("sequence", 1), ("at", 1)),
        serves="webhooks replay: of one receiver what was accepted or given up, each media's in order",
        targets="one shard",
        seldom=True,
    ),
    Index(
        name="of_media",
        keys=(("media_id", 1), ("sequence", 1)),
        serves="webhooks list and replay of one media",
        targets="one shard",
        seldom=True,
    ),
    Index(
        name="event",
        keys=(("event_id", 1), ("receiver", 1)),
        serves="webhooks show: one event as it is kept for each receiver",
        targets="one shard",
        seldom=True,
    ),
    Index(
        name="owner",
        keys=(("owner_id", 1), ("state", 1)),
        serves="forget_owner: what is kept of somebody's media",
        targets="one shard",
        seldom=True,
    ),
    Index(
        name="expiry",
        keys=(("expires_at", 1),),
        serves="TTL: what was delivered, and dead letters, go after their retention",
        targets="one shard",
        options={"expireAfterSeconds": 0},
    ),
)

STREAM_INDEXES = (
    Index(
        name="due",
        keys=(("receiver", 1), ("due_at", 1)),
        serves="claim: the media of a receiver that has been due longest",
        targets="one shard",
    ),
)

_OUTBOX = Index(
    name="webhook_pending",
    keys=(("webhook_pending.sequence", 1),),
    serves="waiting: documents that hold events which nobody has been told of",
    targets="every shard",
    options={"partialFilterExpression": {"webhook_pending.sequence": {"$gt": 0}}},
)

MEDIA_INDEXES = (_OUTBOX,)
DELETION_INDEXES = (_OUTBOX,)
