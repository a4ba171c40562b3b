"""What an answer costs beside its operation: `python -m benchmarks.transport`.

First the CPU time of everything around one operation: middleware, routing, token, body, parsing kept from earlier,
JSON, access log, metrics. The operation itself answers with what it has. Then, for two pages of the feed with signed
URLs, the bytes on the wire and CPU time of each coding and level.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import io
import json
import random
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any
from unittest.mock import Mock
from uuid import UUID

import brotli
import jwt
import orjson
import zstandard
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr

from service.app import create_app
from service.delivery import Delivery
from service.log_lines import configure_logging
from service.models import MediaFormat, MediaPurpose, RenditionName, Visibility
from service.object_keys import rendition_key
from service.settings import AuthSettings, DeliverySettings, Environment, IssuerSettings, Settings, SigningKey
from service.transport.operations import Answer, Operations

REQUESTS, REPEATS = 1_000, 5
PAGE = 30
NAMES = (RenditionName.THUMBNAIL, RenditionName.FEED)
SECRET = "an-hs256-secret-of-thirty-two-bytes-or-more"
QUERY = "query Feed($first: Int!) { feed(purpose: COMMUNITY, first: $first) { nodes { id title renditions { url } } } }"
CODINGS: dict[str, Callable[[int], Callable[[bytes], bytes]]] = {
    "zstd": lambda level: zstandard.ZstdCompressor(level=level).compress,
    "br": lambda level: lambda body: brotli.compress(body, quality=level),
    "gzip": lambda level: lambda body: gzip.compress(body, level),
}
LEVELS = {"zstd": (-1, 1, 3, 6, 12), "br": (0, 1, 2, 4, 6), "gzip": (1, 4, 6, 9)}


def delivery_settings() -> DeliverySettings:
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    key = SigningKey(key_pair_id="K2JCJMDEHXQW5F", private_key=SecretStr(pem.decode()))
    return DeliverySettings(base_url="https://d111111abcdef8.cloudfront.net", public_key=key)


def page(*, together: bool) -> dict[str, Any]:
    """An answer of PAGE media with two addresses each: canned, or sharing a signature for each media."""
    delivery, dice = Delivery(delivery_settings()), random.Random(7)
    nodes = []
    for number in range(PAGE):
        media_id = UUID(int=(0x0193F2 << 104) | dice.getrandbits(104))
        media: Any = {"_id": media_id, "purpose": "COMMUNITY", "visibility": "PUBLIC"}
        stored: list[Any] = [
            {
                "name": name,
                "key": rendition_key(MediaPurpose.COMMUNITY, Visibility.PUBLIC, name, media_id, 1, MediaFormat.WEBP),
            }
            for name in NAMES
        ]
        signed = [delivery.sign(media, each, together=together) for each in stored]
        nodes.append(
            {
                "id": str(media_id),
                "title": f"Photo {number}",
                "width": 4000,
                "height": 3000,
                "thumbhash": base64.b64encode(dice.randbytes(24)).decode(),
                "renditions": [
                    {"name": name, "format": "WEBP", "url": url.url} for name, url in zip(NAMES, signed, strict=True)
                ],
            }
        )
    return {"feed": {"nodes": nodes, "pageInfo": {"hasNextPage": True, "endCursor": nodes[-1]["id"]}}}


async def around(headers: list[tuple[bytes, bytes]]) -> float:
    """Microseconds of CPU time for each request, the best of REPEATS rounds."""
    issuer = IssuerSettings(issuer="https://app", audience="media", algorithm="HS256", key=SecretStr(SECRET))
    auth = AuthSettings(issuers=(issuer,))
    app = create_app(Settings(environment=Environment.DEVELOPMENT, auth=auth, delivery=delivery_settings()))
    # Nothing of it is used: the operation answers with what it has.
    app.state = Mock()
    body = json.dumps({"query": QUERY, "variables": {"first": PAGE}}).encode()
    scope = {
        "type": "http", "http_version": "1.1", "method": "POST", "scheme": "https", "path": "/graphql",
        "raw_path": b"/graphql", "root_path": "", "query_string": b"", "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 443), "asgi": {"version": "3.0"},
        "headers": [
            (b"host", b"api.example.com"), (b"user-agent", b"benchmark"), (b"content-type", b"application/json"),
            (b"accept", b"application/graphql-response+json,application/json;q=0.9"), (b"accept-language", b"en"),
            (b"content-length", str(len(body)).encode()), *headers,
        ],
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start" and message["status"] != 200:
            raise RuntimeError(message)

    async def round_of_requests() -> float:
        started = time.process_time()
        for _ in range(REQUESTS):
            await app(dict(scope), receive, send)
        return (time.process_time() - started) / REQUESTS * 1e6

    return min([await round_of_requests() for _ in range(REPEATS)])


def print_around() -> None:
    answer = Answer({"data": page(together=False)}, ran=True)

    async def run(_operations: Operations, _operation: object, _context: object) -> Answer:
        return answer

    Operations.run = run  # type: ignore[method-assign, assignment]
    now = int(time.time())
    claims = {"iss": "https://app", "aud": "media", "sub": "anna", "iat": now, "exp": now + 3600}
    token = (b"authorization", f"Bearer {jwt.encode(claims, SECRET)}".encode())
    rows = {"anonymous": [], "with a token": [token], "with zstd": [(b"accept-encoding", b"gzip, br, zstd")]}
    for name, headers in rows.items():
        with redirect_stdout(io.StringIO()):
            configure_logging("INFO")
            cost = asyncio.run(around(headers))
        print(f"around one operation, {name:14} {cost:8.0f} us CPU")


def cpu_of(encode: Callable[[bytes], bytes], body: bytes) -> float:
    rounds = []
    for _ in range(REPEATS):
        started = time.process_time()
        for _ in range(100):
            encode(body)
        rounds.append((time.process_time() - started) / 100 * 1e6)
    return min(rounds)


def print_codings() -> None:
    for name, together in (("60 canned URLs", False), ("30 shared signatures", True)):
        body = orjson.dumps({"data": page(together=together)})
        print(f"{PAGE} media, {name}: {len(body):,} bytes")
        for coding, levels in LEVELS.items():
            for level in levels:
                encode = CODINGS[coding](level)
                print(f"  {coding:5} {level:3} {len(encode(body)):8,} bytes {cpu_of(encode, body):8.0f} us CPU")


if __name__ == "__main__":
    print_around()
    print_codings()
