"""signStorageRequest: one request at a time, for upload libraries that speak S3, and never more than one session's."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.api_client import ApiClient
from tests.integration.conftest import RunningService
from tests.integration.test_multipart import Session, open_session
from tests.photos import large_png, small_photo

SIGN = """
mutation Sign($input: SignStorageRequestInput!) {
  signStorageRequest(input: $input) {
    target { method url headers { name value } }
    userErrors { code message field }
  }
}
"""


async def sign(client: ApiClient, upload_id: str, method: str, key: str, **more: Any) -> dict[str, Any]:
    given = {"uploadId": upload_id, "method": method, "key": key, **more}
    payload: dict[str, Any] = (await client.run(SIGN, input=given))["signStorageRequest"]
    assert (payload["target"] is None) == bool(payload["userErrors"])
    return payload


async def make(payload: dict[str, Any], body: bytes = b"") -> httpx.Response:
    target = payload["target"]
    headers = {header["name"]: header["value"] for header in target["headers"]}
    async with httpx.AsyncClient(timeout=30) as http:
        return await http.request(target["method"], target["url"], headers=headers, content=body)


def code(payload: dict[str, Any]) -> str:
    found: str = payload["userErrors"][0]["code"]
    return found


async def begin(client: ApiClient, session: Session) -> str:
    """Begin the multipart upload at storage, as an upload library does; its id."""
    answer = await make(await sign(client, session.id, "POST", session.key, contentType="image/png"))
    assert answer.status_code == 200, answer.text
    found = re.search("<UploadId>([^<]+)</UploadId>", answer.text)
    assert found is not None
    return found[1]


@pytest.fixture
async def session(service: RunningService) -> Session:
    return await open_session(service.client(uuid4().hex), large_png(18_000_000))


async def test_a_library_sends_in_parts_and_completes_by_itself(service: RunningService, session: Session) -> None:
    client, key = session.client, session.key
    storage_id = await begin(client, session)
    etags = {}
    for number in (2, 1, 3):
        payload = await sign(client, session.id, "PUT", key, storageUploadId=storage_id, partNumber=number)
        etags[number] = (await make(payload, session.part(number))).headers["etag"]
    listed = await make(await sign(client, session.id, "GET", key, storageUploadId=storage_id))
    assert listed.text.count("<PartNumber>") == 3
    assert [part["number"] for part in (await session.look())["parts"]] == [1, 2, 3]
    parts = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{etags[n]}</ETag></Part>" for n in (1, 2, 3))
    xml = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
    done = await make(await sign(client, session.id, "POST", key, storageUploadId=storage_id), xml)
    assert done.status_code == 200, done.text
    async with service.working():
        assert (await session.complete())["userErrors"] == []
        assert await client.wait(session.media_id) == {session.media_id: "READY"}


async def test_a_library_sends_in_one_piece(service: RunningService) -> None:
    client, photo = service.client(uuid4().hex), small_photo(31)
    look = "query Key($id: ID!) { upload(id: $id) { objectKey } }"
    [outcome] = (await client.create(photo))["outcomes"]
    upload_id = outcome["upload"]["id"]
    key = (await client.run(look, id=upload_id))["upload"]["objectKey"]
    payload = await sign(client, upload_id, "PUT", key, contentType="image/jpeg")
    assert (await make(payload, photo)).status_code == 200
    assert (await client.complete(upload_id))["media"]["status"] == "UPLOADED"


async def test_parts_are_held_to_the_length_of_the_session(service: RunningService, session: Session) -> None:
    storage_id = await begin(session.client, session)
    payload = await sign(session.client, session.id, "PUT", session.key, storageUploadId=storage_id, partNumber=3)
    assert (await make(payload, session.part(1))).status_code == 403
    assert (await session.look())["parts"] == []


async def test_the_first_multipart_upload_that_storage_confirms_is_the_only_one(
    service: RunningService, session: Session
) -> None:
    client, key = session.client, session.key
    lost, used = await begin(client, session), await begin(client, session)
    other = await open_session(client, session.body)
    foreign = await begin(client, other)
    for wrong in (foreign, "no-such-upload"):
        payload = await sign(client, session.id, "PUT", key, storageUploadId=wrong, partNumber=1)
        assert code(payload) == "NOT_FOUND"
    payload = await sign(client, session.id, "PUT", key, storageUploadId=used, partNumber=1)
    assert (await make(payload, session.part(1))).status_code == 200
    late = await sign(client, session.id, "PUT", key, storageUploadId=lost, partNumber=1)
    assert code(late) == "NOT_FOUND"
    assert code(await sign(client, session.id, "POST", key)) == "STATE_CONFLICT"
    await session.abort()
    pending = [each async for each in service.runtime.object_store.multipart.list_pending(key)]
    assert pending == [], "the one that nobody wrote down is dropped as well"


async def test_a_library_that_aborts_at_storage_may_begin_again(service: RunningService, session: Session) -> None:
    client, key = session.client, session.key
    first = await begin(client, session)
    assert (await make(await sign(client, session.id, "DELETE", key, storageUploadId=first))).status_code == 204
    second = await begin(client, session)
    payload = await sign(client, session.id, "PUT", key, storageUploadId=second, partNumber=1)
    assert (await make(payload, session.part(1))).status_code == 200
    assert [part["number"] for part in (await session.look())["parts"]] == [1]


async def test_what_a_library_completes_without_all_its_parts_fails_and_goes(
    service: RunningService, session: Session
) -> None:
    client, key, store = session.client, session.key, service.runtime.object_store
    storage_id = await begin(client, session)
    payload = await sign(client, session.id, "PUT", key, storageUploadId=storage_id, partNumber=1)
    etag = (await make(payload, session.part(1))).headers["etag"]
    xml = (
        f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    )
    done = await make(await sign(client, session.id, "POST", key, storageUploadId=storage_id), xml.encode())
    assert done.status_code == 200, done.text
    assert (await session.complete())["userErrors"][0]["code"] == "CHECKSUM_MISMATCH"
    assert await store.head(store.upload_bucket, key) is None


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"method": "DELETE"}, "NOT_PERMITTED"),
        ({"method": "GET"}, "INVALID_INPUT"),
        ({"method": "PUT"}, "INVALID_INPUT"),
        ({"method": "PUT", "partNumber": 1}, "INVALID_INPUT"),
        ({"method": "POST", "contentType": "text/html"}, "INVALID_INPUT"),
        ({"method": "POST", "key": "community/raw/other.png"}, "NOT_FOUND"),
        ({"method": "PUT", "partNumber": 4, "storageUploadId": "mine"}, "INVALID_INPUT"),
        ({"method": "PUT", "storageUploadId": "mine"}, "INVALID_INPUT"),
        ({"method": "DELETE", "storageUploadId": "mine", "partNumber": 1}, "INVALID_INPUT"),
    ],
)
async def test_whatever_a_session_does_not_need_is_not_signed(
    service: RunningService, session: Session, request_: dict[str, Any], expected: str
) -> None:
    given = {"key": session.key, **request_}
    if given.get("storageUploadId") == "mine":
        given["storageUploadId"] = await begin(session.client, session)
    assert code(await sign(session.client, session.id, **given)) == expected
    assert (await session.look())["parts"] == []


async def test_sessions_of_others_and_ended_ones_sign_nothing(service: RunningService, session: Session) -> None:
    stranger = service.client("mallory")
    assert code(await sign(stranger, session.id, "POST", session.key)) == "NOT_FOUND"
    await session.abort()
    assert code(await sign(session.client, session.id, "POST", session.key)) == "UPLOAD_EXPIRED"
