"""Requests that do not end, or do not arrive: given up in bounded time and memory, by the server of production."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from service.settings import HttpSettings
from service.transport import request_protocol
from tests.graphql_app import GraphQLApp, Listener, listening

HEAD = b"GET /graphql?query={hello} HTTP/1.1\r\nHost: api.example\r\n"
POST = b"POST /graphql HTTP/1.1\r\nHost: api.example\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
BODY = b'{"query": "{ hello }"}'
WHOLE = POST + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
# What a head may have, and what a whole request.
MOST_IN_HEAD = HttpSettings().max_body_bytes + request_protocol.HEADER_BYTES
MOST = 16 * MOST_IN_HEAD
PIECE = 50_000


@pytest.fixture(scope="module")
async def listener() -> AsyncIterator[Listener]:
    async with listening() as listener:
        listener.serve(GraphQLApp())
        yield listener


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_protocol, "REQUEST_S", 0.1)


async def opened(listener: Listener) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = listener.address.partition(":")
    return await asyncio.open_connection(host, int(port))


async def answered(listener: Listener, *pieces: bytes) -> bytes:
    """All that comes back until the server hangs up."""
    reader, writer = await opened(listener)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    try:
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()


async def taken(listener: Listener, begun: bytes, piece: bytes) -> int:
    """How many bytes of an endless request are taken before the server hangs up."""
    reader, writer = await opened(listener)
    sent = len(begun)
    writer.write(begun)
    try:
        while sent < 10 * MOST and not reader.at_eof():
            writer.write(piece)
            await writer.drain()
            sent += len(piece)
            # So that what the server said, or that it hung up, is seen.
            await asyncio.sleep(0)
    except ConnectionError:
        pass
    finally:
        writer.close()
    return sent


async def still_serves(listener: Listener) -> bool:
    reply = await answered(listener, HEAD + b"Connection: close\r\n\r\n")
    return reply.startswith(b"HTTP/1.1 200") and b'"hello world"' in reply


@pytest.mark.parametrize(
    ("begun", "piece", "most"),
    [
        (HEAD, b"X-Much: " + b"y" * PIECE + b"\r\n", MOST_IN_HEAD),
        (HEAD + b"X-Much: ", b"y" * PIECE, MOST_IN_HEAD),
        (HEAD + b"X-", b"y" * PIECE, MOST_IN_HEAD),
        (b"GET /graphql?query=", b"y" * PIECE, MOST_IN_HEAD),
        (CHUNKED + b"2\r\n{}\r\n0\r\n", b"X-Trailer: " + b"y" * PIECE + b"\r\n", MOST),
        (CHUNKED + b"1;", b"y" * PIECE, MOST),
    ],
    ids=["headers", "one value", "one name", "address", "trailers", "chunk extension"],
)
async def test_what_has_no_end_is_given_up(listener: Listener, begun: bytes, piece: bytes, most: int) -> None:
    # What both kernels hold besides.
    assert await taken(listener, begun, piece) < most + 8_000_000
    assert await still_serves(listener)


@pytest.mark.parametrize(
    "begun",
    [b"G", HEAD, POST + b"Content-Length: 9\r\n", WHOLE + HEAD],
    ids=["one byte", "no end of headers", "no empty line", "a second request"],
)
async def test_a_head_that_does_not_arrive_is_timed_out(listener: Listener, impatient: None, begun: bytes) -> None:
    assert b"HTTP/1.1 408 Request Timeout\r\n" in await answered(listener, begun)


async def test_a_body_that_does_not_arrive_holds_no_connection(listener: Listener, impatient: None) -> None:
    assert await answered(listener, POST + b"Content-Length: 9\r\n\r\n{") == b""
    refused = POST.replace(b"application/json", b"text/plain") + b"Content-Length: 9\r\n\r\n{"
    assert (await answered(listener, refused)).startswith(b"HTTP/1.1 415")
    assert await answered(listener, CHUNKED + b"FFFFFFFFFFFFFFFF\r\n{") == b""


@pytest.mark.parametrize("body", [b"Content-Length: 2\r\n\r\n{}", b"\r\n"])
async def test_a_socket_that_is_asked_for_by_post_is_refused(listener: Listener, body: bytes) -> None:
    upgrade = POST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n" + body
    assert (await answered(listener, upgrade)).startswith(b"HTTP/1.1 400")


async def test_silence_is_given_as_long_as_between_requests(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener.server.config, "timeout_keep_alive", 0)
    assert await answered(listener) == b""


async def test_slow_but_whole_requests_are_answered_and_their_connection_stays(
    listener: Listener, impatient: None
) -> None:
    reader, writer = await opened(listener)
    for _ in range(2):
        for piece in (WHOLE[:7], WHOLE[7:90], WHOLE[90:]):
            writer.write(piece)
            await asyncio.sleep(0.01)
        assert (await reader.readuntil(b"}}}")).startswith(b"HTTP/1.1 200")
    # Longer than one request may take.
    await asyncio.sleep(0.15)
    writer.write(WHOLE)
    assert (await reader.readuntil(b"}}}")).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_an_early_refusal_leaves_the_connection_to_the_next_request(listener: Listener, impatient: None) -> None:
    """What is left of a refused body may come late, but it comes."""
    reader, writer = await opened(listener)
    writer.write(POST.replace(b"application/json", b"text/plain") + b"Content-Length: 9\r\n\r\n{")
    assert (await reader.readuntil(b"}]}")).startswith(b"HTTP/1.1 415")
    writer.write(b" " * 8)
    await asyncio.sleep(0.15)
    writer.write(WHOLE)
    assert (await reader.readuntil(b"}}}")).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_sockets_and_streams_outlive_the_time_for_a_request(listener: Listener, impatient: None) -> None:
    from websockets.asyncio.client import connect

    stream = HEAD.replace(b"{hello}", b"subscription{forever}") + b"Accept: text/event-stream\r\n\r\n"
    reader, writer = await opened(listener)
    writer.write(stream)
    await reader.readuntil(b'"forever":0')
    async with connect(f"ws://{listener.address}/graphql", subprotocols=["graphql-transport-ws"], proxy=None) as socket:  # type: ignore[list-item]
        await socket.send('{"type":"connection_init"}')
        await socket.recv()
        await asyncio.sleep(0.15)
        await socket.send('{"type":"ping"}')
        assert await socket.recv() == '{"type":"pong"}'
    assert not reader.at_eof()
    writer.close()
