"""`buckets`: how the two buckets differ from their declaration, and what was changed."""

from __future__ import annotations

import typer

from service.buckets import BucketReport
from service.errors import TemporarilyUnavailable
from service.object_store import ObjectStore
from service.settings import Environment, Settings


async def set_up_buckets(settings: Settings, *, apply: bool) -> int:
    """Compare both buckets, or with `apply` change what differs; print sentences and return the exit code.

    1 if something differs still, or if a server in production lacks what is declared: there it must be somebody's
    decision, while the server of a development stack may do less.
    """
    store = ObjectStore(settings.storage)
    try:
        reports = await (store.ensure_buckets() if apply else store.compare_buckets())
        # What no declaration can say: the server's clock, and whether the rules have their effect.
        problems = await store.check()
    except TemporarilyUnavailable as error:
        typer.echo(f"The buckets could not be examined; try again: {error.__cause__}", err=True)
        return 1
    finally:
        await store.close()
    for report in reports:
        _print_report(report)
    for problem in problems:
        typer.echo(problem, err=True)
    is_drifting = any(report.drift for report in reports)
    if apply and not any(report.changed for report in reports):
        typer.echo("Nothing to do.")
    elif not apply and not is_drifting:
        # Not left to be read from silence.
        is_said = any(report.foreign or report.unsupported for report in reports) or problems
        typer.echo("All else is as declared." if is_said else "Both buckets are as declared.")
    is_lacking = settings.environment is Environment.PRODUCTION and any(report.unsupported for report in reports)
    return int(bool(problems) or is_lacking or is_drifting)


def _print_report(report: BucketReport) -> None:
    for sentence in report.changed:
        typer.echo(f"Bucket {report.bucket}: {sentence}; set.")
    for sentence in report.foreign:
        typer.echo(f"Bucket {report.bucket}: {sentence} is not ours; kept.")
    for sentence in report.unsupported:
        typer.echo(f"Bucket {report.bucket}: {sentence}: not supported by this server.")
    for sentence in report.drift:
        typer.echo(f"Bucket {report.bucket}: {sentence}; set it with `python -m service buckets --apply`.", err=True)
