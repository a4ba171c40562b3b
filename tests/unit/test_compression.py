"""Answers in fewer bytes: which coding a client gets, and that it holds the same answer."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Callable

import brotli
import httpx
import pytest
import zstandard

from service.settings import HttpSettings
from service.transport.compression import MIN_BYTES, choose_coding
from tests.graphql_app import GraphQLApp

DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "zstd": lambda body: zstandard.ZstdDecompressor().decompress(body),
    "br": brotli.decompress,
    "gzip": gzip.decompress,
}
LONG = "x" * 10_000


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(GraphQLApp().asgi), base_url="http://api.example"
    ) as client:
        del client.headers["accept-encoding"]
        yield client


async def raw(client: httpx.AsyncClient, accept_encoding: str | None, name: str = LONG) -> tuple[httpx.Response, bytes]:
    """The response, and its body as it came."""
    headers = {} if accept_encoding is None else {"accept-encoding": accept_encoding}
    parameters = {"query": "query($n: String!) { hello(name: $n) }", "variables": {"n": name}}
    async with client.stream("POST", "/graphql", json=parameters, headers=headers) as response:
        return response, b"".join([part async for part in response.aiter_raw()])


@pytest.mark.parametrize(
    ("accept_encoding", "coding"),
    [
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, deflate, br", "br"),
        ("gzip, deflate", "gzip"),
        ("GZIP", "gzip"),
        ("br;q=0.5, gzip", "gzip"),
        ("zstd;q=0, br; q=0.9", "br"),
        ("*", "zstd"),
        ("zstd;q=0, *;q=0.1", "br"),
    ],
)
async def test_a_long_answer_comes_in_the_coding_asked_for(
    client: httpx.AsyncClient, accept_encoding: str, coding: str
) -> None:
    response, body = await raw(client, accept_encoding)
    assert response.headers["content-encoding"] == coding
    assert int(response.headers["content-length"]) == len(body) < 1_000
    assert json.loads(DECODERS[coding](body))["data"] == {"hello": f"hello {LONG}"}


@pytest.mark.parametrize("accept_encoding", [None, "", "identity", "deflate", "gzip;q=0", "gzip;q=nonsense", "*;q=0"])
async def test_other_clients_get_plain_bytes(client: httpx.AsyncClient, accept_encoding: str | None) -> None:
    response, body = await raw(client, accept_encoding)
    assert "content-encoding" not in response.headers
    assert json.loads(body)["data"] == {"hello": f"hello {LONG}"}


async def test_a_short_answer_is_left_as_it_is(client: httpx.AsyncClient) -> None:
    response, body = await raw(client, "gzip, br, zstd", "Ada")
    assert "content-encoding" not in response.headers
    assert len(body) < MIN_BYTES


@pytest.mark.parametrize("name", ["Ada", LONG])
async def test_caches_are_told_that_the_coding_varies(client: httpx.AsyncClient, name: str) -> None:
    for accept_encoding in (None, "gzip"):
        response, _ = await raw(client, accept_encoding, name)
        assert "Accept-Encoding" in response.headers["vary"].split(", ")


async def test_it_can_be_turned_off() -> None:
    app = GraphQLApp(HttpSettings(compression=False))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app.asgi), base_url="http://api.example") as client:
        response, _ = await raw(client, "gzip, br, zstd")
    assert "content-encoding" not in response.headers


def test_headers_are_remembered_within_bounds() -> None:
    from service.transport import compression

    for number in range(1_000):
        choose_coding(f"gzip, x-{number}")
        choose_coding("gzip, " + "x" * 500 + str(number))
    assert compression._choose_remembered.cache_info().currsize <= 256
