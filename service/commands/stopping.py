"""What ends a run of `annotations import` and `export` early, in a sentence."""

from __future__ import annotations

from typing import Final

import typer

from service.commands.printing import printable
from service.errors import MediaServiceError
from service.stores.database import OUTAGE_ERRORS

STOPPING: Final[tuple[type[Exception], ...]] = (MediaServiceError, OSError, *OUTAGE_ERRORS)


def stopped(error: Exception, remedy: str) -> int:
    """Say on stderr what ended a run, one of `STOPPING`, and what to do; the exit code."""
    if isinstance(error, MediaServiceError):
        message = error.message
    elif isinstance(error, OUTAGE_ERRORS):
        message = f"The database does not answer. {remedy}"
    else:
        message = f"{error}. {remedy}"
    typer.echo(f"Stopped: {printable(message)}", err=True)
    return 1
