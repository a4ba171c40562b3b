"""An edge over an origin in memory, with URLs signed for it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from uuid import UUID

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr

from service.delivery import Delivery, load_signers
from service.dev.edge import Behavior, Edge, EdgeSettings
from service.errors import TemporarilyUnavailable
from service.models import MediaFormat, MediaPurpose, RenditionName, Visibility
from service.object_keys import original_key, rendition_key
from service.object_store import ObjectBody
from service.settings import DeliverySettings, SigningKey

BASE = "http://edge.test:8090"
NOW = 1_767_250_000.0
ID = UUID("0199a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b")
FEED, FULL = (
    rendition_key(MediaPurpose.COMMUNITY, name, ID, 1, MediaFormat.WEBP)
    for name in (RenditionName.FEED, RenditionName.FULL)
)
ORIGINAL = original_key(MediaPurpose.COMMUNITY, ID, "image/jpeg")
PICTURE = ObjectBody(
    body=bytes(range(100)),
    content_type="image/webp",
    etag="abc",
    cache_control="public, max-age=600, immutable",
    last_modified=datetime(2026, 1, 1, 12, 0, 0, 500, tzinfo=UTC),
    metadata={"cache-tag": f"media-{ID}, owner-1"},
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
        self.asked: list[tuple[str, str]] = []
        self.entered = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()
        self.reachable = True

    async def get(self, bucket: str, key: str) -> ObjectBody | None:
        self.asked.append((bucket, key))
        self.entered.set()
        found = self.objects.get((bucket, key))
        await self.open.wait()
        if not self.reachable:
            raise TemporarilyUnavailable("down")
        return found


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Stand:
    """An edge, its origin and its clock, with URLs signed for them."""

    def __init__(self, **changes: int) -> None:
        signers = load_signers(delivery_settings())
        settings = EdgeSettings(
            behaviors=(
                Behavior("*/raw/*", "uploads", {"KORIGINAL": signers.original.public_key}),
                Behavior(
                    "*/processed/*",
                    "media",
                    {"KPUBLIC": signers.public.public_key, "KPRIVATE": signers.private.public_key},
                ),
            ),
            allowed_origins=frozenset({"https://app.example.org"}),
        )
        self.bucket, self.clock = Bucket(), Clock()
        self.edge = Edge(replace(settings, **changes), self.bucket, clock=self.clock)
        self.delivery = Delivery(delivery_settings(), clock=self.clock)
        self.signers = signers
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(self.edge), base_url=BASE)

    def signed(self, key: str = FEED, visibility: Visibility = Visibility.PUBLIC) -> str:
        return self.delivery.rendition_url(
            media_id=ID, purpose=MediaPurpose.COMMUNITY, visibility=visibility, rendition=RenditionName.FEED, key=key
        ).url

    async def get(self, url: str | None = None, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.get(url or self.signed(), headers=named)
