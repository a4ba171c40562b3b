"""What storage itself refuses of a presigned upload, on both servers; and that nothing is stored by what it refuses.

Production S3 enforces all of it. What one of the servers misses stands in `NOT_ENFORCED`: there the test asserts
that it does, so that a change is noticed, and the other server shows the denial.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

import pytest

from service.object_store import ObjectStore
from tests.presigned_attempt import Attempt, sha256_base64
from tests.servers import StorageServer

PHOTO = b"\xff\xd8\xff\xe0" + b"the announced bytes " * 200
OTHER = b"\xff\xd8\xff\xe0" + b"some other bytes .. " * 200


def announced(store: ObjectStore, key: str, *, expires_s: int = 60, now: datetime | None = None) -> Attempt:
    request = store.presigner.put(
        key=key,
        content_type="image/jpeg",
        byte_size=len(PHOTO),
        checksum=sha256_base64(PHOTO),
        expires_s=expires_s,
        now=now,
    )
    return Attempt(request.method, request.url, request.headers, PHOTO)


def forged_signature(attempt: Attempt) -> Attempt:
    signature = dict(parse_qsl(urlsplit(attempt.url).query))["X-Amz-Signature"]
    return attempt.with_query(**{"X-Amz-Signature": ("0" if signature[0] != "0" else "1") + signature[1:]})


def other_key(attempt: Attempt) -> Attempt:
    return replace(attempt, url=attempt.url.replace("/denied/", "/elsewhere/"))


ALTERED: dict[str, Callable[[Attempt], Attempt]] = {
    "longer": lambda attempt: replace(attempt, body=PHOTO + b"more"),
    "shorter": lambda attempt: replace(attempt, body=PHOTO[:-1]),
    "empty": lambda attempt: replace(attempt, body=b""),
    "other type": lambda attempt: attempt.with_headers(**{"Content-Type": "text/html"}),
    "no type": lambda attempt: attempt.without_header("Content-Type"),
    "other bytes of the same length": lambda attempt: replace(attempt, body=OTHER),
    "other bytes with their own checksum": lambda attempt: replace(attempt, body=OTHER).with_headers(
        **{"x-amz-checksum-sha256": sha256_base64(OTHER)}
    ),
    "no checksum": lambda attempt: attempt.without_header("x-amz-checksum-sha256"),
    "no tag": lambda attempt: attempt.without_header("x-amz-tagging"),
    "another tag": lambda attempt: attempt.with_headers(**{"x-amz-tagging": "state=kept"}),
    "no if-none-match": lambda attempt: attempt.without_header("If-None-Match"),
    "forged signature": forged_signature,
    "longer life": lambda attempt: attempt.with_query(**{"X-Amz-Expires": "604800"}),
    "fewer signed headers": lambda attempt: attempt.with_query(**{"X-Amz-SignedHeaders": "host"}),
    "other key": other_key,
    "POST": lambda attempt: replace(attempt, method="POST"),
    "extra metadata": lambda attempt: attempt.with_headers(**{"x-amz-meta-cache-tag": "someone-elses"}),
    "public ACL": lambda attempt: attempt.with_headers(**{"x-amz-acl": "public-read"}),
    "copy from elsewhere": lambda attempt: attempt,
}


# What a server lets through although S3 refuses it (an unsigned `x-amz-*` header).
NOT_ENFORCED = {"ministack": {"extra metadata"}, "seaweed": set[str]()}


@pytest.fixture(scope="module")
async def foreign_object(object_store: ObjectStore) -> str:
    """An object that exists, which no upload may copy."""
    digest = hashlib.sha256(OTHER).hexdigest()
    await object_store.put(
        object_store.media_bucket,
        "private/object",
        OTHER,
        content_type="image/webp",
        cache_control="private",
        metadata={},
        sha256=digest,
    )
    return f"/{object_store.media_bucket}/private/object"


@pytest.mark.parametrize("how", ALTERED)
async def test_an_altered_upload_is_refused_and_leaves_nothing(
    object_store: ObjectStore, storage_server: StorageServer, foreign_object: str, how: str
) -> None:
    key = f"denied/{uuid4().hex}.jpg"
    attempt = ALTERED[how](announced(object_store, key))
    if how == "copy from elsewhere":
        attempt = attempt.with_headers(**{"x-amz-copy-source": foreign_object})
    response = await attempt.send()
    if how in NOT_ENFORCED[storage_server.name]:
        assert response.status_code == 200
        await object_store.delete(object_store.upload_bucket, [key])
        return
    assert response.status_code in {400, 403, 405}, response.text
    assert [stored.key async for stored in object_store.list_objects(object_store.upload_bucket, "")] == []


async def test_an_expired_url_is_refused(object_store: ObjectStore) -> None:
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    attempt = announced(object_store, "denied/late.jpg", expires_s=3_599, now=an_hour_ago)
    response = await attempt.send()
    assert response.status_code == 403
    assert "expired" in response.text
    assert await object_store.head(object_store.upload_bucket, "denied/late.jpg") is None


async def test_a_url_lives_until_it_expires(object_store: ObjectStore) -> None:
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    attempt = announced(object_store, "in-time/photo.jpg", expires_s=3_700, now=an_hour_ago)
    assert (await attempt.send()).status_code == 200


@pytest.fixture
async def stored(object_store: ObjectStore) -> AsyncIterator[Attempt]:
    """An upload that has happened; afterwards its object is as it was."""
    key = f"stored/{uuid4().hex}.jpg"
    attempt = announced(object_store, key)
    assert (await attempt.send()).status_code == 200
    before = await object_store.head(object_store.upload_bucket, key)
    yield attempt
    assert before is not None
    assert await object_store.head(object_store.upload_bucket, key) == before
    await object_store.delete(object_store.upload_bucket, [key])


async def test_an_existing_object_is_not_overwritten(stored: Attempt) -> None:
    response = await stored.send()
    assert response.status_code == 412
    assert "PreconditionFailed" in response.text


async def test_of_many_at_once_one_upload_wins(object_store: ObjectStore) -> None:
    attempt = announced(object_store, "race/photo.jpg")
    statuses = [response.status_code for response in await asyncio.gather(*(attempt.send() for _ in range(8)))]
    assert statuses.count(200) == 1
    assert set(statuses) <= {200, 409, 412}


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
async def test_an_upload_url_neither_reads_nor_deletes(stored: Attempt, method: str) -> None:
    for headers in (stored.headers, {}):
        response = await replace(stored, method=method, headers=headers, body=b"").send()
        assert response.status_code == 403
        assert PHOTO not in response.content


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_nothing_is_open_to_the_unsigned(stored: Attempt, method: str) -> None:
    bare = stored.url.partition("?")[0]
    response = await Attempt(method, bare, {}, OTHER if method == "PUT" else b"").send()
    assert response.status_code == 403
    assert PHOTO not in response.content
