"""Closed loops of one request each, in a process of its own: `python -m benchmarks.feed.load`.

Reads one order a line as JSON and answers each with one line of figures.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import httptools
import orjson
import uvloop

from benchmarks.stack import cpu_seconds, descendants


@dataclass(frozen=True, slots=True)
class Order:
    """`request`: the whole of it, as text. `pids`: a server and the database; time in seconds."""

    port: int
    request: str
    connections: int
    warm_s: float
    seconds: float
    pids: dict[str, int]


@dataclass(frozen=True, slots=True)
class Figures:
    """CPU is user and system time of each process and its children, and of the load itself; latencies in ms."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    cpu_s: dict[str, float]


class Loop(asyncio.Protocol):
    """Sends the request again as soon as its answer is whole."""

    def __init__(self, request: bytes, latencies: list[float], ended: asyncio.Future[None]) -> None:
        self._request = request
        self._latencies = latencies
        self._ended = ended
        self._sent = 0.0
        self._parser = httptools.HttpResponseParser(self)
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        if (status := self._parser.get_status_code()) != 200:
            self._fail(RuntimeError(f"answered with {status}"))
            return
        self._latencies.append(time.perf_counter() - self._sent)
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(error or RuntimeError("the server closed the connection"))

    def _fail(self, error: Exception) -> None:
        if not self._ended.done():
            self._ended.set_exception(error)


async def carry_out(order: Order) -> Figures:
    """Load a server for that long. Raises RuntimeError or OSError if it answers with anything but 200, or hangs up."""
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    ended: asyncio.Future[None] = loop.create_future()
    request = order.request.encode()
    made = [
        await loop.create_connection(lambda: Loop(request, latencies, ended), "127.0.0.1", order.port)
        for _ in range(order.connections)
    ]
    await _unless(ended, order.warm_s)
    latencies.clear()
    before, started = _cpu(order.pids), time.perf_counter()
    await _unless(ended, order.seconds)
    seconds, measured = time.perf_counter() - started, sorted(latencies)
    after = _cpu(order.pids)
    ended.cancel()
    for transport, _ in made:
        transport.abort()
    return Figures(
        requests=len(measured),
        seconds=seconds,
        p50_ms=1e3 * _percentile(measured, 0.5),
        p99_ms=1e3 * _percentile(measured, 0.99),
        cpu_s={name: after[name] - before[name] for name in after},
    )


async def _unless(ended: asyncio.Future[None], seconds: float) -> None:
    await asyncio.wait([ended], timeout=seconds)
    if ended.done():
        ended.result()


def _cpu(pids: dict[str, int]) -> dict[str, float]:
    spent = {name: sum(map(cpu_seconds, [pid, *descendants(pid)])) for name, pid in pids.items()}
    return {**spent, "load": time.process_time()}


def _percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else float("nan")


def main() -> None:
    for line in sys.stdin:
        figures = uvloop.run(carry_out(Order(**orjson.loads(line))))
        sys.stdout.buffer.write(orjson.dumps(asdict(figures)) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
