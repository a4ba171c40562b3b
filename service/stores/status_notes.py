"""What goes on record of a media's status where its writer says nothing else of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.audit import AuditAction, Note
from service.lifecycle import MediaStatus

# Of PROCESSING nothing is: nobody is shown anything else by it. A deletion is noted in its own document, before its
# media is hidden.
_ACTIONS: Mapping[MediaStatus, AuditAction] = {
    MediaStatus.UPLOADING: AuditAction.UPLOAD_STARTED,
    MediaStatus.UPLOADED: AuditAction.UPLOAD_COMPLETED,
    MediaStatus.READY: AuditAction.MEDIA_PROCESSED,
    MediaStatus.FAILED: AuditAction.MEDIA_FAILED,
    MediaStatus.QUARANTINED: AuditAction.MEDIA_QUARANTINED,
    MediaStatus.EXPIRED: AuditAction.UPLOAD_EXPIRED,
}


def own_note(target: MediaStatus, values: Mapping[str, Any]) -> Note | None:
    """That the service itself has written `target`, with the code of its `failure`; None if it goes without saying."""
    action = _ACTIONS.get(target)
    if action is None:
        return None
    failure = values.get("failure")
    return Note(action, details={} if failure is None else {"failure": failure["code"]})
