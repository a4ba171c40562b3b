"""A TCP proxy that does to connections what networks do: cut, refuse, delay, throttle, fall silent, answer 503."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

CHUNK_BYTES = 65_536
# TCP with a linger time of zero: closing sends RST, as where nobody listens, instead of FIN.
_RESET = struct.pack("ii", 1, 0)
_BODY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
_UNAVAILABLE = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
    % (len(_BODY), _BODY)
)

ANYONE = ""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What connections meet. `delay_s`: each piece of up to 64 KiB waits so long; `bytes_per_s`: throughput.

    `is_silent`: nothing passes and nothing ends, as where a cable was pulled: connections are half-open until it is
    over, then go on. `refuses`: new ones are reset. `answers_503`: new ones are answered so, in HTTP.
    """

    delay_s: float = 0
    bytes_per_s: float | None = None
    is_silent: bool = False
    refuses: bool = False
    answers_503: bool = False


FAIR = Conditions()


@dataclass(eq=False)
class _Link:
    caller: str
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    def reset(self) -> None:
        for writer in self.writers:
            raw = writer.get_extra_info("socket")
            # It may have been closed by its other end in the meantime: ValueError, of uvloop.
            with suppress(OSError, ValueError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()


class FaultProxy:
    """Listens on a loopback port of its own and passes on to the first of `upstreams` that takes a connection.

    They are tried in turn, so that several share the load. `caller_of` tells from a connection's first bytes who calls,
    where conditions are to differ by that; clients must speak first.
    """

    def __init__(self, upstreams: Sequence[int], *, caller_of: Callable[[bytes], str] = lambda _: ANYONE) -> None:
        self._upstreams, self._caller_of = list(upstreams), caller_of
        self._conditions: defaultdict[str, Conditions] = defaultdict(lambda: FAIR)
        self._changed = asyncio.Event()
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """End the listener and every connection."""
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def change(self, conditions: Conditions, *, caller: str = ANYONE) -> None:
        """From now on connections of `caller` meet `conditions`; those there are included, but for refusals and 503."""
        self._conditions[caller] = conditions
        self._changed.set()
        self._changed = asyncio.Event()

    def cut(self, *, caller: str | None = None) -> int:
        """Reset the connections of `caller` (None: all), and say how many there were."""
        affected = [link for link in self._links if caller is None or link.caller == caller]
        for link in affected:
            link.reset()
        return len(affected)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        link = _Link(ANYONE, [writer])
        self._links.add(link)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._serve(link, reader, writer)
        except asyncio.CancelledError:
            # The proxy is closed: this task has no one to tell.
            pass
        finally:
            self._links.discard(link)
            self._tasks.discard(task)
            for each in link.writers:
                each.close()

    async def _serve(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.read(CHUNK_BYTES)
        link.caller = self._caller_of(first)
        conditions = self._conditions[link.caller]
        if conditions.refuses or not first:
            link.reset()
            return
        if conditions.answers_503:
            await _refuse_in_http(first, reader, writer)
            return
        await self._pass_through(link.caller, first)
        upstream = await self._connect()
        if upstream is None:
            link.reset()
            return
        link.writers.append(upstream[1])
        upstream[1].write(first)
        pumps = [
            asyncio.ensure_future(self._pump(link.caller, reader, upstream[1])),
            asyncio.ensure_future(self._pump(link.caller, upstream[0], writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for _ in self._upstreams:
            self._upstreams.append(self._upstreams.pop(0))
            with suppress(OSError):
                return await asyncio.open_connection("127.0.0.1", self._upstreams[-1])
        return None

    async def _pump(self, caller: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            await self._pass_through(caller, chunk)
            writer.write(chunk)
            await writer.drain()

    async def _pass_through(self, caller: str, chunk: bytes) -> None:
        while self._conditions[caller].is_silent:
            await self._changed.wait()
        conditions = self._conditions[caller]
        seconds = conditions.delay_s + (len(chunk) / conditions.bytes_per_s if conditions.bytes_per_s else 0)
        if seconds:
            await asyncio.sleep(seconds)


async def _refuse_in_http(first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take a request, its body included, so that the answer is read instead of a reset."""
    received = first
    while b"\r\n\r\n" not in received and (chunk := await reader.read(CHUNK_BYTES)):
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    left = 0 if b"100-continue" in head.lower() else _content_length(head) - len(body)
    while left > 0 and (chunk := await reader.read(CHUNK_BYTES)):
        left -= len(chunk)
    writer.write(_UNAVAILABLE)
    await writer.drain()


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0
