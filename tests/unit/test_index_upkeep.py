"""When an index build waits, what counts as unused, and what is said of a difference."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from indexes.declaration import Index
from indexes.drift import Drift, compare, explain_drift
from indexes.ensure import DECLARED
from service.index_upkeep.building import BuildOptions, build_missing
from service.index_upkeep.usage import judge
from service.stores.index_builds import Build, IndexRefused, Member, Sizes
from service.stores.index_usage import Unreachable, Usage

NOW = datetime(2026, 5, 1, tzinfo=UTC)
HASTY = BuildOptions(max_lag_s=10, max_wait_s=0.05, poll_s=0.01)
CALM = [Member("a:1", 0.0), Member("b:1", 3.0)]


@dataclass
class Server:
    """Answers what a database would; of `states` and `others` one after the other, the last one from then on."""

    states: list[list[Member] | None] = field(default_factory=lambda: [CALM])
    others: list[list[Build]] = field(default_factory=lambda: [[]])
    collections: dict[str, Sizes] = field(default_factory=dict)
    built: list[str] = field(default_factory=list)

    async def members(self) -> list[Member] | None:
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    async def under_way(self) -> list[Build]:
        return self.others.pop(0) if len(self.others) > 1 else self.others[0]

    async def sizes(self, collections: list[str]) -> dict[str, Sizes]:
        return {name: self.collections[name] for name in collections if name in self.collections}

    async def build(self, collection: str, index: Index) -> None:
        self.built.append(f"{collection}.{index.name}")


async def build(server: Any, *drifts: Drift) -> list[str]:
    told: list[str] = []
    await build_missing(list(drifts), server, HASTY, tell=told.append)
    return told


def lacking(collection: str, *names: str) -> Drift:
    return Drift(collection, names, (), ())


async def test_small_collections_come_first_and_what_is_begun_before_them() -> None:
    server = Server(collections={"media": Sizes(9, 9_000, {}), "jobs": Sizes(5, 50, {})})
    wanted = [lacking("media", "feed"), lacking("jobs", "expiry"), lacking("contents", "refs")]
    await build(server, *wanted)
    assert server.built == ["contents.refs", "jobs.expiry", "media.feed"]
    begun = Server(collections=server.collections, others=[[Build("media", ("feed",))]])
    begun.others = [[Build("media", ("feed",))], [Build("media", ("feed",))], []]
    await build(begun, *wanted)
    assert begun.built == ["media.feed", "contents.refs", "jobs.expiry"]


async def test_a_build_waits_for_members_that_are_behind_and_for_other_builds() -> None:
    behind, other = [Member("a:1", 0.0), Member("b:1", 11.0)], [Build("media", ("elsewhere",))]
    server = Server(states=[CALM, behind, behind, CALM], others=[[], [], [], other, []])
    told = await build(server, lacking("jobs", "expiry"))
    assert told[0] == "jobs.expiry waits: a voting member is more than 10 s behind: b:1."
    assert "waits: media.elsewhere is being built." in told[1]
    assert server.built == ["jobs.expiry"]


@pytest.mark.parametrize("lag_s", [None, 10.5])
async def test_it_does_not_wait_for_ever(lag_s: float | None) -> None:
    server = Server(states=[[Member("a:1", 0.0), Member("b:1", lag_s)]])
    with pytest.raises(IndexRefused, match="b:1"):
        await build(server, lacking("jobs", "expiry"))
    assert server.built == []


async def test_where_lag_is_not_told_that_is_said_and_nothing_waited_for() -> None:
    server = Server(states=[None])
    told = await build(server, lacking("jobs", "expiry"))
    assert "clusterMonitor" in told[0]
    assert server.built == ["jobs.expiry"]


def used(index: str, operations: int, *, days: float, address: str = "a:1", collection: str = "media") -> Usage:
    return Usage(address, collection, index, operations, NOW - timedelta(days=days))


@pytest.mark.parametrize(
    ("usages", "away", "is_unused", "remark"),
    [
        ([used("feed", 3, days=30), used("feed", 0, days=30, address="b:1")], [], False, ""),
        ([used("feed", 0, days=30), used("feed", 0, days=30, address="b:1")], [], True, "is its query still asked"),
        ([used("stray", 0, days=30)], [], True, "hide it"),
        ([used("feed", 0, days=30), used("feed", 0, days=1, address="b:1")], [], False, "for 24 hours only"),
        ([used("feed", 0, days=30)], [Unreachable("b:1", "down")], False, "members that answered"),
        ([used("expiry", 0, days=30, collection="jobs")], [], False, "without being asked"),
        ([used("pending_3", 0, days=30)], [], False, "by design"),
        ([used("_id_", 0, days=30)], [], False, "belongs"),
    ],
)
def test_unused_is_what_no_member_has_used_for_long(
    usages: list[Usage], away: list[Unreachable], is_unused: bool, remark: str
) -> None:
    [verdict] = judge(usages, away, now=NOW)
    assert verdict.is_unused is is_unused
    assert remark in verdict.remark


def test_every_kind_of_difference_says_what_to_do() -> None:
    declared = (
        Index("a", (("a", 1),), "", ""),
        Index("b", (("b", 1), ("c", -1)), "", ""),
        Index("c", (("c", 1),), "", ""),
        Index("d", (("d", 1),), "", ""),
    )
    rows = {
        "b": {"v": 2, "name": "b", "key": {"c": -1, "b": 1}},
        "c": {"v": 2, "name": "c", "key": {"c": 1}, "hidden": True},
        "d": {"v": 2, "name": "d", "key": {"d": 1}, "being_built": True},
        "z": {"v": 2, "name": "z", "key": {"z": 1}},
    }
    drift = compare("media", declared, rows)
    assert drift == Drift("media", ("a",), ("z",), ("b",), ("c",), ("d",))
    said = {difference.text: difference for difference in explain_drift(drift)}
    assert [text.split(" ")[0] for text in said] == ["media", "media.b", "media.d", "media.c", "media.z"]
    assert [each.is_fault for each in said.values()] == [True, True, True, True, False]
    assert all("indexes --" in each.remedy for each in said.values())


def test_names_say_which_index_is_meant() -> None:
    for collection, declared in DECLARED.items():
        names = [index.name for index in declared]
        assert len(names) == len(set(names)), collection
        # What is hinted at or dropped is named COLLECTION.INDEX.
        assert not any("." in name for name in names)


def test_no_name_of_a_released_index_has_another_meaning_now() -> None:
    """Databases have it under that name already, and would go on with what it was: a changed index needs a new one."""
    released = json.loads((Path(__file__).parents[1] / "fixtures" / "released_indexes.json").read_text())
    for collection, declared in DECLARED.items():
        for index in declared:
            meaning = {"keys": [list(key) for key in index.keys], "options": dict(index.options)}
            assert released.get(f"{collection}.{index.name}", meaning) == meaning
