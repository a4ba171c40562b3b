"""Where the API is and who is asking; and an HTTP client that reaches this machine without a proxy."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx

from service.client.errors import InvalidConnection

_SCHEMES = ("http", "https")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_TIMEOUT = httpx.Timeout(60, connect=10, pool=None)


@dataclass(frozen=True, slots=True)
class Connection:
    """The API's GraphQL address, and the bearer token (None: not signed in)."""

    url: str
    token: str | None = field(default=None, repr=False)

    @classmethod
    def to(cls, url: str, token: str | None) -> Connection:
        """`/graphql` is assumed where `url` has no path. Raises InvalidConnection for what cannot be used."""
        parts = urlsplit(url.strip())
        if parts.scheme not in _SCHEMES or not parts.hostname:
            raise InvalidConnection(f"{url!r} is not the address of an API; give one like https://host/graphql.")
        token = token.strip() if token else None
        if token and not (token.isascii() and token.isprintable() and " " not in token):
            raise InvalidConnection("The token is not one: it holds spaces or characters that no token has.")
        return cls(parts._replace(path=parts.path.rstrip("/") or "/graphql", fragment="").geturl(), token or None)

    @property
    def place(self) -> str:
        """The API, in a sentence."""
        return f"The API at {self.url}"

    @property
    def websocket_url(self) -> str:
        return "ws" + self.url.removeprefix("http")

    @property
    def is_local(self) -> bool:
        return urlsplit(self.url).hostname in _LOOPBACK

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.token is None else {"Authorization": f"Bearer {self.token}"}


def http_client(transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """A client without credentials: it talks to storage as well, which has no business with the token."""
    # No proxy of the environment can reach what listens on this machine's loopback.
    direct = {f"all://{'[::1]' if host == '::1' else host}": None for host in _LOOPBACK}
    return httpx.AsyncClient(timeout=_TIMEOUT, transport=transport, mounts=direct)
