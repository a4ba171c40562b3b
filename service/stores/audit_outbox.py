"""How a write notes what it has done: in the document that it changes, so that neither is there without the other.

`audit_pending` is that document's outbox; `service/stores/audit.py` takes what is in it to the chains.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.audit import AuditAction
from service.stores.expressions import NOW, Expression

OUTBOX = "audit_pending"


def noted(
    entry_id: str, action: AuditAction, *, actor: str, owner: Any = "$owner_id", details: Mapping[str, Any]
) -> dict[str, Expression]:
    """What a pipeline update of a media or its deletion sets besides, to have it on record. In server time.

    `entry_id` follows from what is done, so that doing it again is no second entry. `details`: names of fields and
    counts, never what people have written: what is on record stays when they leave.
    """
    entry = {
        "id": {"$literal": entry_id},
        "action": action.value,
        "actor": {"$literal": actor},
        "owner": owner,
        "subject": "$_id",
        "at": NOW,
        "details": {"$literal": dict(details)},
    }
    return {OUTBOX: {"$concatArrays": [{"$ifNull": [f"${OUTBOX}", []]}, [entry]]}}
