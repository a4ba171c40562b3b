"""Runs of commands that change much at once go on record before they begin: who looks later sees that there was one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from uuid6 import uuid7

from service.audit import OPERATOR_ACTOR, AuditAction, Deed, Note
from service.stores.audit import AuditStore
from service.stores.media_reads import MediaReads


async def put_on_record(
    command: str,
    options: Mapping[str, Any],
    *,
    audit: AuditStore,
    owner_id: str | None = None,
    media_id: UUID | None = None,
) -> None:
    """Return once it is on record that the operator is about to run `command`. Raises TemporarilyUnavailable: it must
    not be run then.

    `options`: all that decide what it does; names, ids and numbers, never what people have written. What comes of it is
    on record under each media, where it changes one. `owner_id`, `media_id`: whom and what alone it is about. The entry
    is theirs then, and `options` need not say so; otherwise it is nobody's, and stands under `operator`.
    """
    subject = owner_id or command if media_id is None else str(media_id)
    note = Note(AuditAction.OPERATOR_COMMAND, actor=OPERATOR_ACTOR, details={"command": command, **options})
    await audit.record([Deed(f"command:{uuid7()}", note, owner=owner_id or OPERATOR_ACTOR, subject=subject)])


async def owner_of(media_id: UUID | None, media: MediaReads) -> str | None:
    """Whose a media is, or was; None if there is none such."""
    found = None if media_id is None else await media.get(media_id, fields=("owner_id",))
    return None if found is None else found["owner_id"]
