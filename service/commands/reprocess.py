"""`reprocess`: how many media match, how many were enqueued, and where to go on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson
import typer

from service.commands.on_record import owner_of, put_on_record
from service.errors import TemporarilyUnavailable
from service.reprocessing import Progress, reprocess
from service.runtime import open_runtime
from service.settings import Settings
from service.stores.database import OUTAGE_ERRORS
from service.telemetry import Metrics

_AWAY: tuple[type[Exception], ...] = (TemporarilyUnavailable, *OUTAGE_ERRORS)


async def run_reprocessing(
    settings: Settings,
    query: Mapping[str, Any],
    *,
    rate: float,
    after: UUID | None,
    apply: bool,
    force: bool,
    as_json: bool,
) -> int:
    """Print how far it has come after every page; the exit code: 1 if the database went away."""
    latest = Progress(last=after)

    def show(progress: Progress) -> None:
        nonlocal latest
        latest = progress
        typer.echo(f"{progress.matched} matched, {progress.enqueued} enqueued, up to {progress.last}", err=True)

    async with open_runtime(settings, Metrics()) as runtime:
        try:
            if apply:
                fields = [name for clause in query.get("$and", ()) for name in clause]
                options = {
                    "where": fields,
                    "force": force,
                    "rate": rate,
                    "after": None if after is None else str(after),
                }
                media_id = _only(query, "_id")
                owner_id = _only(query, "owner_id") or await owner_of(media_id, runtime.stores.media)
                await put_on_record(
                    "reprocess --apply", options, audit=runtime.stores.audit, owner_id=owner_id, media_id=media_id
                )
            latest = await reprocess(
                query,
                rate=rate,
                after=after,
                apply=apply,
                force=force,
                database=runtime.database,
                stores=runtime.stores,
                on_page=show,
            )
        except _AWAY as error:
            typer.echo(f"Stopped: {error}. Go on with --after {latest.last}.", err=True)
            return 1
    typer.echo(_as_json(latest) if as_json else _sentence(latest, apply=apply))
    return 0


def _only(query: Mapping[str, Any], field: str) -> Any:
    """What a query says that a field has to be; None where it does not."""
    conditions = (clause.get(field, {}) for clause in query.get("$and", ()))
    return next((condition["$eq"] for condition in conditions if "$eq" in condition), None)


def _as_json(progress: Progress) -> str:
    return orjson.dumps({"matched": progress.matched, "enqueued": progress.enqueued, "last": progress.last}).decode()


def _sentence(progress: Progress, *, apply: bool) -> str:
    if not progress.matched:
        return "Nothing is out of date."
    if not apply:
        return f"{progress.matched} READY media are not up to date. Say --apply to have them made again."
    rest = progress.matched - progress.enqueued
    return f"{progress.enqueued} of {progress.matched} media enqueued; {rest} have a job already."
