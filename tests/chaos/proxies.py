"""Fault proxies in a process of their own, so that nothing else keeps them waiting: elections go by seconds.

`python -m tests.chaos.proxies` takes JSON lines on stdin and answers each "open" with the port; at their end it ends.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson
import uvloop

from tests.chaos.fault_proxy import ANYONE, Conditions, FaultProxy
from tests.chaos.mongo_wire import application_of


@dataclass(frozen=True, slots=True)
class Proxy:
    """One of them, as `FaultProxy` is; it listens on `port`."""

    number: int
    port: int
    proxies: Proxies

    def change(self, conditions: Conditions, *, caller: str = ANYONE) -> None:
        """From now on, or almost, connections of `caller` meet `conditions`."""
        self.proxies.tell({"do": "change", "number": self.number, "caller": caller, "given": asdict(conditions)})

    def cut(self, *, caller: str = ANYONE) -> None:
        """Reset the connections of `caller`."""
        self.proxies.tell({"do": "cut", "number": self.number, "caller": caller})


class Proxies:
    """The process, as others see it. `start` it first."""

    def __init__(self) -> None:
        self._opened = 0
        self._asking = asyncio.Lock()

    async def start(self) -> None:
        argv = [sys.executable, "-m", "tests.chaos.proxies"]
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(*argv, stdin=pipe, stdout=pipe, env=dict(os.environ))

    async def close(self) -> None:
        """End it, and every connection with it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def open(self, upstreams: Sequence[int], *, tells_applications_apart: bool = False) -> Proxy:
        """A new proxy in front of `upstreams`, whose callers are, if asked for, known by their driver's `appname`."""
        assert self._process.stdout is not None
        async with self._asking:
            self.tell({"do": "open", "upstreams": list(upstreams), "apart": tells_applications_apart})
            port = int(await self._process.stdout.readline())
            self._opened += 1
            return Proxy(self._opened - 1, port, self)

    def tell(self, order: dict[str, Any]) -> None:
        """Without waiting for it to be done."""
        assert self._process.stdin is not None
        self._process.stdin.write(orjson.dumps(order) + b"\n")


async def _obey() -> None:
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin.buffer)
    opened: list[FaultProxy] = []
    while line := await orders.readline():
        order = orjson.loads(line)
        match order["do"]:
            case "open":
                caller_of = application_of if order["apart"] else lambda _: ANYONE
                opened.append(FaultProxy(order["upstreams"], caller_of=caller_of))
                await opened[-1].start()
                sys.stdout.write(f"{opened[-1].port}\n")
                sys.stdout.flush()
            case "change":
                opened[order["number"]].change(Conditions(**order["given"]), caller=order["caller"])
            case "cut":
                opened[order["number"]].cut(caller=order["caller"])
    await asyncio.gather(*(proxy.close() for proxy in opened))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_obey())
