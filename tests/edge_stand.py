"""An edge over an origin in memory, with URLs signed for it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any
from uuid import UUID, uuid4

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr
from starlette.routing import Router

from service.delivery import Delivery, load_signers
from service.dev.edge import Behavior, Edge, EdgeSettings
from service.dev.edge.freshness import Lifetimes
from service.dev.edge.management import management_routes
from service.dev.edge.origin import Answer, Failure, OriginObject, Unchanged, tags_of
from service.distribution import ORIGINAL_HEADERS, RENDITION_HEADERS
from service.models import MediaFormat, MediaPurpose, RenditionName, Visibility
from service.object_keys import original_key, rendition_key
from service.settings import DeliverySettings, SigningKey
from tests.documents import signed

BASE = "http://edge.test:8090"
NOW = 1_767_250_000.0
ID = UUID("0199a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b")
FEED, FULL, PRIVATE_FEED = (
    rendition_key(MediaPurpose.COMMUNITY, visibility, name, ID, 1, MediaFormat.WEBP)
    for visibility, name in (
        (Visibility.PUBLIC, RenditionName.FEED),
        (Visibility.PUBLIC, RenditionName.FULL),
        (Visibility.PRIVATE, RenditionName.FEED),
    )
)
ORIGINAL = original_key(MediaPurpose.COMMUNITY, ID, "image/jpeg")
PICTURE = OriginObject(
    body=bytes(range(100)),
    content_type="image/webp",
    etag="abc",
    cache_control="public, max-age=600, immutable",
    last_modified=datetime(2026, 1, 1, 12, 0, 0, 500, tzinfo=UTC),
    tags=tags_of(f"media-{ID}, owner-1"),
)


def xml(code: str, message: str) -> str:
    return f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'


@cache
def delivery_settings() -> DeliverySettings:
    def key(name: str) -> SigningKey:
        pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return SigningKey(key_pair_id=name, private_key=SecretStr(pem.decode()))

    return DeliverySettings(
        base_url=BASE, public_key=key("KPUBLIC"), private_key=key("KPRIVATE"), original_key=key("KORIGINAL")
    )


class Bucket:
    """An origin in memory that remembers what it was asked for."""

    def __init__(self) -> None:
        self.objects = {("media", FEED): PICTURE, ("media", FULL): PICTURE, ("uploads", ORIGINAL): PICTURE}
        self.objects["media", PRIVATE_FEED] = replace(PICTURE, cache_control="private, max-age=600")
        self.asked: list[tuple[str, str]] = []
        self.conditions: list[str | None] = []
        self.entered = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()
        self.reachable = True

    async def get(self, bucket: str, key: str, *, known_etag: str | None) -> Answer:
        self.asked.append((bucket, key))
        self.conditions.append(known_etag)
        self.entered.set()
        found = self.objects.get((bucket, key))
        await self.open.wait()
        if not self.reachable:
            return Failure.UNREACHABLE
        if found is None:
            return Failure.MISSING
        return Unchanged.UNCHANGED if found.etag == known_etag else found


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Stand:
    """An edge, its origin and its clock, with URLs signed for them."""

    def __init__(self, *, lifetimes: Lifetimes | None = None, **changes: float) -> None:
        signers = load_signers(delivery_settings())
        private = {"KPRIVATE": signers.private.public_key}
        settings = EdgeSettings(
            behaviors=(
                Behavior("*/raw/*", "uploads", {"KORIGINAL": signers.original.public_key}, ORIGINAL_HEADERS),
                Behavior("*/private/*", "media", private, RENDITION_HEADERS),
                Behavior(
                    "*/processed/*", "media", {"KPUBLIC": signers.public.public_key, **private}, RENDITION_HEADERS
                ),
            ),
            allowed_origins=frozenset({"https://app.example.org"}),
            lifetimes=lifetimes or Lifetimes(),
        )
        self.bucket, self.clock = Bucket(), Clock()
        self.edge = Edge(replace(settings, **changes), self.bucket, clock=self.clock)
        self.delivery = Delivery(delivery_settings(), clock=self.clock)
        self.signers = signers
        self.app = Router(management_routes(self.edge.invalidations), default=self.edge)
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url=BASE)

    def signed(self, key: str = FEED, visibility: Visibility = Visibility.PUBLIC) -> str:
        rendition = RenditionName(key.split("/")[2].upper())
        return signed(self.delivery, ID, key, rendition, visibility=visibility).url

    def forget(self, items: list[str]) -> None:
        """An invalidation of its own."""
        self.edge.invalidations.create(uuid4().hex, items)

    async def raw(self, path: str, query: str) -> tuple[int, str]:
        """Status and body for a target exactly as written: HTTP clients would tidy it up."""
        scope = {
            "type": "http",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(b"host", BASE.removeprefix("http://").encode())],
            "client": ("127.0.0.1", 1),
        }
        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self.edge(scope, None, send)  # type: ignore[arg-type]
        return sent[0]["status"], sent[1]["body"].decode()

    async def get(self, url: str | None = None, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.get(url or self.signed(), headers=named)
