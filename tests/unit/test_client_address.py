"""Whose address a request has: no client chooses its own."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from service.transport.client_address import UNKNOWN, client_addresses

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
