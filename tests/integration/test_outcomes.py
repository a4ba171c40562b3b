"""What becomes of files that are not what they seem: a clear failure for the owner, and a worker that goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from schema.global_id import decode_id
from tests import hostile
from tests.integration.conftest import RunningService
from tests.photos import small_photo

QUERY = """query M($id: ID!) {
  media(id: $id) { status failure { code message retryable } renditions { url } original { url } }
}"""


@pytest.mark.parametrize(
    ("make", "purpose", "status", "code"),
    [
        (hostile.text, "COMMUNITY", "FAILED", "TYPE_MISMATCH"),
        (hostile.page, "COMMUNITY", "FAILED", "TYPE_MISMATCH"),
        (hostile.truncated_jpeg, "COMMUNITY", "FAILED", "CORRUPT_FILE"),
        (hostile.headless_jpeg, "COMMUNITY", "FAILED", "CORRUPT_FILE"),
        (hostile.many_scans, "COMMUNITY", "QUARANTINED", "DECODE_LIMIT_EXCEEDED"),
        (lambda: hostile.jpeg_claiming(65_535, 65_535), "COMMUNITY", "QUARANTINED", "TOO_MANY_PIXELS"),
    ],
)
async def test_bad_file_ends_with_a_clear_failure(
    service: RunningService, make: Callable[[], bytes], purpose: str, status: str, code: str
) -> None:
    anna = service.client(uuid4().hex)
    async with service.working():
        media_id = await anna.send(make(), purpose=purpose)
        assert await anna.wait(media_id) == {media_id: status}
        media = (await anna.run(QUERY, id=media_id))["media"]
        assert media["failure"]["code"] == code
        assert media["failure"]["retryable"] is False
        assert len(media["failure"]["message"]) > 20
        # Never a URL for anyone.
        assert media["renditions"] == []
        assert media["original"] is None
        assert (await service.client("bert").run(QUERY, id=media_id))["media"] is None
        # The worker is unharmed.
        good = await anna.send(small_photo(1))
        assert await anna.wait(good) == {good: "READY"}


async def test_bomb_declared_as_png_harms_nothing(service: RunningService) -> None:
    anna, bomb = service.client(uuid4().hex), hostile.png_bomb()
    async with service.working():
        payload = await anna.create(bomb, details={"contentType": "image/png"})
        upload = payload["outcomes"][0]["upload"]
        assert (await anna.put(upload, bomb)).status_code == 200
        await anna.complete(upload["id"])
        media_id = upload["media"]["id"]
        assert await anna.wait(media_id) == {media_id: "QUARANTINED"}


async def test_bytes_that_change_under_the_worker_fail(service: RunningService) -> None:
    # A store that ignores If-None-Match would let a second PUT in; the worker hashes what it decodes.
    anna = service.client(uuid4().hex)
    media_id = await anna.send(small_photo(1))
    parts = decode_id(media_id)
    assert parts is not None
    other: Any = small_photo(2)
    document = await service.runtime.database.media.find_one({"_id": parts[1]})
    client = service.runtime.object_store._client
    await asyncio.to_thread(
        lambda: client.put_object(Bucket=document["original"]["bucket"], Key=document["original"]["key"], Body=other)
    )
    async with service.working():
        assert await anna.wait(media_id) == {media_id: "FAILED"}
    assert (await anna.run(QUERY, id=media_id))["media"]["failure"]["code"] == "CHECKSUM_MISMATCH"


async def test_original_that_vanished_fails(service: RunningService) -> None:
    anna = service.client(uuid4().hex)
    media_id = await anna.send(small_photo(3))
    parts = decode_id(media_id)
    assert parts is not None
    document = await service.runtime.database.media.find_one({"_id": parts[1]})
    await service.runtime.object_store.delete(document["original"]["bucket"], [document["original"]["key"]])
    async with service.working():
        assert await anna.wait(media_id) == {media_id: "FAILED"}
    assert (await anna.run(QUERY, id=media_id))["media"]["failure"]["code"] == "ORIGINAL_MISSING"


async def test_the_largest_file_of_a_purpose_passes_and_one_more_byte_does_not(service: RunningService) -> None:
    anna = service.client(uuid4().hex)
    photo = small_photo(4)
    # Bytes after the end of a JPEG are ignored by decoders and dropped with the original's other baggage.
    largest = photo + bytes(10_000_000 - len(photo))
    async with service.working():
        media_id = await anna.send(largest, purpose="PROFILE")
        assert await anna.wait(media_id) == {media_id: "READY"}
    payload = await anna.create(largest + b"\0", purpose="PROFILE")
    assert payload["outcomes"][0]["userErrors"][0]["code"] == "TOO_LARGE"
