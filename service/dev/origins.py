"""Whose pages besides our own may talk to the embedded stack: origins as browsers send them (RFC 6454, section 6)."""

from __future__ import annotations

import re

# Plain http only from this machine: anybody on the way could speak for another page.
_LOOPBACK = r"(?:[a-z0-9-]+\.)*localhost|127(?:\.\d{1,3}){3}|\[::1\]"
_ORIGIN = re.compile(rf"(?:(http)://({_LOOPBACK})|(https)://([a-z0-9.-]+|\[[0-9a-f:]+\]))(?::(\d{{1,5}}))?/?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def split_origins(text: str) -> tuple[str, ...]:
    """The origins of a comma-separated list, in the form that browsers send.

    Raises ValueError for what is neither `https://host[:port]` nor `http://` of this machine.
    """
    given = (each.strip() for each in text.split(","))
    return tuple(dict.fromkeys(_origin(each) for each in given if each))


def _origin(given: str) -> str:
    match = _ORIGIN.fullmatch(given.lower())
    if match is None or int(match[5] or 1) not in range(1, 65536):
        raise ValueError(f"{given!r} is not an origin that may be allowed")
    scheme, host = match[1] or match[3], match[2] or match[4]
    port = int(match[5]) if match[5] else _DEFAULT_PORTS[scheme]
    # Browsers leave the usual port out, and would not be recognised with it.
    return f"{scheme}://{host}" if port == _DEFAULT_PORTS[scheme] else f"{scheme}://{host}:{port}"
