"""`quarantine-owner`: how many media of an owner were taken out of sight."""

from __future__ import annotations

import typer

from service.errors import TemporarilyUnavailable
from service.moderation import quarantine_owner
from service.runtime import open_runtime
from service.settings import Settings
from service.stores.database import OUTAGE_ERRORS
from service.telemetry import Metrics

_AWAY: tuple[type[Exception], ...] = (TemporarilyUnavailable, *OUTAGE_ERRORS)


async def run_quarantine(settings: Settings, owner_id: str, *, by: str, reason: str) -> int:
    """Print how far it has come after every page; the exit code: 1 if it could not go on. Raises InvalidInput."""

    def show(taken: int) -> None:
        typer.echo(f"{taken} taken out of sight so far", err=True)

    async with open_runtime(settings, Metrics()) as runtime:
        try:
            taken = await quarantine_owner(owner_id, by=by, reason=reason, stores=runtime.stores, on_page=show)
        except _AWAY as error:
            typer.echo(f"Stopped: {error.__cause__ or error}. Run it again to go on.", err=True)
            return 1
    typer.echo(f"{taken} media of {owner_id} are QUARANTINED now." if taken else f"{owner_id} has no READY media.")
    return 0
