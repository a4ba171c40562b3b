"""Whose address a request has: no client chooses its own."""

from __future__ import annotations

from ipaddress import ip_network

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs

from service.transport.client_address import UNKNOWN, client_addresses
from tests.security.serving import serving

PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


def scope(peer: str | None, *forwarded: str) -> dict[str, object]:
    headers = [(b"x-forwarded-for", each.encode()) for each in forwarded]
    return {"client": None if peer is None else (peer, 40_000), "headers": headers}


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("198.51.100.7", (), "198.51.100.7"),
        # Not from a proxy of ours: made up.
        ("198.51.100.7", ("203.0.113.9",), "198.51.100.7"),
        ("10.1.2.3", ("203.0.113.9",), "203.0.113.9"),
        # What the client sent stands first; the proxy adds to the end.
        ("10.1.2.3", ("1.2.3.4, 203.0.113.9",), "203.0.113.9"),
        ("10.1.2.3", ("1.2.3.4", "203.0.113.9, 10.9.9.9"), "203.0.113.9"),
        ("10.1.2.3", ("nonsense",), "10.1.2.3"),
        ("10.1.2.3", ("203.0.113.9:51820",), "203.0.113.9"),
        ("fd00::1", ("[2001:db8:1:2:3:4:5:6]:443",), "2001:db8:1:2::/64"),
        ("2001:db8:1:2::ffff", (), "2001:db8:1:2::/64"),
        ("::ffff:198.51.100.7", (), "198.51.100.7"),
        (None, (), UNKNOWN),
        ("a.socket", (), UNKNOWN),
    ],
)
def test_address_of_a_client(peer: str | None, forwarded: tuple[str, ...], expected: str) -> None:
    assert client_addresses(PROXIES)(scope(peer, *forwarded)) == expected


def test_without_trusted_proxies_the_peer_it_is() -> None:
    assert client_addresses(())(scope("10.1.2.3", "203.0.113.9")) == "10.1.2.3"


async def test_the_server_passes_on_who_connected_and_not_what_they_say() -> None:
    peers: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            peers.append(client_addresses(())(scope))
            await PlainTextResponse("")(scope, receive, send)

    async with serving(app) as url, httpx.AsyncClient() as client:
        for number in range(2):
            await client.get(url, headers={"X-Forwarded-For": f"203.0.113.{number}"})
    assert peers == ["127.0.0.1"] * 2


def test_that_nobody_is_trusted_is_logged_once_where_somebody_speaks_for_others() -> None:
    with capture_logs() as logs:
        address_of = client_addresses(())
        assert [address_of(scope("10.0.0.1", "203.0.113.9")) for _ in range(3)] == ["10.0.0.1"] * 3
        assert client_addresses(PROXIES)(scope("10.0.0.1", "203.0.113.9")) == "203.0.113.9"
    [line] = logs
    assert "MEDIA_LIMITS__TRUSTED_PROXIES" in line["remedy"]
