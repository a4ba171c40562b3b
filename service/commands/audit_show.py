"""`audit show`: what is on record of a media, an owner or an actor, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
import typer
from rich.text import Text

from service.audit import AuditAction
from service.commands.certificate import own_problems
from service.commands.printing import counted, printable, result_console
from service.errors import InvalidInput
from service.settings import Settings
from service.stores.audit_reads import AuditReads
from service.stores.certificates import stored_entry
from service.stores.database import OUTAGE_ERRORS, open_database


@dataclass(frozen=True, slots=True)
class Asked:
    """What an entry has to be of to be shown; None: of any."""

    media_id: UUID | None
    owner: str | None
    actor: str | None
    action: AuditAction | None

    @classmethod
    def of(cls, *, media: UUID | None, owner: str | None, actor: str | None, action: str | None) -> Asked:
        """As it was written. Raises InvalidInput for what is no action."""
        try:
            asked = None if action is None else AuditAction(action)
        except ValueError:
            raise InvalidInput(f"{action!r} is no action; there are {', '.join(AuditAction)}.") from None
        return cls(media, owner, actor, asked)


async def show_entries(settings: Settings, asked: Asked, *, as_json: bool) -> int:
    """Print what is on record, oldest first, as it comes from the database; the exit code: 1 if some was altered."""
    shown = altered = 0
    try:
        async with open_database(settings.mongo) as database:
            reads = AuditReads(database)
            async for row in reads.entries(media_id=asked.media_id, owner_id=asked.owner, actor=asked.actor):
                if asked.action is not None and row.get("action") != asked.action:
                    continue
                problems = list(own_problems(stored_entry(row)))
                shown, altered = shown + 1, altered + bool(problems)
                _print(row, problems, as_json=as_json)
            waiting = (await reads.backlog()).number
    except OUTAGE_ERRORS as error:
        typer.echo(f"Stopped: {error}. Run the same command again.", err=True)
        return 1
    # The last ones may be among those.
    more = f" {counted(waiting, 'document')} with entries that are still to be appended." if waiting else ""
    typer.echo(f"{counted(shown, 'entry', 'entries')}.{more}", err=True)
    if altered:
        found = counted(altered, "of them does", "of them do")
        typer.echo(f"{found} not hold: see `python -m service audit verify`.", err=True)
    return 1 if altered else 0


def _print(row: Mapping[str, Any], problems: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        # What was altered may be of any type.
        line: str | Text = orjson.dumps({**row, "problems": problems} if problems else row, default=str).decode()
    else:
        line = Text("  ".join([*problems, _line(row)]))
    result_console().print(line, markup=False)


def _line(entry: Mapping[str, Any]) -> str:
    details = "" if not entry.get("details") else f"  {orjson.dumps(entry['details'], default=str).decode()}"
    at, actor, action, subject, owner = (entry.get(name) for name in ("at", "actor", "action", "subject", "owner"))
    return printable(f"{at}  {actor}  {action}  {subject}  of {owner}{details}")
