"""What idle subscribers cost one API process, and how long news takes to reach all of them: `make bench-sockets`.

Real processes: the API on MongoDB; clients that speak as browsers do, compression offered. The baseline is a WebSocket
of bare Starlette on uvicorn's own settings, which neither authenticates nor subscribes to anything.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from uuid6 import uuid7

from benchmarks.socket_crowd import Crowd, Socket
from benchmarks.stack import REPOSITORY, Stack, cpu_seconds, machine, running_servers
from schema.global_id import encode_id
from service.dev.ports import free_ports
from service.stores.database import Database, open_database
from tests.documents import MOMENT

STATUS = "subscription ($ids: [ID!]!) { mediaStatus(ids: $ids) { status sequence cursor media { id title } } }"
FEED = "subscription { feedUpdates(purpose: COMMUNITY) { id title altText createdAt width height thumbhash } }"
_SETTLE_S = 3.0
_TURNS = 20


def resident_bytes(pid: int) -> int:
    """What a process has in memory now (VmRSS of proc(5))."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def unfinished() -> dict[str, Any]:
    """A media one step before READY."""
    return {
        "_id": uuid7(),
        "owner_id": "anna",
        "purpose": "COMMUNITY",
        "visibility": "PUBLIC",
        "status": "PROCESSING",
        "status_sequence": 3,
        "status_history": [{"status": "PROCESSING", "sequence": 3, "at": MOMENT}],
        "title": "A walk along the river",
        "alt_text": "A path beside water, with trees",
        "content": {"width": 1440, "height": 1080},
        "placeholder": {"thumbhash": "3OcRJYB4d3h/iIeHeEh3eIhw+j2w"},
        "created_at": MOMENT,
        "updated_at": MOMENT,
    }


async def become_ready(database: Database, media_ids: Sequence[UUID]) -> None:
    """As `MediaStore.transition` writes it, for all in one command."""
    change = {"status": "READY", "sequence": {"$add": ["$status_sequence", 1]}, "at": "$$NOW"}
    fields = {
        "status": "READY",
        "status_sequence": {"$add": ["$status_sequence", 1]},
        "status_history": {"$concatArrays": ["$status_history", [change]]},
    }
    await database.media.update_many({"_id": {"$in": list(media_ids)}}, [{"$set": fields}])


async def queries(database: Database) -> int:
    status = await database.handle.command("serverStatus")
    return int(status["metrics"]["commands"]["find"]["total"])


async def idle(stack: Stack, database: Database, pid: int, count: int) -> float:
    """Memory of sockets that follow one media each, then the news that ends all; KB for each socket."""
    media = [unfinished() for _ in range(count)]
    await database.media.insert_many(media)
    ids = [encode_id("Media", each["_id"]) for each in media]
    crowd = Crowd(
        stack.ports["api"], stack.token("anna"), [{"query": STATUS, "variables": {"ids": [each]}} for each in ids]
    )
    before, cpu = resident_bytes(pid), cpu_seconds(pid)
    await crowd.gather()
    await crowd.until(count)
    connected = cpu_seconds(pid) - cpu
    await asyncio.sleep(_SETTLE_S)
    kilobytes = (resident_bytes(pid) - before) / count / 1024
    cpu = cpu_seconds(pid)
    await asyncio.sleep(10)
    print(
        f"mediaStatus, {count} sockets: {kilobytes:.1f} KB each; {connected / count * 1e3:.2f} ms of CPU to begin each;"
    )
    print(f"  idle, all of them together: {(cpu_seconds(pid) - cpu) * 10:.1f} % of a core, pings included")
    waits = []
    for number in range(_TURNS):
        started = time.perf_counter()
        await become_ready(database, [media[number]["_id"]])
        await crowd.until(count + number + 1)
        waits.append((time.perf_counter() - started) * 1e3)
    print(f"  one change to its one follower: p50 {sorted(waits)[_TURNS // 2]:.1f} ms, worst {max(waits):.1f} ms")
    asked, cpu, started = await queries(database), cpu_seconds(pid), time.perf_counter()
    await become_ready(database, [each["_id"] for each in media[_TURNS:]])
    await crowd.until(2 * count)
    seconds, cpu = time.perf_counter() - started, cpu_seconds(pid) - cpu
    asked = await queries(database) - asked
    print(
        f"  {count - _TURNS} changes to as many followers: {seconds:.2f} s, {cpu / count * 1e3:.2f} ms of CPU each, "
        f"{asked} queries"
    )
    await crowd.leave()
    return kilobytes


