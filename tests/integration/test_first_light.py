"""The whole path, once: a phone photo goes up, the feed shows it, and a deletion takes it away."""

from __future__ import annotations

import io
import time
from typing import Any

import httpx
import pytest
from PIL import Image

from schema.global_id import decode_id
from service.delivery import Delivery
from tests.documents import signed
from tests.integration.conftest import RunningService
from tests.photos import phone_photo

FEED = """
query Feed($purpose: MediaPurpose!, $hint: DisplayHint) {
  feed(purpose: $purpose, first: 5, hint: $hint) {
    nodes {
      id status width height thumbhash dominantColor perceptualHash srcset(accept: [WEBP])
      display { name format width height byteSize url urlExpiresAt cacheKey }
      renditions { name format width height byteSize url cacheKey }
    }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
}
"""


@pytest.fixture(scope="module")
async def ready(service: RunningService) -> str:
    """The id of a READY 12-megapixel photo that was taken upside down and knew where."""
    anna = service.client("anna")
    async with service.working():
        media_id = await anna.send(phone_photo(orientation=6, gps=True), details={"title": "Miso in the garden"})
        assert await anna.wait(media_id) == {media_id: "READY"}
        await anna.wait_for_all_renditions(media_id)
    return media_id


async def feed_of(service: RunningService, subject: str | None = "bert", **hint: Any) -> list[dict[str, Any]]:
    data = await service.client(subject).run(FEED, purpose="COMMUNITY", hint=hint or None)
    nodes: list[dict[str, Any]] = data["feed"]["nodes"]
    return nodes


async def test_feed_opens_upright_and_bare(service: RunningService, ready: str, http: httpx.AsyncClient) -> None:
    [media] = await feed_of(service)
    assert media["id"] == ready
    # Stored lying on its side, shown standing up.
    assert (media["width"], media["height"]) == (3024, 4032)
    assert {(r["name"], r["format"], r["width"], r["height"]) for r in media["renditions"]} == {
        (name, media_format, *size)
        for name, size in {"THUMBNAIL": (200, 200), "FEED": (540, 720), "FULL": (810, 1080)}.items()
        for media_format in ("JPEG", "WEBP", "AVIF")
    }
    for rendition in media["renditions"]:
        answer = await http.get(rendition["url"])
        assert answer.status_code == 200
        assert len(answer.content) == rendition["byteSize"]
        picture = Image.open(io.BytesIO(answer.content))
        assert picture.size == (rendition["width"], rendition["height"])
        assert picture.format == rendition["format"]
        assert not picture.getexif()
        assert not {"exif", "xmp", "comment", "photoshop", "icc_profile"} & picture.info.keys()


async def test_changed_or_unsigned_url_is_refused_in_xml(
    service: RunningService, ready: str, http: httpx.AsyncClient
) -> None:
    [media] = await feed_of(service)
    url = media["display"]["url"]
    changed = url[:-40] + ("A" if url[-40] != "A" else "B") + url[-39:]
    for refused in (changed, url.split("?")[0]):
        answer = await http.get(refused)
        assert answer.status_code == 403
        assert answer.headers["content-type"] == "text/xml"
        assert "<Code>" in answer.text


async def test_expired_url_is_refused(service: RunningService, ready: str, http: httpx.AsyncClient) -> None:
    [media] = await feed_of(service)
    parts = decode_id(ready)
    assert parts is not None
    yesterday = Delivery(service.settings.delivery, clock=lambda: time.time() - 2 * 86_400)
    expired = signed(yesterday, parts[1], media["display"]["cacheKey"])
    answer = await http.get(expired.url)
    assert answer.status_code == 403
    assert "<Code>AccessDenied</Code>" in answer.text


async def test_urls_stay_the_same_between_polls(service: RunningService, ready: str) -> None:
    first, second = await feed_of(service), await feed_of(service, "carl")
    assert first == second


async def test_display_fits_the_slot(service: RunningService, ready: str) -> None:
    async def shown(**hint: Any) -> tuple[str, str]:
        [media] = await feed_of(service, **hint)
        return media["display"]["name"], media["display"]["format"]

    assert await shown(width=100) == ("THUMBNAIL", "JPEG")
    assert (await shown(width=360, devicePixelRatio=1.5))[0] == "FEED"
    assert (await shown(width=400, devicePixelRatio=2))[0] == "FULL"
    assert (await shown(width=400, devicePixelRatio=2, network="TWO_G"))[0] == "FEED"
    [media] = await feed_of(service, width=360, accept=["WEBP"])
    smallest = min(r["byteSize"] for r in media["renditions"] if r["name"] == "FEED")
    assert media["display"]["byteSize"] == smallest


async def test_original_is_for_its_owner(service: RunningService, ready: str, http: httpx.AsyncClient) -> None:
    query = "query M($id: ID!) { media(id: $id) { original { url } sha256 } }"
    owned = (await service.client("anna").run(query, id=ready))["media"]
    assert (await http.get(owned["original"]["url"])).content == phone_photo(orientation=6, gps=True)
    for other in ("bert", None):
        assert (await service.client(other).run(query, id=ready))["media"] == {"original": None, "sha256": None}


async def test_deletion_hides_at_once_and_removes_everything(
    service: RunningService, http: httpx.AsyncClient, no_deletion_window: None
) -> None:
    anna = service.client("anna")
    async with service.working():
        media_id = await anna.send(phone_photo(640, 480), purpose="PROFILE")
        await anna.wait(media_id)
        await anna.wait_for_all_renditions(media_id)
    parts = decode_id(media_id)
    assert parts is not None
    document = await service.runtime.database.media.find_one({"_id": parts[1]})
    keys = [(service.runtime.object_store.media_bucket, r["key"]) for r in document["renditions"]]
    keys.append((document["original"]["bucket"], document["original"]["key"]))
    for bucket, key in keys:
        assert await service.runtime.object_store.head(bucket, key) is not None

    payload = await anna.delete(media_id)

    assert [deletion["stage"] for deletion in payload["deletions"]] == ["HIDDEN"]
    look = """query L($id: ID!) {
      media(id: $id) { id }
      node(id: $id) { id }
      nodes(ids: [$id]) { id }
      feed(purpose: PROFILE) { nodes { id } }
      mediaList { nodes { id } }
    }"""
    seen = await anna.run(look, id=media_id)
    assert seen["media"] is None
    assert seen["node"] is None
    assert seen["nodes"] == [None]
    assert seen["feed"]["nodes"] == []
    assert media_id not in [node["id"] for node in seen["mediaList"]["nodes"]]
    async with service.working():
        progress = "query P($id: ID!) { deletion(id: $id) { stage objectsTotal objectsRemoved cdnInvalidatedAt } }"
        while True:
            deletion = (await anna.run(progress, id=payload["deletions"][0]["id"]))["deletion"]
            if deletion["stage"] == "CDN_INVALIDATED":
                break
    assert deletion.pop("cdnInvalidatedAt") is not None
    assert deletion == {"stage": "CDN_INVALIDATED", "objectsTotal": len(keys), "objectsRemoved": len(keys)}
    for bucket, key in keys:
        assert await service.runtime.object_store.head(bucket, key) is None
