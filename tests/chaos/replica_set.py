"""Three mongods as a replica set, each behind a fault proxy, which is all that its clients and peers know of it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from anyio import to_thread
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from service.dev.mongod import REPLICA_SET, command
from service.dev.processes import Child, Children
from tests.chaos.proxies import Proxies, Proxy

MEMBERS = 3
ELECTION_TIMEOUT_MS = 2_000
HEARTBEAT_MS = 500
_POLL_S = 0.1
_AT_ONCE: dict[str, Any] = {"serverSelectionTimeoutMS": 500, "connectTimeoutMS": 500, "socketTimeoutMS": 1_500}


class Member:
    """One mongod: killed, it starts again on the same data and at the same place."""

    def __init__(self, number: int, folder: Path, port: int) -> None:
        self.name, self._folder, self._port = f"mongod-{number}", folder / f"mongod-{number}", port
        self._proxy: Proxy | None = None
        self.child: Child | None = None
        # It was killed by us; one that ended and was not is a finding.
        self.is_down = False

    @property
    def proxy(self) -> Proxy:
        assert self._proxy is not None
        return self._proxy

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.proxy.port}"

    async def connect(self, proxies: Proxies) -> None:
        self._proxy = await proxies.open([self._port], tells_applications_apart=True)

    async def start(self, children: Children) -> None:
        self.child = await children.start(
            self.name, command(self._folder, self._port), env=dict(os.environ), grace_s=0.1
        )

    def hello(self) -> dict[str, Any] | None:
        """What it says of itself, past its proxy; None if nothing. Blocking."""
        return self.ask("hello")

    def ask(self, name: str, argument: Any = 1) -> dict[str, Any] | None:
        try:
            with MongoClient[dict[str, Any]]("127.0.0.1", self._port, directConnection=True, **_AT_ONCE) as client:
                return client.admin.command(name, argument)
        except PyMongoError:
            return None


class ReplicaSet:
    """`start` it first."""

    def __init__(self, children: Children, folder: Path, ports: Iterator[int], proxies: Proxies) -> None:
        self._children, self._proxies = children, proxies
        self.members = [Member(number, folder, next(ports)) for number in range(1, MEMBERS + 1)]

    @property
    def uri(self) -> str:
        return f"mongodb://{','.join(each.address for each in self.members)}/?replicaSet={REPLICA_SET}"

    async def start(self) -> None:
        """Start all members and wait until one of them is primary and the others follow it."""
        for member in self.members:
            await member.connect(self._proxies)
            await member.start(self._children)
        initiated = [{"_id": number, "host": member.address} for number, member in enumerate(self.members)]
        times = {"electionTimeoutMillis": ELECTION_TIMEOUT_MS, "heartbeatIntervalMillis": HEARTBEAT_MS}
        config = {"_id": REPLICA_SET, "members": initiated, "settings": times}
        await self._until(lambda: all(each.hello() is not None for each in self.members), within_s=30)
        await self._until(lambda: self.members[0].ask("replSetInitiate", config) is not None, within_s=30)
        await self.whole()

    async def whole(self, *, within_s: float = 60) -> None:
        """Wait until every member is there, one as the primary. Raises TimeoutError."""

        def is_whole() -> bool:
            said = [each.hello() or {} for each in self.members]
            return sum(bool(each.get("isWritablePrimary")) for each in said) == 1 and all(
                each.get("isWritablePrimary") or each.get("secondary") for each in said
            )

        await self._until(is_whole, within_s=within_s)

    async def primary(self, *, besides: Member | None = None, within_s: float = 30) -> Member:
        """The primary, as soon as there is one, and another than `besides`. Raises TimeoutError."""
        found: list[Member] = []

        def look() -> bool:
            asked = [each for each in self.members if each is not besides]
            found[:] = [each for each in asked if (each.hello() or {}).get("isWritablePrimary")]
            return bool(found)

        await self._until(look, within_s=within_s)
        return found[0]

    async def revive(self, member: Member) -> None:
        """Start a killed one again."""
        assert member.child is not None
        await self._children.stop(member.child)
        await member.start(self._children)
        member.is_down = False

    @staticmethod
    async def _until(holds: Any, *, within_s: float) -> None:
        deadline = time.monotonic() + within_s
        while not await to_thread.run_sync(partial(holds)):
            if time.monotonic() > deadline:
                raise TimeoutError("The replica set is not what it should be.")
            await asyncio.sleep(_POLL_S)