async def crowded(stack: Stack, database: Database, pid: int, count: int, before: int) -> None:
    """One feed that all have on their screens. `before`: the memory of the process before any socket."""
    crowd = Crowd(stack.ports["api"], stack.token("bert"), [{"query": FEED}] * count)
    await crowd.gather()
    await asyncio.sleep(_SETTLE_S)
    print(f"feedUpdates, {count} sockets: {(resident_bytes(pid) - before) / count / 1024:.1f} KB each")
    media = [unfinished() for _ in range(5)]
    await database.media.insert_many(media)
    for number, each in enumerate(media, start=1):
        asked, cpu, started = await queries(database), cpu_seconds(pid), time.perf_counter()
        await become_ready(database, [each["_id"]])
        await crowd.until(number * count)
        seconds, cpu = time.perf_counter() - started, cpu_seconds(pid) - cpu
        asked = await queries(database) - asked
    print(f"  one media to all: {seconds:.2f} s, {cpu / count * 1e6:.0f} us of CPU each, {asked} queries")
    await crowd.leave()


async def deaf(stack: Stack, database: Database, pid: int, count: int, changes: int) -> None:
    """Clients that subscribe and then read nothing, beside one that does."""
    crowd = Crowd(stack.ports["api"], stack.token("bert"), [{"query": FEED}] * count, small_buffers=True)
    await crowd.gather()
    for client in crowd.sockets[1:]:
        assert client.transport is not None
        client.transport.pause_reading()
    before = resident_bytes(pid)
    media = [unfinished() | {"alt_text": "A path beside water. " * 40} for _ in range(changes)]
    await database.media.insert_many(media)
    slowest = 0.0
    for number, each in enumerate(media, start=1):
        started = time.perf_counter()
        await become_ready(database, [each["_id"]])
        await crowd.until(number)
        slowest = max(slowest, time.perf_counter() - started)
    grown = (resident_bytes(pid) - before) / 2**20
    print(f"{count - 1} clients that read nothing of {changes} updates: the process grew by {grown:.1f} MB;")
    print(f"  the one that reads waited {slowest * 1e3:.0f} ms at worst")
    await crowd.leave()


async def _bare(client: WebSocket) -> None:
    await client.accept("graphql-transport-ws")
    while (await client.receive())["type"] != "websocket.disconnect":
        pass


bare = Starlette(routes=[WebSocketRoute("/graphql", _bare)])


@asynccontextmanager
async def bare_server() -> AsyncIterator[tuple[int, int]]:
    """Port and process of the baseline."""
    port = next(free_ports())
    command = [sys.executable, "-m", "uvicorn", "benchmarks.sockets:bare", "--port", str(port), "--log-level", "error"]
    process = await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY)
    try:
        async with httpx.AsyncClient() as client:
            async with asyncio.timeout(30):
                while True:
                    try:
                        await client.get(f"http://127.0.0.1:{port}/")
                        break
                    except httpx.TransportError:
                        await asyncio.sleep(0.1)
        yield port, process.pid
    finally:
        process.terminate()
        await process.wait()


async def baseline(count: int) -> float:
    """KB for each socket of the bare server."""
    async with bare_server() as (port, pid):
        connected, sockets, before = asyncio.Event(), [], resident_bytes(pid)
        open_now = 0

        def hear(_socket: Socket, _text: bytes) -> None:
            nonlocal open_now
            open_now += 1
            if open_now == count:
                connected.set()

        for _ in range(count):
            _, client = await asyncio.get_running_loop().create_connection(
                lambda: Socket(hear, "graphql-transport-ws"), "127.0.0.1", port
            )
            sockets.append(client)
        async with asyncio.timeout(60):
            await connected.wait()
        await asyncio.sleep(_SETTLE_S)
        kilobytes = (resident_bytes(pid) - before) / count / 1024
        for client in sockets:
            if client.transport is not None:
                client.transport.abort()
        return kilobytes


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sockets", type=int, default=5_000)
    count: int = parser.parse_args().sockets
    print(machine())
    floor = await baseline(count)
    async with running_servers() as stack, open_database(stack.settings.mongo) as database:
        api = await stack.start_api()
        warm = Crowd(stack.ports["api"], stack.token("anna"), [{"query": FEED}] * 20)
        await warm.gather()
        await warm.leave()
        before = resident_bytes(api.process.pid)
        ours = await idle(stack, database, api.process.pid, count)
        print(f"  bare Starlette on uvicorn's settings: {floor:.1f} KB each; ours {ours / floor:.2f} x")
        await crowded(stack, database, api.process.pid, count, before)
        await deaf(stack, database, api.process.pid, 50, 900)


if __name__ == "__main__":
    asyncio.run(main())
