"""What storage itself refuses of a presigned part, on both servers; and that nothing is stored by what it refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from service.object_store import ObjectStore
from service.presigning import Part
from tests.presigned_attempt import Attempt, sha256_base64
from tests.servers import StorageServer

BODY = b"the first part of a picture " * 400
OTHER = b"the first part of another one " * 400


@dataclass
class Begun:
    """A multipart upload that was begun, and a foreign one beside it."""

    store: ObjectStore
    key: str
    storage_upload_id: str
    foreign_id: str

    def signed(self, *, number: int = 1, now: datetime | None = None) -> Attempt:
        checksum = sha256_base64(BODY)
        [request] = self.store.presigner.parts(
            key=self.key,
            storage_upload_id=self.storage_upload_id,
            parts=[Part(number, len(BODY), checksum)],
            expires_s=600,
            now=now,
        )
        return Attempt(request.method, request.url, request.headers, BODY)

    async def part_numbers(self) -> list[int]:
        parts = await self.store.multipart.list_parts(self.key, self.storage_upload_id)
        return [part.number for part in parts or ()]


@pytest.fixture
async def begun(object_store: ObjectStore) -> AsyncIterator[Begun]:
    keys = [f"denied/{uuid4().hex}.png" for _ in range(2)]
    ids = [await object_store.multipart.begin(key, "image/png", checksums=True) for key in keys]
    yield Begun(object_store, keys[0], *ids)
    for key in keys:
        await object_store.multipart.abort_all(key)


ALTERED: dict[str, Callable[[Begun, Attempt], Attempt]] = {
    "longer": lambda begun, request: replace(request, body=BODY + b"more"),
    "shorter": lambda begun, request: replace(request, body=BODY[:-1]),
    "other bytes": lambda begun, request: replace(request, body=OTHER[: len(BODY)]),
    "other checksum": lambda begun, request: replace(
        request,
        body=OTHER[: len(BODY)],
        headers={
            "x-amz-checksum-sha256": sha256_base64(OTHER[: len(BODY)]),
        },
    ),
    "no checksum": lambda begun, request: replace(request, headers={}),
    "other part number": lambda begun, request: request.with_query(partNumber="2"),
    "other upload id": lambda begun, request: request.with_query(uploadId=begun.foreign_id),
    "the whole object": lambda begun, request: replace(
        request, url=request.url.replace("partNumber=1&", "").replace(f"uploadId={begun.storage_upload_id}&", "")
    ),
    "longer life": lambda begun, request: request.with_query(**{"X-Amz-Expires": "604800"}),
    "POST": lambda begun, request: replace(request, method="POST"),
    "DELETE": lambda begun, request: replace(request, method="DELETE", body=b""),
}


@pytest.mark.parametrize("how", ALTERED)
async def test_an_altered_part_is_refused_and_leaves_nothing(begun: Begun, how: str) -> None:
    response = await ALTERED[how](begun, begun.signed()).send()
    assert response.status_code in {400, 403, 404, 405}, response.text
    assert await begun.part_numbers() == []
    assert await begun.store.head(begun.store.upload_bucket, begun.key) is None


async def test_a_part_is_taken_as_it_was_signed(begun: Begun) -> None:
    assert (await begun.signed().send()).status_code == 200
    assert await begun.part_numbers() == [1]


async def test_an_expired_part_is_refused(begun: Begun) -> None:
    late = begun.signed(now=datetime.now(UTC) - timedelta(hours=1))
    response = await late.send()
    assert response.status_code == 403
    assert "expired" in response.text
    assert await begun.part_numbers() == []


async def test_parts_of_an_aborted_upload_are_refused(begun: Begun) -> None:
    await begun.store.multipart.abort(begun.key, begun.storage_upload_id)
    assert (await begun.signed().send()).status_code == 404
    assert await begun.store.multipart.list_parts(begun.key, begun.storage_upload_id) is None


@pytest.mark.parametrize("signed_for", ["GET", "POST", "DELETE"])
async def test_a_call_on_the_upload_is_good_for_nothing_else(
    begun: Begun, storage_server: StorageServer, signed_for: str
) -> None:
    assert (await begun.signed().send()).status_code == 200
    request = begun.store.presigner.on_multipart(
        signed_for, key=begun.key, storage_upload_id=begun.storage_upload_id, expires_s=60
    )
    for method in {"GET", "POST", "DELETE", "PUT"} - {signed_for}:
        response = await Attempt(method, request.url, {}, OTHER if method == "PUT" else b"").send()
        assert response.status_code in {400, 403, 405}, (storage_server.name, method, response.text)
    foreign = Attempt(signed_for, request.url, {}, b"").with_query(uploadId=begun.foreign_id)
    assert (await foreign.send()).status_code == 403
    assert await begun.part_numbers() == [1]


async def test_completing_does_not_overwrite_an_object(begun: Begun) -> None:
    store, bucket = begun.store, begun.store.upload_bucket
    second = await store.multipart.begin(begun.key, "image/png", checksums=False)
    assert (await begun.signed().send()).status_code == 200
    other = store.presigner.parts(key=begun.key, storage_upload_id=second, parts=[Part(1, len(OTHER))], expires_s=60)[0]
    sent = await Attempt(other.method, other.url, other.headers, OTHER).send()
    assert sent.status_code == 200
    [part] = await store.multipart.list_parts(begun.key, begun.storage_upload_id) or []
    checksum = sha256_base64(BODY)
    assert await store.multipart.complete(begun.key, begun.storage_upload_id, [replace(part, checksum=checksum)])
    before = await store.head(bucket, begun.key)
    assert before is not None
    [late] = await store.multipart.list_parts(begun.key, second) or []
    assert await store.multipart.complete(begun.key, second, [late]) is False
    presigned = store.presigner.on_multipart("POST", key=begun.key, storage_upload_id=second, expires_s=60)
    listed = f"<Part><PartNumber>1</PartNumber><ETag>{late.etag}</ETag></Part>"
    xml = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
    assert (await Attempt("POST", presigned.url, presigned.headers, xml).send()).status_code == 412
    assert (await Attempt("POST", presigned.url, {}, xml).send()).status_code == 403
    assert await store.head(bucket, begun.key) == before
    await store.delete(bucket, [begun.key])
