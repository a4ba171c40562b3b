"""From `MediaFilter` to a MongoDB query."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from schema.media_filter import MediaFilter
from service.errors import InvalidInput

MAX_VALUES = 20
_TIME_BITS = 80


def media_query(narrowed: MediaFilter) -> dict[str, Any]:
    """The query a filter stands for; access rules are added by the store. Raises InvalidInput."""
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
    if narrowed.tags:
        query["tags"] = {"$all": _bounded(narrowed.tags, "tags")}
    if created := _created(narrowed.created_after, narrowed.created_before):
        query["_id"] = created
    return query


def _bounded(values: list[Any], name: str) -> list[Any]:
    if len(values) > MAX_VALUES:
        raise InvalidInput(f"Give at most {MAX_VALUES} values.", field=["filter", name])
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
