"""What connections through the fault proxy meet, one condition after the other, over real sockets."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from bson import encode

from tests.chaos.fault_proxy import FAIR, Conditions, FaultProxy
from tests.chaos.mongo_wire import application_of
from tests.chaos.skewed_clock import SkewedClock, build_clock

SOON_S = 0.2


class Echo:
    """A server that sends back what it gets, and the connections that it has."""

    def __init__(self) -> None:
        self.port = self.connections = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(ConnectionError):
            while chunk := await reader.read(65_536):
                writer.write(chunk)
                await writer.drain()
        writer.close()


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    echo = Echo()
    server = await asyncio.start_server(echo.answer, "127.0.0.1", 0)
    echo.port = server.sockets[0].getsockname()[1]
    yield echo
    server.close()


@pytest.fixture
async def proxy(echo: Echo) -> AsyncIterator[FaultProxy]:
    """Callers are told apart by the first letter that they send."""
    proxy = FaultProxy([1, echo.port], caller_of=lambda first: first[:1].decode())
    await proxy.start()
    yield proxy
    await proxy.close()


class Caller:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def through(cls, proxy: FaultProxy) -> Caller:
        return cls(*await asyncio.open_connection("127.0.0.1", proxy.port))

    async def ask(self, words: bytes) -> bytes:
        """What comes back; nothing from a connection that was ended."""
        try:
            self._writer.write(words)
            return await self._reader.readexactly(len(words))
        except (ConnectionError, asyncio.IncompleteReadError):
            return b""

    def leave(self) -> None:
        self._writer.transport.abort()


async def test_cuts_and_refusals_meet_one_caller_and_not_the_other(proxy: FaultProxy, echo: Echo) -> None:
    one, other = await Caller.through(proxy), await Caller.through(proxy)
    assert [await one.ask(b"a hello"), await other.ask(b"b hello")] == [b"a hello", b"b hello"]
    proxy.change(Conditions(refuses=True), caller="a")
    assert proxy.cut(caller="a") == 1
    assert [await one.ask(b"a again"), await other.ask(b"b again")] == [b"", b"b again"]
    assert await (await Caller.through(proxy)).ask(b"a anew") == b""
    assert echo.connections == 2
    proxy.change(FAIR, caller="a")
    anew = await Caller.through(proxy)
    assert await anew.ask(b"a anew") == b"a anew"
    for each in (one, other, anew):
        each.leave()


async def test_silence_ends_nothing_and_loses_nothing(proxy: FaultProxy) -> None:
    caller = await Caller.through(proxy)
    assert await caller.ask(b"a hello") == b"a hello"
    proxy.change(Conditions(is_silent=True), caller="a")
    waiting = asyncio.create_task(caller.ask(b"still there?"))
    await asyncio.wait({waiting}, timeout=SOON_S)
    assert not waiting.done()
    proxy.change(FAIR, caller="a")
    assert await waiting == b"still there?"
    caller.leave()


@pytest.mark.parametrize("conditions", [Conditions(delay_s=0.1), Conditions(bytes_per_s=100)])
async def test_delays_and_narrow_lines_take_their_time(proxy: FaultProxy, conditions: Conditions) -> None:
    caller = await Caller.through(proxy)
    assert await caller.ask(b"a hello") == b"a hello"
    proxy.change(conditions, caller="a")
    began = time.monotonic()
    # There and back.
    assert await caller.ask(b"ten bytes.") == b"ten bytes."
    assert time.monotonic() - began >= 0.2
    caller.leave()


async def test_503_is_an_answer_in_http_to_whole_requests(proxy: FaultProxy, echo: Echo) -> None:
    proxy.change(Conditions(answers_503=True), caller="P")
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.put(f"http://127.0.0.1:{proxy.port}/key", content=bytes(300_000))
    assert answer.status_code == 503
    assert "SlowDown" in answer.text
    assert echo.connections == 0


def test_drivers_are_told_apart_by_the_name_they_give() -> None:
    greeting = encode({"hello": 1, "client": {"application": {"name": "worker"}}})
    message = bytes(16) + bytes(4) + b"\0" + greeting
    query = bytes(16) + bytes(4) + b"admin.$cmd\0" + bytes(8) + greeting
    member = bytes(16) + bytes(4) + b"\0" + encode({"hello": 1, "internalClient": {}})
    assert [application_of(each) for each in (message, query, member, b"GET / HTTP/1.1")] == [
        "worker",
        "worker",
        "",
        "",
    ]


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler: sudo apt-get install gcc")
def test_a_skewed_clock_is_wrong_for_its_process_alone(tmp_path: Path) -> None:
    library = build_clock(tmp_path)
    assert library is not None
    clock = SkewedClock(library, tmp_path / "clock")
    clock.skew(-300)
    # Reads, waits for a line, reads again; and the monotonic clock, which timeouts go by, at the same moments.
    program = "import time\nfor _ in range(2): print(time.time(), time.monotonic(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], env=clock.environment, stdin=-1, stdout=-1, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        told = []
        for seconds in (300, 0):
            told.append([float(each) for each in process.stdout.readline().split()])
            clock.skew(seconds)
            process.stdin.write("\n")
            process.stdin.flush()
    now = time.time()
    assert [round((wall - now) / 60) for wall, _ in told] == [-5, 5]
    assert all(abs(monotonic - time.monotonic()) < 30 for _, monotonic in told)
