"""How a write notes the event that it makes: in the document that it changes, neither without the other.

`webhook_pending` is that document's outbox, `webhook_sequence` counts what was ever put into it. Each function gives
the last stage of a pipeline update, where the document is as the write leaves it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from service.lifecycle import MediaStatus
from service.stores.expressions import NOW, Expression

OUTBOX: Final = "webhook_pending"
SEQUENCE: Final = "webhook_sequence"

Stages = Sequence[dict[str, Any]]

NOTHING: Final[Stages] = ()
_NEXT: Final = {"$add": [{"$ifNull": [f"${SEQUENCE}", 0]}, 1]}


def _noting(entry: dict[str, Any]) -> Stages:
    # What is missing in the document is to be null in the entry.
    whole: dict[str, Any] = {name: {"$ifNull": [value, None]} for name, value in entry.items()}
    whole |= {"sequence": _NEXT, "at": NOW}
    earlier = {"$ifNull": [f"${OUTBOX}", []]}
    return ({"$set": {OUTBOX: {"$concatArrays": [earlier, [whole]]}, SEQUENCE: _NEXT}},)


_OF_MEDIA: Final[Expression] = {
    "status": "$status",
    "status_sequence": "$status_sequence",
    "visibility": "$visibility",
    "capture_id": "$capture_id",
    "subject": "$subject",
}


def status_noted(*, moderated: bool = False) -> Stages:
    """The media has entered a status. `moderated`: by the latest of its moderators' decisions."""
    decision = {"$arrayElemAt": ["$moderation.decision", -1]} if moderated else None
    return _noting({**_OF_MEDIA, "kind": "status", "failure": "$failure.code", "moderation": decision})


def change_noted() -> Stages:
    """Who may see the media, or what it is of, has changed."""
    return _noting({**_OF_MEDIA, "kind": "changed"})


def stage_noted() -> Stages:
    """A deletion has come to another stage."""
    return _noting({"kind": "stage", "stage": "$stage", "certificate": "$certificate"})


def initiated(media: Mapping[str, Any]) -> dict[str, Any]:
    """What a media that is being made holds of its first event, for `insert_if_absent`."""
    known = {name: {"$literal": media.get(name)} for name in ("visibility", "capture_id", "subject")}
    entry = {
        **known,
        "kind": "status",
        "status": MediaStatus.INITIATED.value,
        "status_sequence": 1,
        "failure": None,
        "moderation": None,
        "sequence": 1,
        "at": NOW,
    }
    return {OUTBOX: [entry], SEQUENCE: 1}
