"""The edge as its own HTTP server over a real S3 server: signed URLs open there, and raw requests do not slip past."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID, uuid4

import httpx
import pytest
import uvicorn

from service.commands.serving import EDGE_OPTIONS
from service.delivery import Delivery, cache_control
from service.dev.edge import edge_from_settings
from service.dev.edge.origin import Failure, OriginObject, StorageOrigin, Unchanged
from service.dev.environment import dev_delivery
from service.dev.keys import DevKeys
from service.models import MediaFormat, MediaPurpose, RenditionName, Visibility
from service.object_keys import original_key, rendition_key
from service.object_store import ObjectStore
from service.settings import Settings
from tests.documents import signed
from tests.servers import ORIGIN

PURPOSE = MediaPurpose.COMMUNITY
PICTURE, SECRET = b"RIFF a picture of a dog" * 50, b"the original, with its GPS position"


@dataclass(frozen=True)
class Served:
    """A media in storage, and who signs for it."""

    media_id: UUID
    feed: str
    original: str
    delivery: Delivery
    base_url: str

    def url(self) -> str:
        return signed(self.delivery, self.media_id, self.feed, purpose=PURPOSE).url


async def put(
    store: ObjectStore, bucket: str, key: str, body: bytes, content_type: str, metadata: dict[str, str] | None = None
) -> None:
    await store.put(
        bucket,
        key,
        body,
        content_type=content_type,
        cache_control=cache_control(PURPOSE, RenditionName.FEED, Visibility.PUBLIC),
        metadata=metadata or {},
        sha256=hashlib.sha256(body).hexdigest(),
    )


@pytest.fixture(scope="module")
async def served(settings: Settings, dev_keys: DevKeys) -> AsyncIterator[Served]:
    listening = socket.create_server(("127.0.0.1", 0))
    base_url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    settings = settings.model_copy(update={"delivery": dev_delivery(dev_keys, base_url)})
    media_id = uuid4()
    feed = rendition_key(PURPOSE, Visibility.PUBLIC, RenditionName.FEED, media_id, 1, MediaFormat.WEBP)
    original = original_key(PURPOSE, media_id, "image/jpeg")
    store = ObjectStore(settings.storage)
    await put(store, store.media_bucket, feed, PICTURE, "image/webp")
    await put(store, store.upload_bucket, original, SECRET, "image/jpeg")
    await store.close()
    config = uvicorn.Config(edge_from_settings(settings), lifespan="on", **EDGE_OPTIONS)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    yield Served(media_id, feed, original, Delivery(settings.delivery), base_url)
    server.should_exit = True
    await serving


async def exchange(served: Served, target: str, host: str | None = None, more: str = "") -> tuple[int, bytes]:
    """One request with its target exactly as written, and `more` headers: HTTP clients would tidy it up."""
    address = served.base_url.removeprefix("http://")
    reader, writer = await asyncio.open_connection(*address.split(":"))
    writer.write(f"GET {target} HTTP/1.1\r\nHost: {host or address}\r\n{more}Connection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


async def test_a_rendition_opens_and_is_cached(served: Served) -> None:
    async with httpx.AsyncClient(headers={"Origin": ORIGIN}) as client:
        first, second = [await client.get(served.url()) for _ in range(2)]
    assert (first.status_code, first.content) == (200, PICTURE)
    assert [answer.headers["x-cache"].split()[0] for answer in (first, second)] == ["Miss", "Hit"]
    assert second.headers["content-type"] == "image/webp"
    assert second.headers["cache-control"] == "public, max-age=604800, immutable"
    assert second.headers["access-control-allow-origin"] == ORIGIN


async def test_an_original_opens_with_its_own_signature_only(served: Served) -> None:
    signed = served.delivery.original_url(key=served.original).url
    async with httpx.AsyncClient() as client:
        assert (await client.get(signed)).content == SECRET
        borrowed = f"{served.base_url}/{served.original}?{served.url().partition('?')[2]}"
        refused = await client.get(borrowed)
    assert (refused.status_code, b"<Code>InvalidKey</Code>" in refused.content) == (403, True)


async def test_raw_requests_reach_nothing_that_was_not_signed(served: Served) -> None:
    shared = signed(served.delivery, served.media_id, served.feed, purpose=PURPOSE, together=True)
    query = shared.url.partition("?")[2]
    folder = f"/{PURPOSE.slug}/processed/x/{served.media_id}"
    assert await exchange(served, f"/{served.feed}?{query}") == (200, PICTURE)
    for target in (
        f"{folder}/../../../../{served.original}?{query}",
        f"{folder}/../../feed/{served.media_id}/1.webp?{query}",
        f"{folder}/%2e%2e/%2e%2e/feed/{served.media_id}/1.webp?{query}",
        f"//{served.feed}?{query}",
        f"/{served.feed}#?{query}",
        f"/{served.original}?{query}",
    ):
        status, body = await exchange(served, target)
        assert status in {400, 403}, target
        assert SECRET not in body, target
        assert PICTURE not in body, target


async def test_a_host_header_cannot_lend_a_signature_to_another_path(served: Served) -> None:
    path, _, query = served.url().removeprefix(served.base_url).partition("?")
    host = served.base_url.removeprefix("http://")
    for forged in (f"{host}{path}?{query}#", f"{host}{path}", "other.example.org"):
        status, body = await exchange(served, f"/{served.feed}?{query}", forged)
        assert (status, PICTURE in body) == (403, False), forged


async def test_what_others_would_read_in_another_way_does_not_open(served: Served) -> None:
    address = served.url()
    target, host = address.removeprefix(served.base_url), served.base_url.removeprefix("http://")
    assert await exchange(served, target) == (200, PICTURE)
    for odd, more in (
        (f"{target}#x", ""),
        (address, ""),
        (f"http://other.example.org{target}", ""),
        (f"http://someone@{host}{target}", ""),
        (target, f"Host: {host}\r\n"),
        (target, "Host: other.example.org\r\n"),
        (target.removeprefix("/"), ""),
        ("*", ""),
    ):
        status, body = await exchange(served, odd, more=more)
        assert status in {400, 403}, (odd, more)
        assert PICTURE not in body


async def test_storage_is_asked_only_for_what_changed(settings: Settings) -> None:
    store, origin = ObjectStore(settings.storage), StorageOrigin(settings.storage)
    bucket, key = (
        store.media_bucket,
        rendition_key(PURPOSE, Visibility.PUBLIC, RenditionName.FEED, uuid4(), 1, MediaFormat.WEBP),
    )
    assert await origin.get(bucket, key, known_etag=None) is Failure.MISSING
    await put(store, bucket, key, PICTURE, "image/webp", {"cache-tag": "One, two"})
    found = await origin.get(bucket, key, known_etag=None)
    assert isinstance(found, OriginObject)
    assert (found.body, found.content_type, found.tags) == (PICTURE, "image/webp", {"one", "two"})
    assert await origin.get(bucket, key, known_etag=found.etag) is Unchanged.UNCHANGED
    await put(store, bucket, key, b"RIFF another", "image/webp")
    changed = await origin.get(bucket, key, known_etag=found.etag)
    assert isinstance(changed, OriginObject)
    assert changed.body == b"RIFF another"
    await store.delete(bucket, [key])
    assert await origin.get(bucket, key, known_etag=changed.etag) is Failure.MISSING
    await store.close()
    await origin.close()


async def test_an_origin_that_is_not_there_is_unreachable(settings: Settings) -> None:
    nowhere = settings.storage.model_copy(update={"endpoint": "http://127.0.0.1:1"})
    origin = StorageOrigin(nowhere)
    assert await origin.get("media", "a/processed/b", known_etag=None) is Failure.UNREACHABLE
    await origin.close()
