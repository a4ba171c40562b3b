"""How much memory a file of 1 GiB takes in the API, in the worker and in its jail: `python -m benchmarks.memory`.

The file is a JPEG followed by zeros, sent in parts; what becomes of the media does not matter here. Ends with 1 if a
process ever had LIMIT_BYTES or more resident.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from uuid import uuid4

import httpx
import numpy as np
from pymongo import MongoClient

from benchmarks.graphql_client import Client, uuid_of
from benchmarks.stack import Stack, descendants, machine, peak_rss_bytes, running_servers
from benchmarks.uploads import photos
from service.dev.processes import Child

BYTES = 1024**3
LIMIT_BYTES = 300_000_000
MEGABYTE = 1_000_000
SIGNED_TOGETHER = 20
PARTS_AT_ONCE = 3
LOOK_EVERY_S = 0.02
TIMEOUT_S = 200


class Peaks:
    """The highest VmHWM of each process, also of those that live only for one picture."""

    def __init__(self, api: Child, worker: Child) -> None:
        self._api, self._worker = api.process.pid, worker.process.pid
        self.bytes = {"API": 0, "worker": 0, "jail": 0}

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            self._look()
            await asyncio.sleep(LOOK_EVERY_S)

    def _look(self) -> None:
        found = {"API": [self._api], "worker": [self._worker], "jail": descendants(self._worker)}
        for name, pids in found.items():
            self.bytes[name] = max([self.bytes[name], *map(peak_rss_bytes, pids)])


def part_bodies(picture: bytes, sizes: Iterator[int]) -> Iterator[bytes]:
    """The picture, then zeros; only one part is in memory at a time."""
    for number, size in enumerate(sizes):
        yield picture.ljust(size, b"\0") if number == 0 else bytes(size)


async def send(client: Client, http: httpx.AsyncClient, upload: dict[str, object], picture: bytes) -> None:
    """All parts, signed when they are about to be sent."""
    slots, count = asyncio.Semaphore(PARTS_AT_ONCE), int(str(upload["partCount"]))

    async def put(url: str, body: bytes) -> None:
        async with slots:
            (await http.put(url, content=body)).raise_for_status()

    for first in range(1, count + 1, SIGNED_TOGETHER):
        numbers = range(first, min(first + SIGNED_TOGETHER, count + 1))
        signed = await client.sign(str(upload["id"]), numbers)
        bodies = part_bodies(picture if first == 1 else b"", (int(each["byteSize"]) for each in signed))
        await asyncio.gather(*(put(each["target"]["url"], body) for each, body in zip(signed, bodies, strict=True)))


async def ended(stack: Stack, media_id: str) -> tuple[str, str | None]:
    """Status and failure code of a media, once it is terminal."""
    with MongoClient(stack.settings.mongo.uri.get_secret_value(), uuidRepresentation="standard") as mongo:
        media = mongo[stack.settings.mongo.database].media
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                found = await asyncio.to_thread(media.find_one, {"_id": uuid_of(media_id)}) or {}
                if found.get("status") in {"READY", "FAILED", "QUARANTINED"}:
                    return found["status"], (found.get("failure") or {}).get("code")
                await asyncio.sleep(0.2)


async def main() -> int:
    [picture] = photos(1, np.random.default_rng(1))
    async with running_servers(module="benchmarks.widened") as stack, httpx.AsyncClient(timeout=120) as http:
        peaks = Peaks(await stack.start_api(), await stack.start_worker())
        watching, started = asyncio.create_task(peaks.watch()), time.perf_counter()
        client = Client(http, stack.url, stack.token("owner"))
        [outcome] = await client.create([{"contentType": "image/jpeg", "byteSize": BYTES}], key=uuid4().hex)
        await send(client, http, outcome["upload"], picture)
        sent_s = time.perf_counter() - started
        await client.complete(outcome["upload"]["id"], key=uuid4().hex)
        status, code = await ended(stack, outcome["upload"]["media"]["id"])
        watching.cancel()
        print(f"{machine()}; {BYTES / 1024**3:g} GiB in {outcome['upload']['partCount']} parts")
        print(f"sent in {sent_s:.0f} s, {status} {code or ''} after {time.perf_counter() - started:.0f} s")
        for name, peak in peaks.bytes.items():
            print(f"{name:8} peak resident {peak / MEGABYTE:6.0f} MB of {LIMIT_BYTES / MEGABYTE:.0f}")
    return 1 if max(peaks.bytes.values()) >= LIMIT_BYTES or 0 in peaks.bytes.values() else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
