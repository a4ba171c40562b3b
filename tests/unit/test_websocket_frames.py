"""WebSocket frames as no library sends them: each ends with the protocol's close code, and none costs memory."""

from __future__ import annotations

import asyncio
import base64
import os
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import structlog

from service.transport.socket_protocol import MAX_FRAGMENTS, SocketProtocol
from service.transport.unfinished_messages import UnfinishedMessages
from tests.graphql_app import GraphQLApp, Listener, listening

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 0x1, 0x2, 0x0, 0x8, 0x9, 0xA
FIN = 0x80


class RawSocket:
    """A WebSocket after its handshake, as bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def receive(self) -> tuple[int, bytes]:
        """Opcode and payload of the next frame."""
        first, second = await self.reader.readexactly(2)
        length = second & 0x7F
        if length == 126:
            [length] = struct.unpack("!H", await self.reader.readexactly(2))
        return first & 0x0F, await self.reader.readexactly(length)

    async def closed_with(self) -> int:
        """The code of the close frame, after which the connection ends in order: neither a reset nor more data."""
        async with asyncio.timeout(10):
            opcode, payload = await self.receive()
            while opcode != CLOSE:
                opcode, payload = await self.receive()
            assert await self.reader.read() == b""
        [code] = struct.unpack("!H", payload[:2])
        return int(code)


def frame(
    opcode: int, payload: bytes = b"", *, flags: int = FIN, masked: bool = True, length: int | None = None
) -> bytes:
    """One frame; `length` is what it says of itself, if that is not true."""
    stated = len(payload) if length is None else length
    mask_bit = 0x80 if masked else 0
    if stated < 126:
        head = bytes([flags | opcode, mask_bit | stated])
    elif stated < 1 << 16:
        head = bytes([flags | opcode, mask_bit | 126]) + struct.pack("!H", stated)
    else:
        head = bytes([flags | opcode, mask_bit | 127]) + struct.pack("!Q", stated)
    # A mask of zeros leaves the payload as it is.
    return head + (bytes(4) if masked else b"") + payload


@pytest.fixture(scope="module")
async def listener() -> AsyncIterator[Listener]:
    async with listening() as listener:
        yield listener


@pytest.fixture
def app(listener: Listener) -> GraphQLApp:
    return listener.serve(GraphQLApp())


@asynccontextmanager
async def connect(listener: Listener) -> AsyncIterator[RawSocket]:
    host, port = listener.address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        f"GET /graphql HTTP/1.1\r\nHost: {listener.address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n"
        # As browsers do; it is not taken up.
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 "), head
    assert b"permessage-deflate" not in head
    try:
        yield RawSocket(reader, writer)
    finally:
        writer.close()


INIT = frame(TEXT, b'{"type":"connection_init"}')
LARGE = 300 * 1024

BAD_FRAMES = {
    "invalid UTF-8": (frame(TEXT, b'{"type":"\xff\xfe"}'), 1007),
    "invalid UTF-8 over two frames": (frame(TEXT, b"\xc3", flags=0) + frame(CONTINUATION, b"\x28"), 1007),
    "a lone surrogate": (frame(TEXT, b"\xed\xa0\x80"), 1007),
    "oversize by its header alone": (frame(TEXT, length=1 << 40), 1009),
    "oversize, and sent": (frame(TEXT, b"x" * LARGE), 1009),
    "oversize in frames": (frame(TEXT, b"x" * LARGE, flags=0)[:-1] + frame(CONTINUATION, b"y"), 1009),
    "oversize and many times more": (frame(TEXT, b"x" * LARGE) * 40, 1009),
    "more frames than a message may have": (frame(TEXT, flags=0) + frame(CONTINUATION, flags=0) * MAX_FRAGMENTS, 1008),
    "a reserved bit": (frame(TEXT, b"{}", flags=FIN | 0x40), 1002),
    "another reserved bit": (frame(PING, flags=FIN | 0x10), 1002),
    "a reserved opcode": (frame(0x3), 1002),
    "a reserved control opcode": (frame(0xB), 1002),
    "not masked": (frame(TEXT, b"{}", masked=False), 1002),
    "a fragmented ping": (frame(PING, flags=0), 1002),
    "a fragmented close": (frame(CLOSE, flags=0), 1002),
    "a control frame of 126 bytes": (frame(PING, b"x" * 126), 1002),
    "a continuation of nothing": (frame(CONTINUATION, b"{}"), 1002),
    "a message within a message": (frame(TEXT, b"{", flags=0) + frame(TEXT, b"}"), 1002),
    "a close of one byte": (frame(CLOSE, b"\x03"), 1002),
    "a close code that does not exist": (frame(CLOSE, struct.pack("!H", 999)), 1002),
    "a close with a reason that is no text": (frame(CLOSE, struct.pack("!H", 1000) + b"\xff"), 1007),
    "bytes instead of text": (frame(BINARY, b"{}"), 4400),
    "text that is no JSON": (frame(TEXT, b"{"), 4400),
    "JSON that is no message": (frame(TEXT, b"[]"), 4400),
}


@pytest.mark.parametrize("name", BAD_FRAMES)
async def test_bad_frames_close_with_the_protocols_code(app: GraphQLApp, listener: Listener, name: str) -> None:
    sent, code = BAD_FRAMES[name]
    async with connect(listener) as socket:
        await socket.send(INIT)
        assert (await socket.receive())[0] == TEXT
        # The client is in the middle of sending when it is refused, and reads the reason only afterwards.
        with_more = sent + frame(PONG) * 1_000
        sending = asyncio.create_task(socket.send(with_more))
        if code == 4400:
            await sending
            await socket.send(frame(CLOSE, struct.pack("!H", code)))
        assert await socket.closed_with() == code
        await sending


async def test_a_message_in_frames_with_pings_between_is_read(app: GraphQLApp, listener: Listener) -> None:
    async with connect(listener) as socket:
        half = len(INIT) // 2
        body = INIT[6:]
        await socket.send(frame(TEXT, body[:half], flags=0) + frame(PING, b"?") + frame(CONTINUATION, body[half:]))
        assert await socket.receive() == (PONG, b"?")
        assert (await socket.receive())[1] == b'{"type":"connection_ack"}'


async def test_pings_of_a_client_that_does_not_read_cost_no_memory(app: GraphQLApp, listener: Listener) -> None:
    async with connect(listener) as socket:
        await socket.send(INIT)
        assert (await socket.receive())[0] == TEXT
        [protocol] = listener.server.server_state.connections
        assert isinstance(protocol, SocketProtocol)
        most = 0
        for _ in range(80):
            # 10 MB of answers in all: more than the kernel takes for one who does not read.
            await socket.send(frame(PING, b"x" * 125) * 1_000)
            most = max(most, protocol.transport.get_write_buffer_size())
        await socket.send(frame(PING, b"last"))
        answers = 0
        async with asyncio.timeout(20):
            while (await socket.receive()) != (PONG, b"last"):
                answers += 1
    assert 0 < answers < 80_000
    assert most < 1_000_000


async def test_a_message_that_does_not_end_closes_its_socket(
    app: GraphQLApp, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.transport.socket_protocol.MESSAGE_S", 0.3)
    for begun in (frame(TEXT, b"{", flags=0), frame(TEXT, b"{   }")[:-3], frame(TEXT, b"", length=100)):
        async with connect(listener) as socket:
            await socket.send(INIT)
            assert (await socket.receive())[0] == TEXT
            await socket.send(begun)
            # Neither pings nor more of the same message give it more time.
            await socket.send(frame(CONTINUATION, b" ", flags=0) if begun[0] == TEXT else b"x")
            assert await socket.closed_with() == 1008


async def test_messages_that_end_may_follow_each_other_for_as_long_as_one_likes(
    app: GraphQLApp, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.transport.socket_protocol.MESSAGE_S", 0.3)
    ping = frame(TEXT, b'{"type":"ping"}')
    async with connect(listener) as socket:
        await socket.send(INIT + ping[:7])
        assert (await socket.receive())[0] == TEXT
        for _ in range(6):
            await asyncio.sleep(0.1)
            # Each packet ends in the midst of the next message.
            await socket.send(ping[7:] + ping[:7])
            assert (await socket.receive())[1] == b'{"type":"pong"}'


async def test_unfinished_messages_share_a_bounded_memory(
    app: GraphQLApp, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SocketProtocol, "unfinished", UnfinishedMessages(limit=500_000))
    begun = frame(TEXT, b"x" * 200_000, flags=0)
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(connect(listener)) for _ in range(6)]
        for socket in sockets:
            await socket.send(INIT)
            assert (await socket.receive())[0] == TEXT
            await socket.send(begun)
            await socket.send(frame(PING, b"all of it"))
            # Who has taken longest is told to go; this one is not.
            assert (await socket.receive())[0] == PONG
        assert [await socket.closed_with() for socket in sockets[:4]] == [1013] * 4
        for socket in sockets[4:]:
            await socket.send(frame(CONTINUATION, b"x"))
            assert (await socket.receive())[1][:2] == struct.pack("!H", 4400)


@pytest.mark.parametrize("bad", ["invalid UTF-8", "a reserved bit", "oversize by its header alone"])
async def test_a_bad_frame_beside_a_good_one_is_no_crash_of_ours(app: GraphQLApp, listener: Listener, bad: str) -> None:
    sent, code = BAD_FRAMES[bad]
    subscribe = frame(TEXT, b'{"id":"1","type":"subscribe","payload":{"query":"subscription { forever }"}}')
    for before in (INIT, INIT + subscribe + frame(PING, b"a") * 50):
        with structlog.testing.capture_logs() as logs:
            async with connect(listener) as socket:
                await socket.send(before + sent)
                assert await socket.closed_with() == code
        assert not [entry for entry in logs if entry["log_level"] == "error"]
    assert app.alive == []
