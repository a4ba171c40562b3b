"""Where a receiver is: the addresses behind its name, and whether they are of the public internet."""

from __future__ import annotations

import asyncio
import ipaddress
import socket

# Addresses of IPv4 as networks without it see them (RFC 6052).
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# All that is given out of IPv6 for the internet: https://www.iana.org/assignments/ipv6-address-space
_UNICAST = ipaddress.ip_network("2000::/3")
# What of it, and of IPv4, is not for hosts of the internet, and passes for global in one release of Python or another:
# https://www.iana.org/assignments/iana-ipv4-special-registry and iana-ipv6-special-registry
_SPECIAL = tuple(
    map(
        ipaddress.ip_network,
        ("192.0.0.0/24", "192.88.99.0/24", "240.0.0.0/4", "2001::/23", "2001:db8::/32", "3fff::/20"),
    )
)


def is_public(address: str) -> bool:
    """Whether an IP address is of the public internet, also where it stands for one of IPv4."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if ip not in _UNICAST:
            return False
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _SPECIAL)


async def resolve(host: str, port: int) -> list[str]:
    """The IP addresses of a host, in the order to try them. Raises OSError, also for what can be no host's name."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise OSError("this can be no host's name") from None
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
