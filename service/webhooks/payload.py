"""What receivers are sent, as JSON of version 1: ids and states, nothing that people wrote, no places and no URLs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic.alias_generators import to_camel

from service.audit import moment
from service.errors import FailureCode
from service.global_ids import encode_id
from service.lifecycle import MediaStatus
from service.models import DeletionStage, MediaPurpose, ModerationDecision, Visibility

VERSION: Final = 1
PING: Final = "webhook.ping"
CHANGED: Final = "media.changed"

_STATUS_TYPES: Final = {status: f"media.{status.lower()}" for status in MediaStatus}
_STAGE_TYPES: Final = {stage: f"deletion.{stage.lower()}" for stage in DeletionStage}
EVENT_TYPES: Final = (*_STATUS_TYPES.values(), CHANGED, *_STAGE_TYPES.values())


class _Shape(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, frozen=True, validate_by_name=True, extra="forbid")


class _Data(_Shape):
    version: Literal[1] = Field(
        default=1, description="Grows when a field goes or changes its meaning; new ones may come"
    )


class Subject(_Shape):
    type: str
    id: str


class _OfMedia(_Data):
    sequence: int = Field(ge=1, description="Counts the events of this media; they are sent in its order")
    media_id: str = Field(description="As `Media.id`")
    owner_id: str
    purpose: MediaPurpose


class MediaData(_OfMedia):
    status: MediaStatus
    status_sequence: int = Field(ge=1, description="As `Media.statusSequence`")
    visibility: Visibility
    capture_id: str | None
    subject: Subject | None
    failure_code: FailureCode | None = Field(description="Why it is FAILED or QUARANTINED")
    moderation: ModerationDecision | None = Field(description="The moderator's decision that led to this status")


class DeletionData(_OfMedia):
    deletion_id: str = Field(description="As `Deletion.id`")
    stage: DeletionStage
    certificate: str | None = Field(description="Once VERIFIED: SHA-256 of its entry in the audit chain, in hex")


class PingData(_Data):
    receiver: str


class _Event(_Shape):
    timestamp: str = Field(description="When it happened, in UTC, by the database's clock; not when it is sent")


class MediaEvent(_Event):
    type: Literal[
        "media.initiated",
        "media.uploading",
        "media.uploaded",
        "media.processing",
        "media.ready",
        "media.failed",
        "media.quarantined",
        "media.expired",
        "media.deleted",
        "media.changed",
    ]
    data: MediaData


class DeletionEvent(_Event):
    type: Literal[
        "deletion.hidden",
        "deletion.objects_removed",
        "deletion.cdn_invalidated",
        "deletion.verified",
        "deletion.blocked_by_retention",
    ]
    data: DeletionData


class PingEvent(_Event):
    type: Literal["webhook.ping"]
    data: PingData


_ANY: TypeAdapter[MediaEvent | DeletionEvent | PingEvent] = TypeAdapter(MediaEvent | DeletionEvent | PingEvent)


def json_schema() -> bytes:
    """JSON Schema (2020-12) of every body, as docs/webhook-events.schema.json holds it."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Webhook events",
        **_ANY.json_schema(mode="serialization"),
    }
    return orjson.dumps(schema, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def event_id(media_id: UUID, sequence: int) -> str:
    """The same however often it is sent, and to whom. Without dots, which separate what is signed."""
    return f"evt_{media_id.hex}_{sequence}"


def event_type(entry: Mapping[str, Any]) -> str:
    """The type of an event as its write has noted it. Raises ValueError for one that this release does not know."""
    match entry["kind"]:
        case "status":
            return _STATUS_TYPES[MediaStatus(entry["status"])]
        case "stage":
            return _STAGE_TYPES[DeletionStage(entry["stage"])]
        case "changed":
            return CHANGED
        case unknown:
            raise ValueError(f"events of kind {unknown} are not known")


def event_body(document: Mapping[str, Any], entry: Mapping[str, Any], sequence: int) -> str:
    """The body of an event that the write to `document` (a media, or its deletion) has noted as `entry`.

    Raises ValueError, KeyError or TypeError for what this release does not know.
    """
    media_id: UUID = document["_id"]
    of_media = {
        "sequence": sequence,
        "media_id": encode_id("Media", media_id),
        "owner_id": document["owner_id"],
        "purpose": document["purpose"],
    }
    at, type_ = moment(entry["at"]), event_type(entry)
    event: MediaEvent | DeletionEvent
    if entry["kind"] == "stage":
        deletion = {name: entry[name] for name in ("stage", "certificate")}
        deletion_id = encode_id("Deletion", media_id)
        event = DeletionEvent.model_validate(
            {"type": type_, "timestamp": at, "data": {**of_media, **deletion, "deletion_id": deletion_id}}
        )
    else:
        names = ("status", "status_sequence", "visibility", "capture_id", "subject")
        media = {name: entry[name] for name in names} | {
            "failure_code": entry.get("failure"),
            "moderation": entry.get("moderation"),
        }
        event = MediaEvent.model_validate({"type": type_, "timestamp": at, "data": {**of_media, **media}})
    return event.model_dump_json(by_alias=True)


def ping_body(receiver: str, at: datetime) -> str:
    """The body of what only tries whether a receiver answers."""
    return PingEvent(type=PING, timestamp=moment(at), data=PingData(receiver=receiver)).model_dump_json(by_alias=True)
