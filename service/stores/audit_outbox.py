"""How a write notes what it has done: in the document that it changes, so that neither is there without the other.

`audit_pending` is that document's outbox; `service/stores/audit.py` takes what is in it to the chains.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from service.audit import AuditAction, Note
from service.stores.expressions import NOW, Expression

OUTBOX = "audit_pending"

# A stage of change streams: that entries were taken to the chains changes nothing of what a document says.
PAST_EMPTIED_OUTBOXES: Mapping[str, Any] = {
    "$match": {
        "$nor": [{"updateDescription.updatedFields": {}, "updateDescription.removedFields": [OUTBOX]}],
    }
}


def noted(
    entry_id: str | Expression,
    action: AuditAction,
    *,
    actor: str,
    owner: Any = "$owner_id",
    subject: Any = "$_id",
    details: Mapping[str, Any],
) -> dict[str, Expression]:
    """What a pipeline update of a document sets besides, to have it on record. In server time.

    `entry_id` follows from what is done, so that doing it again is no second entry. `owner` and `subject`: expressions,
    where the document is no media and no deletion of one, or is only being made. `details`: names of fields and counts,
    never what people have written: what is on record stays when they leave.
    """
    entry = {
        "id": {"$literal": entry_id} if isinstance(entry_id, str) else entry_id,
        "action": action.value,
        "actor": {"$literal": actor},
        "owner": owner,
        "subject": subject,
        "at": NOW,
        "details": {"$literal": dict(details)},
    }
    return {OUTBOX: {"$concatArrays": [{"$ifNull": [f"${OUTBOX}", []]}, [entry]]}}


def noted_status(media_id: UUID, note: Note, *, sequence: int | Expression, owner: Any = "$owner_id") -> Expression:
    """The same of a status of a media; `sequence`, which never comes again, names it."""
    entry_id = {"$concat": [f"status:{media_id}:", {"$toString": sequence}]}
    return noted(entry_id, note.action, actor=note.actor, owner=owner, details=note.details)
