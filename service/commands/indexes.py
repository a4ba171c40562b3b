"""`indexes`: how MongoDB's indexes differ from their declarations, how much they are used, and changing them safely."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import typer

from indexes.drift import Drift, explain_drift
from indexes.ensure import DECLARED, check
from service.commands.printing import human_size, print_table, result_console
from service.index_upkeep.building import BuildOptions, build_missing
from service.index_upkeep.removal import drop, hide, unhide
from service.index_upkeep.usage import Verdict, judge
from service.settings import Settings
from service.stores.database import OUTAGE_ERRORS, Database, open_database
from service.stores.index_builds import IndexBuilds, IndexRefused, Sizes
from service.stores.index_usage import Unreachable, Usage, read_usage

SAME, DRIFT, REFUSED = 0, 1, 2
_ACTIONS: Final[Mapping[str, Callable[[str, IndexBuilds], Awaitable[str]]]] = {
    "unhide": unhide,
    "hide": hide,
    "drop": drop,
}


async def compare_indexes(settings: Settings) -> int:
    """Print a sentence for each index that differs, and the sizes of all; the exit code."""
    async with open_database(settings.mongo) as database:
        drifts = await check(database.handle)
        _print_sizes(await IndexBuilds(database).sizes(sorted(DECLARED)))
    return _conclude(drifts)


async def apply_indexes(settings: Settings, options: BuildOptions) -> int:
    """Build what is missing, one after the other, and print what is left; the exit code."""
    try:
        async with open_database(settings.mongo) as database:
            await build_missing(await check(database.handle), IndexBuilds(database), options, tell=_tell)
            return _conclude(await check(database.handle))
    except IndexRefused as error:
        _tell(str(error))
        return REFUSED
    except OUTAGE_ERRORS as error:
        _tell(f"Stopped: {error}. Run the same command again: what is built stays, what is being built is joined.")
        return DRIFT


async def change_indexes(settings: Settings, asked: Mapping[str, Sequence[str]]) -> int:
    """Hide, show and drop the indexes that are `asked` by name of the action; the exit code. Stops at a refusal."""
    asked_for = [place for places in asked.values() for place in set(places)]
    for place in sorted(set(asked_for)):
        if asked_for.count(place) > 1:
            _tell(
                f"{place} is asked for twice: one thing at a time. Between hiding an index and dropping it, see for a "
                "day that nothing misses it."
            )
            return REFUSED
    async with open_database(settings.mongo) as database:
        builds = IndexBuilds(database)
        for action, act in _ACTIONS.items():
            for place in asked.get(action, ()):
                try:
                    typer.echo(await act(place, builds))
                except IndexRefused as error:
                    _tell(str(error))
                    return REFUSED
    return SAME


async def show_usage(settings: Settings) -> int:
    """Print how often each index was used and since when, by member.

    The exit code: 1 if some are unused, 2 if no member told.
    """
    async with open_database(settings.mongo) as database:
        usages, away = await _read(database, settings)
    verdicts = judge(usages, away, now=datetime.now(UTC))
    print_table(
        result_console(),
        ["Index", "Member", "Used", "Since", ""],
        [row for verdict in verdicts for row in _rows(verdict)],
    )
    for member in away:
        _tell(f"{member.address} does not tell: {member.reason}")
    if away and not usages:
        return REFUSED
    return DRIFT if any(verdict.is_unused for verdict in verdicts) else SAME


async def _read(database: Database, settings: Settings) -> tuple[list[Usage], list[Unreachable]]:
    found = [each async for each in read_usage(database, settings.mongo, sorted(DECLARED))]
    return (
        [each for each in found if isinstance(each, Usage)],
        [each for each in found if isinstance(each, Unreachable)],
    )


def _rows(verdict: Verdict) -> list[list[str]]:
    return [
        [
            f"{verdict.collection}.{verdict.index}" if number == 0 else "",
            usage.address,
            f"{usage.operations:,}",
            f"{usage.since:%Y-%m-%d %H:%M}",
            verdict.remark if number == 0 else "",
        ]
        for number, usage in enumerate(verdict.counts)
    ]


def _print_sizes(sizes: Mapping[str, Sizes]) -> None:
    rows = [
        row
        for collection, found in sorted(sizes.items())
        for row in (
            [collection, f"{found.documents:,} documents", human_size(found.bytes)],
            *([f"  {name}", "", human_size(size)] for name, size in found.indexes.items()),
        )
    ]
    if rows:
        print_table(result_console(), ["Index", "", "Size"], rows)


def _conclude(drifts: Sequence[Drift]) -> int:
    differences = [difference for drift in drifts for difference in explain_drift(drift)]
    for difference in differences:
        typer.echo(f"{difference.text} {difference.remedy}")
    if not differences:
        typer.echo("Indexes are as declared.")
    return DRIFT if differences else SAME


def _tell(sentence: str) -> None:
    typer.echo(sentence, err=True)
