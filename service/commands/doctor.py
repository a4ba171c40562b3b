"""`doctor`: a line for everything that was looked at, and what to do where something is wrong."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict

import orjson
import typer

from service.doctor import Finding, Level, examine
from service.errors import ConfigurationError
from service.models import Role
from service.settings import Settings

_COLOURS = {Level.OK: typer.colors.GREEN, Level.WARNING: typer.colors.YELLOW, Level.PROBLEM: typer.colors.RED}
_UNREADABLE = "Set what is meant, or unset it for its default. Nothing else was looked at."
_INDENT = " " * 19


async def report(settings: Settings, *, roles: Collection[Role], as_json: bool) -> int:
    """Print each finding as it is made, and return the exit code: 1 if there was a problem."""
    healthy = True
    async for finding in examine(settings, roles=roles):
        healthy &= finding.level is not Level.PROBLEM
        _print_finding(finding, as_json=as_json)
    return 0 if healthy else 1


def report_unreadable(error: ConfigurationError, *, as_json: bool) -> None:
    """Print what is wrong with settings that cannot even be read."""
    for sentence in str(error).splitlines():
        _print_finding(Finding("settings", Level.PROBLEM, sentence, _UNREADABLE), as_json=as_json)


def _print_finding(finding: Finding, *, as_json: bool) -> None:
    if as_json:
        typer.echo(orjson.dumps(asdict(finding)).decode())
        return
    typer.echo(f"{typer.style(f'{finding.level:<8}', fg=_COLOURS[finding.level])} {finding.check:<9} {finding.text}")
    if finding.remedy is not None:
        typer.echo(f"{_INDENT}-> {finding.remedy}")
