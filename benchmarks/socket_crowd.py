"""Many WebSocket clients in one process, each with one subscription, for `benchmarks.sockets`."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

import orjson

_AT_ONCE = 50


class Socket(asyncio.Protocol):
    """One client. `on_message` gets each text message; `deaf` stops reading for good."""

    def __init__(self, on_message: Callable[[Socket, bytes], None], subprotocol: str) -> None:
        self._on_message = on_message
        self._subprotocol = subprotocol
        self._buffer = bytearray()
        self._upgraded = False
        self.transport: asyncio.Transport | None = None
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET /graphql HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {self._subprotocol}\r\n"
            f"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n".encode()
        )

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._upgraded:
            head, found, rest = bytes(self._buffer).partition(b"\r\n\r\n")
            if not found:
                return
            assert head.startswith(b"HTTP/1.1 101 "), head
            self._upgraded, self._buffer = True, bytearray(rest)
            self._on_message(self, b"")
        while (message := self._next_frame()) is not None:
            opcode, payload = message
            if opcode == 9:
                self._send(10, payload)
            elif opcode == 1:
                self._on_message(self, payload)

    def _next_frame(self) -> tuple[int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        length, start = buffer[1], 2
        if length >= 126:
            start = 4 if length == 126 else 10
            length = int.from_bytes(buffer[2:start], "big")
        if len(buffer) < start + length:
            return None
        frame = buffer[0] & 15, bytes(buffer[start : start + length])
        del buffer[: start + length]
        return frame

    def send(self, message: object) -> None:
        self._send(1, orjson.dumps(message))

    def _send(self, opcode: int, payload: bytes) -> None:
        assert self.transport is not None
        length = len(payload)
        head = (
            bytes([128 | opcode, 128 | length])
            if length < 126
            else bytes([128 | opcode, 254, *length.to_bytes(2, "big")])
        )
        self.transport.write(head + bytes(4) + payload)


class Crowd:
    """Many sockets, each with one subscription, and what they have been told."""

    def __init__(
        self, port: int, token: str, payloads: Sequence[dict[str, Any]], *, small_buffers: bool = False
    ) -> None:
        self._port = port
        self._small_buffers = small_buffers
        self._token = token
        self._payloads = payloads
        self.sockets: list[Socket] = []
        self.told = 0
        self.failure = ""
        self._enough = 0
        self._reached = asyncio.Event()

    async def gather(self) -> None:
        """Connect all and wait until each has subscribed; those with a snapshot are also told that."""
        limit = asyncio.Semaphore(_AT_ONCE)

        async def connect(payload: dict[str, Any]) -> None:
            async with limit:
                acknowledged = asyncio.get_running_loop().create_future()

                def hear(client: Socket, text: bytes) -> None:
                    self._hear(client, text, payload, acknowledged)

                connection = socket.socket()
                connection.setblocking(False)  # noqa: FBT003 - its only parameter
                if self._small_buffers:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
                loop = asyncio.get_running_loop()
                await loop.sock_connect(connection, ("127.0.0.1", self._port))
                _, client = await loop.create_connection(lambda: Socket(hear, "graphql-transport-ws"), sock=connection)
                self.sockets.append(client)
                await acknowledged

        await asyncio.gather(*map(connect, self._payloads))

    def _hear(self, client: Socket, text: bytes, payload: dict[str, Any], acknowledged: asyncio.Future[None]) -> None:
        if not text:
            client.send({"type": "connection_init", "payload": {"authorization": f"Bearer {self._token}"}})
        elif text.startswith(b'{"type":"connection_ack"'):
            client.send({"type": "subscribe", "id": "1", "payload": payload})
            acknowledged.set_result(None)
        elif b'"errors"' in text or b'"type":"error"' in text:
            self.failure = text.decode()
            self._reached.set()
        elif b'"type":"next"' in text:
            self.told += 1
            if self.told >= self._enough:
                self._reached.set()

    async def until(self, told: int) -> None:
        """Return once so many events have arrived in all."""
        self._enough = told
        self._reached.clear()
        if self.told < told:
            async with asyncio.timeout(60):
                await self._reached.wait()
        if self.failure:
            raise RuntimeError(self.failure)

    async def leave(self) -> None:
        for client in self.sockets:
            if client.transport is not None:
                client.transport.abort()
        await asyncio.sleep(1)
