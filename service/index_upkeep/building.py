"""Building what indexes are missing: one after the other, smallest first, and only while the database keeps up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from indexes.declaration import Index
from indexes.drift import Drift
from indexes.ensure import DECLARED
from service.cancellation import end
from service.stores.index_builds import Build, IndexBuilds, IndexRefused, Member

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """`max_lag_s`: no build begins while a voting member is further behind. `max_wait_s`: for that, at most.

    `poll_s`: how often the database is asked how far it is.
    """

    max_lag_s: float = 10
    max_wait_s: float = 600
    poll_s: float = 2


async def build_missing(drifts: list[Drift], builds: IndexBuilds, options: BuildOptions, *, tell: Tell) -> None:
    """Build every missing index of `drifts`. May be interrupted and called again at any time: a build that has begun
    goes on in the database, and is joined.

    `tell` is given a sentence for each step. Raises IndexRefused where the database stays too busy, or refuses.
    """
    if await builds.members() is None:
        tell("How far members lag behind is not told (sharded, or no role clusterMonitor): it is not waited for.")
    for collection, index in await _ordered(drifts, builds):
        await _wait_for_calm(collection, index, builds, options, tell)
        await _build(collection, index, builds, options, tell)


async def _ordered(drifts: list[Drift], builds: IndexBuilds) -> list[tuple[str, Index]]:
    """Those that are being built already, then those of small collections: most queries are served soonest."""
    missing = [
        (drift.collection, index)
        for drift in drifts
        for index in DECLARED[drift.collection]
        if index.name in {*drift.missing, *drift.building}
    ]
    sizes = await builds.sizes(sorted({collection for collection, _ in missing}))
    begun = {(build.collection, name) for build in await builds.under_way() or () for name in build.names}

    def urgency(each: tuple[str, Index]) -> tuple[bool, int]:
        collection, index = each
        return (collection, index.name) not in begun, sizes[collection].bytes if collection in sizes else 0

    return sorted(missing, key=urgency)


async def _wait_for_calm(collection: str, index: Index, builds: IndexBuilds, options: BuildOptions, tell: Tell) -> None:
    waited, told = 0.0, ""
    while obstacle := _obstacle(
        await builds.members() or [], await builds.under_way() or [], (collection, index), options
    ):
        if waited >= options.max_wait_s:
            raise IndexRefused(f"{collection}.{index.name} was not built: {obstacle}")
        if obstacle != told:
            tell(f"{collection}.{index.name} waits: {obstacle}")
            told = obstacle
        await asyncio.sleep(options.poll_s)
        waited += options.poll_s


def _obstacle(
    members: list[Member], under_way: list[Build], wanted: tuple[str, Index], options: BuildOptions
) -> str | None:
    collection, index = wanted
    if any(build.collection == collection and index.name in build.names for build in under_way):
        return None
    if under_way:
        return f"{under_way[0].collection}.{', '.join(under_way[0].names)} is being built."
    for member in members:
        if member.lag_s is None:
            return f"{member.address} is away, and no build ends without a voting member. Start it, or take its vote."
    for member in members:
        if member.lag_s is not None and member.lag_s > options.max_lag_s:
            return f"a voting member is more than {options.max_lag_s:g} s behind: {member.address}."
    return None


async def _build(collection: str, index: Index, builds: IndexBuilds, options: BuildOptions, tell: Tell) -> None:
    loop = asyncio.get_running_loop()
    place, began, told = f"{collection}.{index.name}", loop.time(), ""
    tell(f"{place}: building.")
    building = asyncio.create_task(builds.build(collection, index))
    try:
        while not (await asyncio.wait([building], timeout=options.poll_s))[0]:
            progress = _progress(await builds.under_way() or [], collection, index)
            if progress and progress != told:
                tell(f"{place}: {progress}")
                told = progress
        await building
    finally:
        await end(building)
    tell(f"{place}: built in {loop.time() - began:.1f} s.")


def _progress(under_way: list[Build], collection: str, index: Index) -> str:
    for build in under_way:
        if build.collection == collection and index.name in build.names and build.total:
            return f"{build.done:,} of {build.total:,} ({build.done / build.total:.0%} of this phase)"
    return ""
