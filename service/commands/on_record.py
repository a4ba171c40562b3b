"""Runs of commands that change much at once go on record before they begin: who looks later sees that there was one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uuid6 import uuid7

from service.audit import OPERATOR_ACTOR, AuditAction, Deed, Note
from service.stores.audit import AuditStore


async def put_on_record(command: str, options: Mapping[str, Any], *, audit: AuditStore) -> None:
    """Return once it is on record that the operator is about to run `command`. Raises TemporarilyUnavailable: it must
    not be run then.

    `options`: names, ids and numbers, never what people have written. What comes of it is on record under each media,
    where it changes one. The entry is nobody's: it stands under `operator`.
    """
    note = Note(AuditAction.OPERATOR_COMMAND, actor=OPERATOR_ACTOR, details={"command": command, **options})
    await audit.record([Deed(f"command:{uuid7()}", note, owner=OPERATOR_ACTOR, subject=command)])
