"""`reconcile`: what storage and the database do not agree on, a line each, and how much of it was put right."""

from __future__ import annotations

from dataclasses import asdict

import orjson
import typer

from service.commands.on_record import put_on_record
from service.errors import MediaServiceError
from service.reconciliation import Finding, FindingKind, Interruption, Outcome, RunOptions, Tally, reconcile
from service.runtime import open_runtime
from service.settings import Settings
from service.stores.database import OUTAGE_ERRORS
from service.telemetry import Metrics

# Nothing is wrong with the run: it goes on once what it needs answers again.
_AWAY: tuple[type[Exception], ...] = (MediaServiceError, *OUTAGE_ERRORS)
_COLUMNS = (Outcome.FOUND, Outcome.REPAIRED, Outcome.ENQUEUED, Outcome.KEPT, Outcome.GONE)


async def run_reconciliation(settings: Settings, options: RunOptions, *, as_json: bool) -> int:
    """Print each finding as it is made, then the tally; the exit code: 1 if something is left to be done."""

    def show(finding: Finding) -> None:
        typer.echo(orjson.dumps(asdict(finding)).decode() if as_json else _line(finding))

    async with open_runtime(settings, Metrics()) as runtime:
        if unknown := options.buckets - {settings.storage.upload_bucket, settings.storage.media_bucket}:
            typer.echo(f"Not a bucket of this service: {', '.join(sorted(unknown))}.", err=True)
            return 2
        try:
            if options.apply:
                given = {
                    "buckets": sorted(options.buckets),
                    "older_than_s": options.older_than.total_seconds(),
                    "restart": options.restart,
                }
                await put_on_record("reconcile --apply", given, audit=runtime.stores.audit)
            tally = await reconcile(
                options,
                database=runtime.database,
                stores=runtime.stores,
                object_store=runtime.object_store,
                on_finding=show,
                on_interruption=_tell_interruption,
            )
        except _AWAY as error:
            typer.echo(
                f"Stopped: {error.__cause__ or error}. Run the same command again within a day to go on.", err=True
            )
            return 1
    typer.echo(orjson.dumps({"summary": tally.sums()}).decode() if as_json else _table(tally))
    return 0 if tally.is_clean else 1


def _tell_interruption(interruption: Interruption) -> None:
    begun = f"{interruption.begun_at:%Y-%m-%d %H:%M} UTC"
    if interruption.goes_on:
        text = f"Going on with the run that was begun at {begun}; --restart begins anew."
    else:
        text = f"The run that was begun at {begun} was never ended. It is too old to go on with: beginning anew."
    # Apart from the findings, which others may read line by line.
    typer.echo(text, err=True)


def _line(finding: Finding) -> str:
    return f"{finding.outcome:<8}  {finding.kind:<19}  {finding.what}: {finding.why}"


def _table(tally: Tally) -> str:
    examined = sorted(tally.sums().get("examined", {}).items())
    seen = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in examined)
    lines = [f"Examined: {seen}.", " ".join([f"{'':<19}", *(f"{outcome:>9}" for outcome in _COLUMNS)])]
    for kind in FindingKind:
        numbers = [tally.of(kind, outcome) for outcome in _COLUMNS]
        if any(numbers):
            lines.append(" ".join([f"{kind:<19}", *(f"{number:>9}" for number in numbers)]))
    return "\n".join(lines) if len(lines) > 2 else f"{lines[0]} Nothing to report."
