"""What building, hiding and dropping indexes asks of MongoDB, and how the members of its replica set are meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pymongo.errors import OperationFailure

from indexes.declaration import Index
from service.stores.database import OUTAGE_ERRORS, Database

# https://www.mongodb.com/docs/manual/reference/replica-states/
_CAUGHT_UP: Final = frozenset({1, 2})  # PRIMARY, SECONDARY
# MongoDB error codes
_UNAUTHORIZED: Final = 13
_NAMESPACE_NOT_FOUND: Final = 26
_CONFLICTS: Final = frozenset({85, 86})  # IndexOptionsConflict, IndexKeySpecsConflict


class IndexRefused(Exception):
    """MongoDB does not build, hide or drop an index; the message says why."""


@dataclass(frozen=True, slots=True)
class Build:
    """An index build under way on the primary: of which indexes, and how far its present phase is, if it says so."""

    collection: str
    names: tuple[str, ...]
    done: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class Member:
    """A voting member that holds data. `lag_s`: how far it is behind the primary; None where it is away."""

    address: str
    lag_s: float | None


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of one collection: documents, their bytes uncompressed, and the bytes on disk of each index by name."""

    documents: int
    bytes: int
    indexes: Mapping[str, int]


class IndexBuilds:
    """Builds have no deadline: they go on where the server is left alone with them, and take what they take."""

    def __init__(self, database: Database) -> None:
        self._handle = database.handle
        self._patient = database.watching

    async def rows(self, collection: str) -> dict[str, Mapping[str, Any]]:
        """The indexes there are, as `listIndexes` answers, by name."""
        found = await self._handle[collection].list_indexes().to_list(None)
        return {row["name"]: row for row in found}

    async def build(self, collection: str, index: Index) -> None:
        """Until every voting member has the index; joins a build of the same that is under way. Raises IndexRefused."""
        command = {
            "createIndexes": collection,
            "indexes": [index.specification()],
            "commitQuorum": "votingMembers",
        }
        try:
            await self._patient.command(command)
        except OperationFailure as error:
            if error.code in _CONFLICTS:
                raise IndexRefused(_reason(error)) from error
            raise

    async def under_way(self) -> list[Build] | None:
        """Builds in this database; None if this user may not see them (role clusterMonitor)."""
        look: list[Mapping[str, Any]] = [
            {"$currentOp": {"allUsers": True, "idleConnections": False}},
            {"$match": {"command.createIndexes": {"$exists": True}, "command.$db": self._handle.name}},
        ]
        try:
            rows = await (await self._patient.client["admin"].aggregate(look)).to_list(None)
        except OperationFailure:
            return None
        builds: dict[tuple[str, tuple[str, ...]], Build] = {}
        for row in rows:
            names = tuple(each["name"] for each in row["command"].get("indexes", ()))
            progress = row.get("progress", {})
            build = Build(row["command"]["createIndexes"], names, progress.get("done", 0), progress.get("total", 0))
            # Both the command that waits and the thread that builds are told.
            if build.total or (build.collection, names) not in builds:
                builds[build.collection, names] = build
        return list(builds.values())

    async def members(self) -> list[Member] | None:
        """The voting members with data; None where they are not told (sharded, or without role clusterMonitor)."""
        admin = self._patient.client["admin"]
        try:
            status = await admin.command("replSetGetStatus")
            config = (await admin.command("replSetGetConfig"))["config"]
        except OperationFailure:
            return None
        voting = {each["host"] for each in config["members"] if each["votes"] and not each["arbiterOnly"]}
        states = [each for each in status["members"] if each["name"] in voting]
        newest = max(each["optimeDate"] for each in states)
        return [
            Member(
                each["name"],
                max(0.0, (newest - each["optimeDate"]).total_seconds()) if each["state"] in _CAUGHT_UP else None,
            )
            for each in states
        ]

    async def sizes(self, collections: Sequence[str]) -> dict[str, Sizes]:
        """Of those of `collections` that exist, summed over shards."""
        return {name: found for name in collections if (found := await self._sizes(name)) is not None}

    async def _sizes(self, collection: str) -> Sizes | None:
        try:
            rows = await self._handle[collection].aggregate([{"$collStats": {"storageStats": {}}}]).to_list(None)
        except OperationFailure as error:
            if error.code == _NAMESPACE_NOT_FOUND:
                return None
            raise
        stats = [row["storageStats"] for row in rows]
        names = {name for each in stats for name in each["indexSizes"]}
        return Sizes(
            documents=sum(each["count"] for each in stats),
            bytes=sum(each["size"] for each in stats),
            indexes={name: sum(each["indexSizes"].get(name, 0) for each in stats) for name in sorted(names)},
        )

    async def set_hidden(self, collection: str, name: str, *, hidden: bool) -> None:
        """Let the planner pass over an index that goes on being kept, or no longer. Raises IndexRefused."""
        await self._change({"collMod": collection, "index": {"name": name, "hidden": hidden}})

    async def drop(self, collection: str, name: str) -> None:
        """Drop an index. Raises IndexRefused."""
        await self._change({"dropIndexes": collection, "index": name})

    async def _change(self, command: dict[str, Any]) -> None:
        try:
            await self._handle.command(command)
        except OUTAGE_ERRORS:
            raise
        except OperationFailure as error:
            raise IndexRefused(_reason(error)) from error


def _reason(error: OperationFailure) -> str:
    if error.code == _UNAUTHORIZED:
        return "This user of MongoDB may not do that: it takes the role dbAdmin on the database."
    return f"MongoDB refused: {(error.details or {}).get('errmsg', error)}"
