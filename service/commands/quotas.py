"""`quotas`: owners of whom other bytes are counted than they have stored."""

from __future__ import annotations

import typer

from service.commands.on_record import put_on_record
from service.commands.printing import counted
from service.errors import TemporarilyUnavailable
from service.quota_recounts import recount_owners
from service.runtime import open_runtime
from service.settings import Settings
from service.stores.database import OUTAGE_ERRORS
from service.telemetry import Metrics

_STOPPING: tuple[type[Exception], ...] = (*OUTAGE_ERRORS, TemporarilyUnavailable)


async def run_recount(settings: Settings, *, owner_id: str | None, repair: bool) -> int:
    """Print a line for each owner that differs, and the tally; the exit code: 1 if any still does."""
    owners, wrong = 0, 0
    async with open_runtime(settings, Metrics()) as runtime:
        try:
            if repair:
                await put_on_record("quotas --repair", {}, audit=runtime.stores.audit, owner_id=owner_id)
            async for each in recount_owners(repair=repair, owner_id=owner_id, stores=runtime.stores):
                owners += 1
                if not each.is_right:
                    wrong += 1
                    typer.echo(
                        f"{each.owner_id}: {each.counted} bytes counted, {each.stored} stored; "
                        f"{each.reserved} reserved, {each.awaited} awaited; "
                        f"{each.uncounted} media counted otherwise than they are"
                    )
        except _STOPPING as error:
            typer.echo(f"Stopped: {error}. Run it again.", err=True)
            return 1
    typer.echo(f"{counted(owners, 'owner')} looked at; {wrong} {'counted anew' if repair else 'differ'}.")
    if wrong and not repair:
        typer.echo("Media under way may differ for a moment. --repair counts anew what does.", err=True)
    return 1 if wrong and not repair else 0
