"""What the real planner makes of exactly the commands that a store sends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

# What the driver adds to a command, and what `explain` does not take.
_SURROUNDINGS = frozenset({"lsid", "txnNumber", "stmtId", "stmtIds", "writeConcern", "maxTimeMS", "cursor"})
_INNER = ("inputStage", "inputStages", "queryPlan", "winningPlan", "thenStage", "elseStage")


@dataclass(frozen=True, slots=True)
class Plan:
    """`returned`: documents that the query found; `examined` ones are read for them, and `keys` of its indexes.

    `places`: at how many places of the indexes it looks; at each it reads one key more, to see that it is at its end.
    """

    stages: frozenset[str]
    indexes: frozenset[str]
    returned: int
    keys: int
    examined: int
    places: int


@asynccontextmanager
async def sent(handle: Any, collection: str) -> AsyncIterator[list[dict[str, Any]]]:
    """The commands that `collection` is sent in the block, by the database's own profiler, as `explain` takes them."""
    found: list[dict[str, Any]] = []
    await handle["system.profile"].drop()
    await handle.command({"profile": 2})
    try:
        yield found
    finally:
        await handle.command({"profile": 0})
    entries = handle["system.profile"].find({"ns": f"{handle.name}.{collection}"}).sort("ts", 1)
    found += [command async for entry in entries if (command := _command(entry, collection)) is not None]


def _command(entry: Mapping[str, Any], collection: str) -> dict[str, Any] | None:
    given = {name: value for name, value in entry.get("command", {}).items() if not name.startswith("$")}
    given = {name: value for name, value in given.items() if name not in _SURROUNDINGS}
    match entry["op"]:
        case "update":
            return {"update": collection, "updates": [given]}
        case "remove":
            return {"delete": collection, "deletes": [given]}
        case "query" | "command" if {"find", "findAndModify", "distinct", "count"} & given.keys():
            return given
        case "command" if "aggregate" in given and "$collStats" not in str(given["pipeline"]):
            return {**given, "cursor": {}}
        case _:
            return None


async def explain(handle: Any, command: Mapping[str, Any]) -> Plan:
    """Run `command` once more and see how; writes are not carried out."""
    asked = {"explain": dict(command), "verbosity": "executionStats"}
    answer = await handle.command(asked, codec_options=handle.codec_options)
    # Of an aggregation, what its first stage asks of the collection.
    answer = answer["stages"][0]["$cursor"] if "stages" in answer else answer
    stages = list(_stages(answer["queryPlanner"]["winningPlan"]))
    stats = answer["executionStats"]
    written = stats.get("executionStages", {})
    scans = [stage for stage in stages if stage["stage"] == "IXSCAN"]
    return Plan(
        stages=frozenset(stage["stage"] for stage in stages),
        indexes=frozenset(stage["indexName"] for stage in scans),
        returned=max(stats["nReturned"], written.get("nMatched", 0), written.get("nWouldDelete", 0), _grouped(written)),
        keys=stats["totalKeysExamined"],
        examined=stats["totalDocsExamined"],
        places=sum(prod(len(intervals) for intervals in stage["indexBounds"].values()) for stage in scans),
    )


def _grouped(executed: Mapping[str, Any]) -> int:
    """How many documents a grouping took that was carried out with the query; 0 without one."""
    while executed:
        inner: Mapping[str, Any] = executed.get("inputStage", {})
        if executed.get("stage") == "group":
            return int(inner.get("nReturned", 0))
        executed = inner
    return 0


def _stages(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if "stage" in plan:
        yield plan
    for name in _INNER:
        inner = plan.get(name, ())
        for each in inner if isinstance(inner, list) else [inner] if inner else ():
            yield from _stages(each)
