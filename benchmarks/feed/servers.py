"""The servers that are compared: how each is started, and how its page is asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from benchmarks.feed.pages import Page
from benchmarks.stack import REPOSITORY, UNLIMITED
from service import policies
from service.cloudfront import HashAlgorithm, Signer
from service.dev.edge.verification import PublicKey
from service.dev.environment import environment_of
from service.dev.stack import GROUPS
from service.dev.supervision import Part
from service.dev.tokens import mint_token
from service.models import MediaPurpose
from service.settings import Settings

PEERS: Final = REPOSITORY / "benchmarks" / "peers"
RSA_ID: Final = "KBENCHRSA"
# As browsers send it.
BROWSERS_ENCODINGS: Final = "gzip, deflate, br, zstd"

DOCUMENTED, ADVANTAGED = "as documented", "with every advantage"
OURS, APOLLO, MERCURIUS = "ours", "Apollo Server", "mercurius, JIT"
BY_HAND: Final = {"motor": "Starlette by hand, motor", "pymongo": "Starlette by hand, PyMongo Async"}


@dataclass(frozen=True, slots=True)
class Server:
    """A process that answers GraphQL under `path`; without one it has a route of its own for each page."""

    part: Part
    port: int
    path: str | None = "/graphql"


@dataclass(frozen=True, slots=True)
class Row:
    """A server, asked in a certain way."""

    server: Server
    name: str
    setting: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"{self.name}, {self.setting}" if self.setting else self.name

    def answers(self, page: Page) -> bool:
        """Whether it is asked for `page`: as documented, nobody does better with a later one.

        Without signatures, a server by hand is the same in either setting.
        """
        return self.setting != DOCUMENTED or (page.after is None and bool(self.server.path or page.is_signed))

    def request(self, page: Page, **headers: str) -> str:
        """The whole HTTP request for `page`."""
        path = self.server.path
        body = b"" if path is None else page.body
        start = f"GET {page.path}" if path is None else f"POST {path}"
        fields = {
            "Host": f"127.0.0.1:{self.server.port}",
            "Accept": "application/json",
            **({"Content-Type": "application/json", "Content-Length": str(len(body))} if body else {}),
            **self.headers,
            **headers,
        }
        lines = [f"{start} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        return "\r\n".join(lines) + "\r\n\r\n" + body.decode()


@dataclass(frozen=True, slots=True)
class Keys:
    """A key of each kind: the SDKs as they ship take RSA, which is all that their documentation knows."""

    rsa: str = field(repr=False)
    ecdsa_id: str
    ecdsa: str = field(repr=False)

    def public(self, base_url: str) -> dict[str, PublicKey]:
        """To verify what either has signed."""
        pems = {RSA_ID: self.rsa, self.ecdsa_id: self.ecdsa}
        return {
            name: PublicKey(Signer(base_url, name, pem, HashAlgorithm.SHA1).public_key) for name, pem in pems.items()
        }


def keys_of(settings: Settings) -> Keys:
    """The service's own key for public renditions, and a new RSA key."""
    ours = settings.delivery.public_key
    if ours is None:
        raise ValueError("a key for public renditions is needed")
    fresh = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Keys(fresh.decode(), ours.key_pair_id, ours.private_key.get_secret_value())


def our_server(settings: Settings, folder: Path, name: str = OURS, **http: int) -> Server:
    """`python -m service api` as it is shipped, its access log included, but for these settings of its HTTP side."""
    settings = settings.model_copy(update={"http": settings.http.model_copy(update=http)})
    environment = {**environment_of(settings, GROUPS["api"]), **UNLIMITED, "TMPDIR": str(folder)}
    port = settings.http.port
    part = Part(name, [sys.executable, "-m", "service", "api"], environment, f"http://127.0.0.1:{port}/healthz")
    return Server(part, port)


def our_rows(server: Server, settings: Settings) -> list[Row]:
    """Ours as it is shipped, asked in three ways."""
    token = mint_token(settings.auth.issuers[0], "somebody")
    return [
        Row(server, OURS, ""),
        Row(server, OURS, "signed in", {"Authorization": f"Bearer {token}"}),
        Row(server, OURS, "compressed", {"Accept-Encoding": BROWSERS_ENCODINGS}),
    ]


def our_variants(settings: Settings, folder: Path, ports: Iterator[int]) -> list[Row]:
    """Ours with nothing in memory, and with media but no whole pages."""
    bare = our_server(settings, folder, f"{OURS}-bare", port=next(ports), first_pages=0, media_in_memory=0)
    strict = our_server(settings, folder, f"{OURS}-strict", port=next(ports), first_pages=0)
    return [Row(bare, OURS, "nothing in memory"), Row(strict, OURS, "no whole pages in memory")]


def peer_rows(settings: Settings, keys: Keys, pages: Sequence[Page], ports: Iterator[int]) -> list[Row]:
    """Each peer as its documentation shows it, and with everything that it can fairly be given."""
    rows = []
    for setting in (DOCUMENTED, ADVANTAGED):
        told = {**_told(settings, keys, pages), "advantages": setting == ADVANTAGED}
        for peer in _PEERS:
            server = _started_as(peer, setting, {**told, "driver": peer.driver}, next(ports))
            rows.append(Row(server, peer.title, setting))
    return rows


@dataclass(frozen=True, slots=True)
class _Peer:
    """`by_hand`: it knows no GraphQL. `documented_path`: where it answers when set up as documented."""

    title: str
    module: str
    driver: str = ""
    by_hand: bool = False
    documented_path: str = "/graphql"

    @property
    def argv(self) -> list[str]:
        if self.driver:
            return [sys.executable, "-m", f"benchmarks.peers.{self.module}"]
        return ["node", str(PEERS / self.module)]


_PEERS: Final = (
    _Peer("Strawberry, motor", "strawberry_peer", "motor"),
    _Peer(BY_HAND["motor"], "starlette_peer", "motor", by_hand=True),
    _Peer(BY_HAND["pymongo"], "starlette_peer", "pymongo", by_hand=True),
    _Peer(APOLLO, "apollo.mjs", documented_path="/"),
    _Peer(MERCURIUS, "mercurius.mjs"),
)


def _started_as(peer: _Peer, setting: str, told: Mapping[str, Any], port: int) -> Server:
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "NODE_ENV": "production",
        "PEER_SETTINGS": orjson.dumps({**told, "port": port}).decode(),
    }
    name = f"{peer.module}-{peer.driver}-{setting}".replace(" ", "-")
    part = Part(name, peer.argv, environment, f"http://127.0.0.1:{port}/")
    path = peer.documented_path if setting == DOCUMENTED else "/graphql"
    return Server(part, port, None if peer.by_hand else path)


def _told(settings: Settings, keys: Keys, pages: Sequence[Page]) -> dict[str, Any]:
    renditions = policies.POLICIES[MediaPurpose.COMMUNITY].renditions
    lifetimes = {each.name.value: [each.url_lifetime.window_s, each.url_lifetime.minimum_s] for each in renditions}
    return {
        "mongoUri": settings.mongo.uri.get_secret_value(),
        "database": settings.mongo.database,
        "schema": str(REPOSITORY / "schema" / "schema.graphql"),
        "baseUrl": settings.delivery.base_url,
        "rsa": {"id": RSA_ID, "pem": keys.rsa},
        "ecdsa": {"id": keys.ecdsa_id, "pem": keys.ecdsa},
        "lifetimes": lifetimes,
        "sharedLifetime": min(lifetimes.values(), key=sum),
        "projections": {page.name: page.projection for page in pages},
    }
