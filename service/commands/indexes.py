"""`indexes`: how MongoDB's indexes differ from their declarations."""

from __future__ import annotations

import typer

from indexes.ensure import check, ensure
from service.settings import Settings
from service.stores.database import open_database


async def compare_indexes(settings: Settings, *, apply: bool) -> int:
    """Print a line for each collection that differs (with `apply`: still differs), and return the exit code."""
    async with open_database(settings.mongo) as database:
        drift = await (ensure if apply else check)(database.handle)
    for entry in drift:
        typer.echo(
            f"{entry.collection}: missing {entry.missing}, different {entry.different}, undeclared {entry.undeclared}"
        )
    return 1 if drift else 0
