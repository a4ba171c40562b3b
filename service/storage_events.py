"""What S3 says has happened to its objects: notifications in each wrapping they arrive in, and their order. Pure.

Formats: https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html (versions 2.x),
https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html (EventBridge) and
https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html (SNS).
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

import orjson
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

_HEXADECIMAL = re.compile(r"[0-9A-F]+")


class UnreadableEvent(ValueError):
    """Not a notification of S3; reading it again will not help."""


class EventKind(enum.StrEnum):
    CREATED = "created"
    REMOVED = "removed"


# The part before the colon of an event's name. Others (tagging, restoring, replication) tell nothing about bytes.
_FAMILIES = {
    "ObjectCreated": EventKind.CREATED,
    "ObjectRemoved": EventKind.REMOVED,
    "LifecycleExpiration": EventKind.REMOVED,
}
_DETAIL_TYPES = {"Object Created": EventKind.CREATED, "Object Deleted": EventKind.REMOVED}


@dataclass(frozen=True, slots=True)
class StorageEvent:
    """An object has appeared or gone. `sequencer` in the form that `canonical_sequencer` gives it."""

    kind: EventKind
    bucket: str
    key: str
    bytes: int | None = None
    etag: str | None = None
    sequencer: str | None = None
    at: datetime | None = None

    def follows(self, sequencer: str | None) -> bool:
        """Whether this is later than the event of the same key that had `sequencer`; True where either has none."""
        return self.sequencer is None or sequencer is None or self.sequencer > sequencer


class _Bucket(BaseModel):
    name: str


class _Object(BaseModel):
    key: str
    size: int | None = None
    etag: str | None = None
    sequencer: str | None = None


class _NotifiedObject(_Object):
    etag: str | None = Field(default=None, alias="eTag")


class _Change(BaseModel):
    bucket: _Bucket
    object: _Object


class _NotifiedChange(BaseModel):
    bucket: _Bucket
    object: _NotifiedObject


class _Record(BaseModel):
    name: str = Field(alias="eventName")
    at: datetime = Field(alias="eventTime")
    s3: _NotifiedChange


class _BusEvent(BaseModel):
    name: str = Field(alias="detail-type")
    at: datetime = Field(alias="time")
    detail: _Change


_RECORDS = TypeAdapter(list[_Record])


def parse_events(notification: str | bytes | Mapping[str, Any]) -> list[StorageEvent]:
    """What a notification announces, in its order; empty for S3's test event and for events about other things.

    `notification`: the body of a message, or its JSON already read, as S3 sends it to SQS or Lambda, as SNS passes it
    on, or as EventBridge does. Raises UnreadableEvent for anything else.
    """
    payload = notification if isinstance(notification, Mapping) else _read_json(notification)
    if payload.get("Type") == "Notification":
        payload = _read_json(payload.get("Message"))
    try:
        if payload.get("Event") == "s3:TestEvent":
            return []
        if payload.get("source") == "aws.s3":
            return _from_bus(_BusEvent.model_validate(payload))
        return [event for record in _RECORDS.validate_python(payload.get("Records")) for event in _from_record(record)]
    except ValidationError as error:
        raise UnreadableEvent(f"not a notification of S3: {error.error_count()} fields missing or wrong") from None


def _read_json(text: object) -> Mapping[str, Any]:
    try:
        payload = orjson.loads(text) if isinstance(text, str | bytes) else None
    except orjson.JSONDecodeError:
        payload = None
    if not isinstance(payload, dict):
        raise UnreadableEvent("not a JSON object")
    return payload


def _from_record(record: _Record) -> list[StorageEvent]:
    kind = _FAMILIES.get(record.name.removeprefix("s3:").partition(":")[0])
    # Keys in notifications are form-encoded; those on the bus are not.
    return [] if kind is None else [_event(kind, record.s3.bucket, record.s3.object, record.at, encoded=True)]


def _from_bus(event: _BusEvent) -> list[StorageEvent]:
    kind = _DETAIL_TYPES.get(event.name)
    return [] if kind is None else [_event(kind, event.detail.bucket, event.detail.object, event.at, encoded=False)]


def _event(kind: EventKind, bucket: _Bucket, changed: _Object, at: datetime, *, encoded: bool) -> StorageEvent:
    return StorageEvent(
        kind=kind,
        bucket=bucket.name,
        key=unquote_plus(changed.key) if encoded else changed.key,
        bytes=changed.size,
        etag=changed.etag,
        sequencer=canonical_sequencer(changed.sequencer),
        at=at,
    )


def canonical_sequencer(sequencer: str | None) -> str | None:
    """`sequencer` so that plain comparison, here or in MongoDB, orders the events of one key; None if it has none.

    S3 orders by padding the shorter of two with zeros on the right, then comparing as text. Without trailing zeros, and
    in one case, plain text order is the same: equal ones are equal as text, and a proper prefix comes first either way.
    """
    canonical = (sequencer or "").upper()
    return canonical.rstrip("0") or None if _HEXADECIMAL.fullmatch(canonical) else None
