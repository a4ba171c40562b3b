"""From `MediaFilter` to a MongoDB query."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from schema.media_filter import MediaFilter
from service.access import Action
from service.errors import InvalidInput
from service.labels import STEPS, composed, step_of
from service.models import NEAR_DUPLICATE

MAX_VALUES = 20
_TIME_BITS = 80


def media_query(narrowed: MediaFilter | None) -> dict[str, Any]:
    """The query a filter stands for; access rules are added by the store. Raises InvalidInput."""
    if narrowed is None:
        return {}
    equal = {
        "owner_id": narrowed.owner_id,
        "purpose": narrowed.purpose and narrowed.purpose.value,
        "kind": narrowed.kind and narrowed.kind.value,
        "capture_id": narrowed.capture_id,
        "album_ids": narrowed.album_id,
        "subject.type": narrowed.subject and narrowed.subject.type,
        "subject.id": narrowed.subject and narrowed.subject.id,
    }
    query: dict[str, Any] = {path: str(value) for path, value in equal.items() if value is not None}
    if narrowed.status is not None:
        query["status"] = {"$in": [status.value for status in _bounded(narrowed.status, "status")]}
    if found := _found(narrowed.label, narrowed.min_confidence):
        query["labels"] = found
    if narrowed.tags:
        query["tags"] = {"$all": list(dict.fromkeys(_bounded(narrowed.tags, "tags")))}
    if created := _created(narrowed.created_after, narrowed.created_before):
        query["_id"] = created
    return query


def action_of(narrowed: MediaFilter | None) -> Action:
    """What the viewer must be allowed to do with a media to find it by this filter."""
    # That a picture looks like another says something of that other one: not to be had by asking for the label either.
    is_detail = narrowed is not None and narrowed.label == NEAR_DUPLICATE
    return Action.READ_DETAILS if is_detail else Action.READ


def _found(label: str | None, min_confidence: float | None) -> dict[str, Any] | None:
    """What an entry of a media's `labels` must be like, in whole steps as far as they go: those are in the index."""
    if label is None:
        if min_confidence is not None:
            raise InvalidInput("`minConfidence` says how sure a `label` is; give one.", field=["filter", "label"])
        return None
    if not (wanted := composed(label)):
        raise InvalidInput("`label` is empty; give one, or leave it out.", field=["filter", "label"])
    least = 0.0 if min_confidence is None else min_confidence
    if not 0 <= least <= 1:
        raise InvalidInput("`minConfidence` must be 0 to 1.", field=["filter", "minConfidence"])
    steps = list(range(step_of(least), STEPS))
    sure: dict[str, Any] = {"label": wanted, "step": {"$in": steps}}
    return {"$elemMatch": sure if least == 0 else {**sure, "confidence": {"$gte": least}}}


def _bounded(values: list[Any], name: str) -> list[Any]:
    if len(values) > MAX_VALUES:
        raise InvalidInput(f"`{name}` takes at most {MAX_VALUES} values.", field=["filter", name])
    return values


def _created(after: datetime | None, before: datetime | None) -> dict[str, UUID]:
    # Ids are UUIDv7, so a span of time is a span of ids, and needs no index of its own.
    span = {}
    if after is not None:
        span["$gte"] = _first_id_of(after)
    if before is not None:
        span["$lt"] = _first_id_of(before)
    return span


def _first_id_of(moment: datetime) -> UUID:
    """The lowest UUIDv7 of a millisecond (RFC 9562, section 5.7)."""
    milliseconds = max(int(moment.timestamp() * 1000), 0)
    return UUID(int=(milliseconds << _TIME_BITS) | (0x7 << 76) | (0x2 << 62))
