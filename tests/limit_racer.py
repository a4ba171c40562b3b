"""One of several processes that want more than there is: `python -m tests.limit_racer VIEWER LIMIT BYTES OWNER TOTAL`.

It asks for a cost of one until it is refused, then reserves BYTES for one upload after another until that is refused
as well, and prints both numbers of what it was given. The database is that of the `MEDIA_MONGO__*` variables.
"""

from __future__ import annotations

import asyncio
import sys

from uuid6 import uuid7

from service.errors import RateLimited
from service.quotas import Wanted, reserve
from service.rate_limits import Budget, RateLimiter
from service.settings import Settings
from service.stores import bind_stores
from service.stores.database import Database, open_database
from service.stores.quotas import ByteLimits
from service.stores.rate_limits import DatabaseWindows


async def spend(database: Database, viewer: str, limit: int) -> int:
    limiter = RateLimiter(DatabaseWindows(database), window_s=600)
    spent = 0
    while True:
        if limiter.spend(Budget.WRITES, viewer, 1) is None:
            try:
                await limiter.take(Budget.WRITES, viewer, 1, limit=limit)
            except RateLimited:
                return spent
        spent += 1


async def upload(database: Database, owner: str, size: int, total: int) -> int:
    stores, limits = bind_stores(database), ByteLimits(daily=total)
    reserved = 0
    while True:
        wanted = [Wanted(uuid7(), size, position) for position in range(3)]
        problems = await reserve(owner, wanted, limits=limits, is_repeat=False, stores=stores)
        reserved += len(wanted) - len(problems)
        if problems:
            return reserved


async def main(viewer: str, limit: str, size: str, owner: str, total: str) -> None:
    async with open_database(Settings().mongo) as database:
        await database.ping()
        print("ready", flush=True)  # noqa: T201 - what the test waits for
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        spent = await spend(database, viewer, int(limit))
        reserved = await upload(database, owner, int(size), int(total))
        print(spent, reserved, flush=True)  # noqa: T201 - what the test reads


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
