"""How often each index was used, by each member of the replica set: every one of them counts its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pymongo.errors import OperationFailure, PyMongoError

from service.settings import MongoSettings
from service.stores.database import Database, WatchedDatabase, open_member

_UNAUTHORIZED: Final = 13  # MongoDB error code
_NO_RIGHTS: Final = "this user of MongoDB may not: it takes the role clusterMonitor."


@dataclass(frozen=True, slots=True)
class Usage:
    """Operations that used an index on the member at `address` since `since`, when it was started or the index made."""

    address: str
    collection: str
    index: str
    operations: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Unreachable:
    """A member that was not asked: what it uses is not known."""

    address: str
    reason: str


async def read_usage(
    database: Database, settings: MongoSettings, collections: Sequence[str]
) -> AsyncIterator[Usage | Unreachable]:
    """What every member tells; those of a sharded cluster through the router, primaries only."""
    hello = await database.handle.command("hello")
    addresses = [*hello.get("hosts", ()), *hello.get("passives", ())]
    if not addresses:
        async for usage in _of_member(database.watching, "", collections):
            yield usage
    for address in addresses:
        try:
            async with open_member(settings, address) as member:
                usages = [usage async for usage in _of_member(member, address, collections)]
        except OperationFailure as error:
            refused = str((error.details or {}).get("errmsg", error))
            yield Unreachable(address, _NO_RIGHTS if error.code == _UNAUTHORIZED else refused)
        except PyMongoError as error:
            # The driver goes on to describe every setting that it knows.
            yield Unreachable(address, str(error).split(" (configured timeouts")[0])
        else:
            for usage in usages:
                yield usage


async def _of_member(member: WatchedDatabase, address: str, collections: Sequence[str]) -> AsyncIterator[Usage]:
    for collection in collections:
        async for row in await member[collection].aggregate([{"$indexStats": {}}]):
            accesses = row["accesses"]
            yield Usage(address or row["host"], collection, row["name"], int(accesses["ops"]), accesses["since"])
