"""`audit show`: what is on record of a media, an owner or an actor, for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import typer
from rich.text import Text

from service.audit import AuditAction
from service.commands.printing import json_line, printable, result_console
from service.errors import InvalidInput
from service.global_ids import decode_id
from service.settings import Settings
from service.stores.audit_reads import AuditReads
from service.stores.database import OUTAGE_ERRORS, open_database


@dataclass(frozen=True, slots=True)
class Asked:
    """What an entry has to be of to be shown; None: of any."""

    media_id: UUID | None
    owner: str | None
    actor: str | None
    action: AuditAction | None

    @classmethod
    def of(cls, *, media: str | None, owner: str | None, actor: str | None, action: str | None) -> Asked:
        """As it was written. Raises InvalidInput for what is no id of a media, or no action."""
        try:
            asked = None if action is None else AuditAction(action)
        except ValueError:
            raise InvalidInput(f"{action!r} is no action; there are {', '.join(AuditAction)}.") from None
        return cls(None if media is None else _media_id(media), owner, actor, asked)


def _media_id(given: str) -> UUID:
    parts = decode_id(given)
    if parts is not None and parts[0] == "Media":
        return parts[1]
    try:
        return UUID(given)
    except ValueError:
        raise InvalidInput(f"{given!r} is no id of a media, neither the API's nor a UUID.") from None


async def show_entries(settings: Settings, asked: Asked, *, as_json: bool) -> int:
    """Print what is on record, oldest first, as it comes from the database; the exit code."""
    console, shown = result_console(), 0
    try:
        async with open_database(settings.mongo) as database:
            reads = AuditReads(database)
            async for entry in reads.entries(media_id=asked.media_id, owner_id=asked.owner, actor=asked.actor):
                if asked.action is not None and entry["action"] != asked.action:
                    continue
                shown += 1
                console.print(json_line(entry) if as_json else Text(_line(entry)), markup=False)
            waiting = (await reads.backlog()).number
    except OUTAGE_ERRORS as error:
        typer.echo(f"Stopped: {error}. Run the same command again.", err=True)
        return 1
    # The last ones may be among those.
    more = f" {waiting} documents hold entries that are still to be appended." if waiting else ""
    typer.echo(f"{shown} entries.{more}", err=True)
    return 0


def _line(entry: Mapping[str, Any]) -> str:
    details = "" if not entry["details"] else f"  {json_line(entry['details'])}"
    who = f"{entry['actor']}  {entry['action']}  {entry['subject']}  of {entry['owner']}"
    return printable(f"{entry['at']}  {who}{details}")
