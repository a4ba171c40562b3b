"""Where a request comes from, as far as that can be known: the peer, or what a proxy that we trust says of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import structlog
from starlette.types import Scope

from service.transport.reply import header_of

log = structlog.get_logger(__name__)

UNKNOWN = "unknown"

# Whoever has an IPv6 address has the 2**64 of its network (RFC 6177).
_OF_ONE_SUBSCRIBER = 64
_MAX_HEADER = 2_000


def client_addresses(trusted: Sequence[IPv4Network | IPv6Network]) -> Callable[[Scope], str]:
    """What tells the address of a scope's client: IPv4 as it is, IPv6 as its /64; UNKNOWN where there is none.

    `X-Forwarded-For` is read from its end, and only as far as each address that wrote to it is in `trusted`: what
    stands before that the client may have made up. Where none is trusted, the first time that somebody sends the header
    is logged: it may be a load balancer, all of whose clients look like one.
    """
    is_told = bool(trusted)

    @lru_cache(maxsize=4_096)
    def address_of(peer: str, forwarded: str) -> str:
        address = _parse(peer)
        hops = forwarded.split(",") if forwarded else []
        while address is not None and hops and any(address in network for network in trusted):
            nearer = _parse(hops.pop())
            if nearer is None:
                break
            address = nearer
        return UNKNOWN if address is None else _subscriber(address)

    def of_scope(scope: Scope) -> str:
        nonlocal is_told
        client = scope.get("client")
        if client is None:
            return UNKNOWN
        forwarded = None
        if trusted or not is_told:
            forwarded = header_of(scope, b"x-forwarded-for")
        if forwarded is not None and not is_told:
            is_told = True
            log.warning(
                "X-Forwarded-For is not believed; if a load balancer sent it, all its clients are counted as one",
                peer=client[0],
                remedy="name its networks in MEDIA_LIMITS__TRUSTED_PROXIES",
            )
        return address_of(client[0], (forwarded or "")[-_MAX_HEADER:])

    return of_scope


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _subscriber(address: IPv4Address | IPv6Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    return str(ip_network((int(address), _OF_ONE_SUBSCRIBER), strict=False))
