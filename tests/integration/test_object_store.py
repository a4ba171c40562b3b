"""The object store against both S3 servers."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import httpx
import pytest

from service.buckets import declare_buckets
from service.errors import NotFound, TemporarilyUnavailable, TooLarge
from service.object_store import ObjectStore
from service.presigning import PresignedRequest
from service.settings import StorageSettings
from tests.servers import ORIGIN, StorageServer

PHOTO = b"\xff\xd8\xff\xe0 not quite a photo " * 500
SHA256 = hashlib.sha256(PHOTO).hexdigest()


def presigned(store: ObjectStore, key: str) -> PresignedRequest:
    return store.presign_put(key=key, content_type="image/jpeg", byte_size=len(PHOTO), sha256=SHA256, expires_s=60)


async def put_rendition(store: ObjectStore, key: str) -> None:
    await store.put(
        store.media_bucket,
        key,
        PHOTO,
        content_type="image/webp",
        cache_control="public, max-age=60",
        metadata={"cache-tag": "m1"},
        sha256=SHA256,
    )


async def test_a_client_puts_what_was_presigned_and_storage_knows_its_checksum(object_store: ObjectStore) -> None:
    request = presigned(object_store, "community/raw/one.jpg")
    async with httpx.AsyncClient() as client:
        response = await client.put(request.url, headers=request.headers, content=PHOTO)
    assert response.status_code == 200, response.text
    stored = await object_store.head(object_store.upload_bucket, "community/raw/one.jpg")
    assert stored is not None
    assert (stored.bytes, stored.content_type, stored.sha256) == (len(PHOTO), "image/jpeg", SHA256)


async def test_an_object_comes_back_with_everything_it_was_put_with(object_store: ObjectStore) -> None:
    await put_rendition(object_store, "community/processed/feed/one/1.webp")
    found = await object_store.get(object_store.media_bucket, "community/processed/feed/one/1.webp")
    assert found is not None
    assert found.body == PHOTO
    assert (found.content_type, found.cache_control) == ("image/webp", "public, max-age=60")
    assert found.metadata == {"cache-tag": "m1"}


async def test_a_download_is_hashed_and_bounded(object_store: ObjectStore, tmp_path: Path) -> None:
    await put_rendition(object_store, "d/one")
    target = tmp_path / "one"
    bucket = object_store.media_bucket
    assert await object_store.download(bucket, "d/one", target, max_bytes=len(PHOTO)) == SHA256
    assert target.read_bytes() == PHOTO
    with pytest.raises(TooLarge):
        await object_store.download(bucket, "d/one", tmp_path / "two", max_bytes=len(PHOTO) - 1)
    assert (tmp_path / "two").stat().st_size < len(PHOTO)
    with pytest.raises(NotFound):
        await object_store.download(bucket, "d/absent", tmp_path / "three", max_bytes=1)


async def test_absent_objects_are_none(object_store: ObjectStore) -> None:
    assert await object_store.head(object_store.upload_bucket, "absent") is None
    assert await object_store.get(object_store.media_bucket, "absent") is None


async def test_a_body_that_does_not_match_its_checksum_is_refused(object_store: ObjectStore) -> None:
    with pytest.raises(TemporarilyUnavailable):
        await object_store.put(
            object_store.media_bucket,
            "damaged",
            PHOTO,
            content_type="image/webp",
            cache_control="private",
            metadata={},
            sha256="00" * 32,
        )
    assert await object_store.head(object_store.media_bucket, "damaged") is None


async def test_delete_removes_what_is_listed_and_forgives_what_is_not_there(object_store: ObjectStore) -> None:
    keys = [f"listed/{number}" for number in range(3)]
    for key in keys:
        await put_rendition(object_store, key)
    bucket = object_store.media_bucket
    assert [(stored.key, stored.bytes) async for stored in object_store.list_objects(bucket, "listed/")] == [
        (key, len(PHOTO)) for key in keys
    ]
    for _ in range(2):
        await object_store.delete(bucket, [*keys[:2], "listed/never"])
        assert [stored.key async for stored in object_store.list_objects(bucket, "listed/")] == keys[2:]


async def test_a_listing_goes_on_beyond_one_page(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.object_store.LIST_PAGE", 2)
    for number in range(5):
        await put_rendition(object_store, f"paged/{number}")
    found = [stored.key async for stored in object_store.list_objects(object_store.media_bucket, "paged/")]
    assert found == [f"paged/{number}" for number in range(5)]


async def test_cors_lets_exactly_the_configured_origin_put(object_store: ObjectStore) -> None:
    url = presigned(object_store, "cors").url
    asked = {
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "content-type,if-none-match,x-amz-checksum-sha256",
    }
    async with httpx.AsyncClient() as client:
        ours = await client.options(url, headers={"Origin": ORIGIN, **asked})
        other = await client.options(url, headers={"Origin": "http://elsewhere.example", **asked})
    assert ours.headers["access-control-allow-origin"] == ORIGIN
    assert "access-control-allow-origin" not in other.headers


async def test_check_is_content_with_buckets_it_has_set_up(object_store: ObjectStore) -> None:
    await object_store.ensure_buckets()
    await object_store.ping()
    assert await object_store.check() == []


async def test_check_names_the_bucket_that_is_missing_and_the_origin_that_cannot_put(
    object_store: ObjectStore, storage_server: StorageServer
) -> None:
    elsewhere = ObjectStore(storage_server.settings())
    assert [elsewhere.upload_bucket in problem for problem in await elsewhere.check()] == [True, False]
    with pytest.raises(TemporarilyUnavailable):
        await elsewhere.ping()
    await elsewhere.close()


async def test_unreachable_storage_is_temporarily_unavailable() -> None:
    store = ObjectStore(
        StorageSettings(endpoint="http://127.0.0.1:9", access_key="k", secret_key="s"),  # type: ignore[arg-type]
    )
    with pytest.raises(TemporarilyUnavailable, match="try again"):
        await store.head("uploads", "any")
    assert len(await store.check()) == 2
    await store.close()


async def test_a_quarantined_object_carries_the_tag_that_no_rule_goes_by(object_store: ObjectStore) -> None:
    bucket, key = object_store.upload_bucket, "community/raw/hostile.jpg"
    request = presigned(object_store, key)
    async with httpx.AsyncClient() as client:
        assert (await client.put(request.url, headers=request.headers, content=PHOTO)).status_code == 200
    await object_store.mark_kept(bucket, key)
    await object_store.mark_quarantined(bucket, key)
    answer = await asyncio.to_thread(object_store._client.get_object_tagging, Bucket=bucket, Key=key)
    assert answer["TagSet"] == [{"Key": "state", "Value": "quarantined"}]
    rules = [rule["Filter"] for rule in declare_buckets(StorageSettings())[0].lifecycle]
    assert {"Key": "state", "Value": "quarantined"} not in [rule.get("Tag") for rule in rules]
    with pytest.raises(NotFound):
        await object_store.mark_quarantined(bucket, "community/raw/none.jpg")
