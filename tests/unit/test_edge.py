"""The dev edge as a client meets it: who gets in, what is cached, what comes back whole, in part or unchanged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from uuid import UUID

import httpx
import pytest
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


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    stand = Stand()
    async with stand.client:
        yield stand


async def test_a_signed_url_opens_and_the_second_time_it_comes_from_the_cache(stand: Stand) -> None:
    first = await stand.get()
    stand.clock.now += 42
    second = await stand.get()
    assert first.status_code == second.status_code == 200
    assert first.content == second.content == PICTURE.body
    assert (first.headers["x-cache"], second.headers["x-cache"]) == ("Miss from cloudfront", "Hit from cloudfront")
    assert "age" not in first.headers
    assert second.headers["age"] == "42"
    assert second.headers["content-type"] == "image/webp"
    assert second.headers["cache-control"] == "public, max-age=600, immutable"
    assert second.headers["etag"] == '"abc"'
    assert second.headers["last-modified"] == "Thu, 01 Jan 2026 12:00:00 GMT"
    assert second.headers["x-content-type-options"] == "nosniff"
    assert stand.bucket.asked == [("media", FEED)]


async def test_every_rendition_of_a_media_opens_under_their_one_signature(stand: Stand) -> None:
    urls = stand.delivery.rendition_urls(
        media_id=ID,
        purpose=MediaPurpose.COMMUNITY,
        visibility=Visibility.PRIVATE,
        renditions=[(RenditionName.FEED, FEED), (RenditionName.FULL, FULL)],
    )
    assert [(await stand.get(url.url)).status_code for url in urls] == [200, 200]
    other = urls[0].url.replace(str(ID), str(UUID(int=1)))
    assert (await stand.get(other)).text == xml("AccessDenied", "Access denied")
    assert len(stand.bucket.asked) == 2


async def test_urls_that_do_not_open_get_cloudfronts_xml_and_the_origin_is_not_asked(stand: Stand) -> None:
    url = stand.signed()
    cases = {
        url.partition("?")[0]: xml("MissingKey", "Missing Key-Pair-Id query parameter or cookie value"),
        url.replace("KPUBLIC", "KOTHER"): xml("InvalidKey", "Unknown Key"),
        url.replace("Expires=1", "Expires=2"): xml("AccessDenied", "Access denied"),
        url.replace("Signature=", "Signature=*"): xml("MalformedSignature", "Could not unencode Signature"),
        url.replace("Expires=", "Policy=@"): xml("MalformedPolicy", "Malformed Policy"),
        url.replace("/feed/", "/full/"): xml("AccessDenied", "Access denied"),
        f"{BASE}/": xml("AccessDenied", "Access denied"),
        f"{BASE}/healthz?{url.partition('?')[2]}": xml("AccessDenied", "Access denied"),
    }
    for case, body in cases.items():
        answer = await stand.get(case, origin="https://app.example.org")
        assert (answer.status_code, answer.text) == (403, body), case
        assert answer.headers["content-type"] == "text/xml"
        assert answer.headers["x-cache"] == "Error from cloudfront"
        assert "access-control-allow-origin" not in answer.headers
    assert stand.bucket.asked == []


async def test_what_is_cached_still_needs_a_signature_that_is_alive(stand: Stand) -> None:
    url = stand.signed()
    assert (await stand.get(url)).status_code == 200
    assert (await stand.get(url.partition("?")[0])).status_code == 403
    stand.clock.now += 86_400
    assert (await stand.get(url)).text == xml("AccessDenied", "Access denied")
    assert (await stand.get()).status_code == 200


async def test_each_class_of_object_opens_only_with_its_own_key(stand: Stand) -> None:
    expires = int(NOW) + 300
    signers = stand.signers
    verdicts = {
        (name, key): (await stand.get(getattr(signers, name).sign(key, expires))).status_code
        for name in ("public", "private", "original")
        for key in (FEED, ORIGINAL)
    }
    assert {pair for pair, status in verdicts.items() if status == 200} == {
        ("public", FEED),
        ("private", FEED),
        ("original", ORIGINAL),
    }
    assert sorted(set(stand.bucket.asked)) == [("media", FEED), ("uploads", ORIGINAL)]


@pytest.mark.parametrize(
    "path",
    [
        f"/community/processed/x/{ID}/../../../../uploads/{ORIGINAL}",
        f"/community/processed/x/{ID}/%2e%2e/1.webp",
        f"/community/processed/x/{ID}//1.webp",
        f"/community/processed/x/{ID}/%2F..%2F1.webp",
        f"/community/processed/x/{ID}/é.webp",
    ],
)
async def test_a_wildcard_is_no_way_out_of_the_media(stand: Stand, path: str) -> None:
    query = stand.signers.public.sign_pattern(f"community/processed/*/{ID}/*", int(NOW) + 300)
    scope = {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(b"host", b"edge.test:8090")],
        "client": ("127.0.0.1", 1),
    }
    sent: list[dict[str, object]] = []

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    await stand.edge(scope, None, send)
    assert sent[0]["status"] == 403
    assert stand.bucket.asked == []


async def test_a_missing_object_looks_denied_and_is_asked_for_again_after_a_moment(stand: Stand) -> None:
    missing = stand.bucket.objects.pop(("media", FEED))
    for _ in range(2):
        answer = await stand.get()
        assert (answer.status_code, answer.text) == (403, xml("AccessDenied", "Access Denied"))
    assert len(stand.bucket.asked) == 1
    stand.bucket.objects["media", FEED] = missing
    stand.clock.now += 11
    assert (await stand.get()).status_code == 200


async def test_an_origin_that_is_down_is_503_for_a_moment(stand: Stand) -> None:
    stand.bucket.reachable = False
    answer = await stand.get(origin="https://app.example.org")
    assert answer.status_code == 503
    assert "access-control-allow-origin" not in answer.headers
    stand.bucket.reachable = True
    stand.clock.now += 11
    assert (await stand.get()).status_code == 200


async def test_objects_stay_as_long_as_their_cache_control_says(stand: Stand) -> None:
    for directives, seconds in {
        "public, max-age=600": 600,
        "max-age=5, s-maxage=700": 700,
        "private, max-age=600": 0,
        "no-store": 0,
        "max-age=0": 0,
        "Max-Age=600, immutable": 600,
        "max-age=soon": 86_400,
        None: 86_400,
    }.items():
        stand.edge.invalidate_paths(["/*"])
        stand.bucket.asked.clear()
        stand.bucket.objects["media", FEED] = replace(PICTURE, cache_control=directives)
        for later in (0, max(0, seconds - 1), seconds):
            stand.clock.now = NOW + later
            await stand.get()
        stand.clock.now = NOW
        assert len(stand.bucket.asked) == (2 if seconds else 3), directives


async def test_a_crowd_asking_for_one_object_costs_one_fetch(stand: Stand) -> None:
    stand.bucket.open.clear()
    crowd = [asyncio.create_task(stand.get()) for _ in range(20)]
    await stand.bucket.entered.wait()
    crowd[0].cancel()
    stand.bucket.open.set()
    answers = await asyncio.gather(*crowd[1:])
    assert {answer.status_code for answer in answers} == {200}
    assert stand.bucket.asked == [("media", FEED)]


async def test_the_cache_is_bounded_and_forgets_the_least_recently_used() -> None:
    stand = Stand(cache_bytes=5_000)
    keys = [FEED, FULL, rendition_key(MediaPurpose.COMMUNITY, RenditionName.FEED, ID, 2, MediaFormat.WEBP)]
    stand.bucket.objects["media", keys[2]] = PICTURE
    for key in (keys[0], keys[1], keys[0], keys[2]):
        await stand.get(stand.signed(key))
    assert [(await stand.get(stand.signed(key))).headers["x-cache"][:4] for key in keys] == ["Hit ", "Miss", "Miss"]
    stand.bucket.objects["media", FEED] = replace(PICTURE, body=bytes(6_000))
    stand.edge.invalidate_paths(["/*"])
    assert [(await stand.get()).headers["x-cache"][:4] for _ in range(2)] == ["Miss", "Miss"]


@pytest.mark.parametrize(
    "pattern",
    [f"/{FEED}", "/community/*", "/*", "/community/processed/feed*"],
    ids=["exact", "folder", "all", "prefix"],
)
async def test_invalidated_paths_are_fetched_anew(stand: Stand, pattern: str) -> None:
    await stand.get()
    stand.edge.invalidate_paths([pattern])
    assert (await stand.get()).headers["x-cache"] == "Miss from cloudfront"


async def test_other_paths_stay_when_some_are_invalidated(stand: Stand) -> None:
    await stand.get()
    stand.edge.invalidate_paths(["/pet-tag/*", "/community", f"/{FULL}"])
    stand.edge.invalidate_tags(["owner-2"])
    assert (await stand.get()).headers["x-cache"] == "Hit from cloudfront"


async def test_a_cache_tag_forgets_all_renditions_of_a_media(stand: Stand) -> None:
    urls = [stand.signed(FEED), stand.signed(FULL)]
    for url in urls:
        await stand.get(url)
    stand.bucket.objects.clear()
    stand.edge.invalidate_tags([f"media-{ID}"])
    assert [(await stand.get(url)).status_code for url in urls] == [403, 403]


@pytest.mark.parametrize("by_tag", [False, True])
async def test_an_invalidation_during_a_fetch_keeps_the_old_bytes_out_of_the_cache(stand: Stand, by_tag: bool) -> None:
    stand.bucket.open.clear()
    slow = asyncio.create_task(stand.get())
    await stand.bucket.entered.wait()
    stand.bucket.objects.clear()
    if by_tag:
        stand.edge.invalidate_tags([f"media-{ID}"])
    else:
        stand.edge.invalidate_paths(["/community/*"])
    stand.bucket.open.set()
    assert (await slow).status_code == 200
    assert (await stand.get()).status_code == 403


async def test_a_client_that_has_the_bytes_gets_304(stand: Stand) -> None:
    for headers in (
        {"if_none_match": '"abc"'},
        {"if_none_match": '"x", W/"abc"'},
        {"if_none_match": "*"},
        {"if_modified_since": "Thu, 01 Jan 2026 12:00:00 GMT"},
    ):
        answer = await stand.get(**headers, origin="https://app.example.org")
        assert (answer.status_code, answer.content) == (304, b""), headers
        assert answer.headers["etag"] == '"abc"'
        assert answer.headers["cache-control"] == PICTURE.cache_control
        assert answer.headers["access-control-allow-origin"] == "https://app.example.org"
    for headers in (
        {"if_none_match": '"xabc"'},
        {"if_none_match": "abc"},
        {"if_none_match": '"x"', "if_modified_since": "Thu, 01 Jan 2026 12:00:00 GMT"},
        {"if_modified_since": "Thu, 01 Jan 2026 11:59:59 GMT"},
        {"if_modified_since": "yesterday"},
    ):
        assert (await stand.get(**headers)).status_code == 200, headers
    bare = stand.signed().partition("?")[0]
    assert (await stand.get(bare, if_none_match='"abc"')).status_code == 403


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-9", 0, 9),
        ("bytes=90-", 90, 99),
        ("bytes=-10", 90, 99),
        ("bytes=-1000", 0, 99),
        ("bytes=50-5000", 50, 99),
    ],
)
async def test_one_range_is_served(stand: Stand, asked: str, first: int, last: int) -> None:
    answer = await stand.get(range=asked)
    assert answer.status_code == 206
    assert answer.content == PICTURE.body[first : last + 1]
    assert answer.headers["content-range"] == f"bytes {first}-{last}/100"


@pytest.mark.parametrize(
    "asked", ["bytes=5-2", "bytes=-", "items=0-1", "bytes=0-1,5-6", "bytes=a-b", "bytes=0-1" + "0" * 99]
)
async def test_ranges_not_understood_get_everything(stand: Stand, asked: str) -> None:
    answer = await stand.get(range=asked)
    assert (answer.status_code, answer.content) == (200, PICTURE.body)


@pytest.mark.parametrize("asked", ["bytes=100-", "bytes=-0", "bytes=5000-6000"])
async def test_ranges_beyond_the_end_are_416(stand: Stand, asked: str) -> None:
    answer = await stand.get(range=asked, origin="https://app.example.org")
    assert answer.status_code == 416
    assert answer.headers["content-range"] == "bytes */100"
    assert "access-control-allow-origin" not in answer.headers


async def test_a_range_of_other_bytes_than_the_client_holds_gets_everything(stand: Stand) -> None:
    same, other = "Thu, 01 Jan 2026 12:00:00 GMT", "Thu, 01 Jan 2026 11:00:00 GMT"
    statuses = [
        (await stand.get(range="bytes=0-1", if_range=value)).status_code
        for value in ('"abc"', same, '"old"', 'W/"abc"', other)
    ]
    assert statuses == [206, 206, 200, 200, 200]


async def test_head_describes_without_sending(stand: Stand) -> None:
    answer = await stand.client.head(stand.signed(), headers={"range": "bytes=0-1"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == "100"
    assert (await stand.client.head(stand.signed().partition("?")[0])).status_code == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
async def test_nothing_but_get_and_head_is_allowed(stand: Stand, method: str) -> None:
    answer = await stand.client.request(method, stand.signed(), headers={"origin": "https://app.example.org"})
    assert answer.status_code == 403
    assert "supports only cachable requests" in answer.text
    assert "access-control-allow-origin" not in answer.headers
    assert stand.bucket.asked == []


async def test_only_configured_origins_may_read_from_scripts(stand: Stand) -> None:
    allowed = await stand.get(origin="https://app.example.org")
    assert allowed.headers["access-control-allow-origin"] == "https://app.example.org"
    for origin in ("https://evil.example.org", "null", "https://app.example.org.evil", ""):
        assert "access-control-allow-origin" not in (await stand.get(origin=origin)).headers
    assert {(await stand.get(origin=origin)).headers["vary"] for origin in ("https://app.example.org", "x")} == {
        "Origin"
    }
    assert len(stand.bucket.asked) == 1
