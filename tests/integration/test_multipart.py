"""Uploads in parts: signed when sent, resumed from what storage confirms, and put together once they are all there."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest

from schema.global_id import decode_id
from service.assembly import assemble
from service.finalisation import object_created
from service.part_plan import DEFAULT_PART_BYTES, bytes_of_part
from tests.api_client import ApiClient
from tests.integration.conftest import RunningService
from tests.photos import large_png

OPEN = """
mutation Open($input: CreateUploadsInput!) {
  createUploads(input: $input) {
    outcomes {
      upload { ...Session }
      duplicate { id status }
      userErrors { code message field }
    }
    userErrors { code message }
  }
}
fragment Session on Upload {
  id method byteSize partSize partCount bytesConfirmed objectKey parts { number byteSize etag } target { url }
  media { id status sha256 }
}
"""
SIGN = """
mutation Sign($input: SignUploadPartsInput!) {
  signUploadParts(input: $input) {
    parts { number byteSize target { method url headers { name value } expiresAt } }
    userErrors { code message field retryable }
  }
}
"""
COMPLETE = """
mutation Complete($input: CompleteUploadInput!) {
  completeUpload(input: $input) { media { id status } userErrors { code message field retryable } }
}
"""
ABORT = """
mutation Abort($input: AbortUploadInput!) {
  abortUpload(input: $input) { media { id status } userErrors { code message field } }
}
"""
LOOK = """
query Look($id: ID!) {
  upload(id: $id) { bytesConfirmed parts { number byteSize etag } target { url } media { id status sha256 } }
}
"""


@pytest.fixture(scope="module")
def picture() -> bytes:
    """A PNG of three parts."""
    return large_png(18_000_000)


@dataclass
class Session:
    """One upload in parts, as a client goes through it."""

    client: ApiClient
    body: bytes
    id: str
    media_id: str
    part_size: int
    part_count: int
    key: str

    def part(self, number: int) -> bytes:
        return self.body[(number - 1) * self.part_size : number * self.part_size]

    async def sign(self, *numbers: int, checksums: dict[int, str] | None = None) -> dict[str, Any]:
        given: dict[str, Any] = {"uploadId": self.id, "partNumbers": list(numbers)}
        if checksums is not None:
            given["partChecksums"] = [{"number": number, "sha256": each} for number, each in checksums.items()]
        payload: dict[str, Any] = (await self.client.run(SIGN, input=given))["signUploadParts"]
        return payload

    async def send(self, *numbers: int, checksums: bool = False) -> dict[int, str]:
        """The etags that storage gave, by part number."""
        given = {number: hashlib.sha256(self.part(number)).hexdigest() for number in numbers} if checksums else None
        payload = await self.sign(*numbers, checksums=given)
        assert payload["userErrors"] == []
        etags = {}
        async with httpx.AsyncClient(timeout=30) as http:
            for each in payload["parts"]:
                headers = {header["name"]: header["value"] for header in each["target"]["headers"]}
                answer = await http.put(each["target"]["url"], content=self.part(each["number"]), headers=headers)
                assert answer.status_code == 200, answer.text
                etags[each["number"]] = answer.headers["etag"]
        return etags

    async def complete(self, parts: list[tuple[int, str]] | None = None) -> dict[str, Any]:
        given: dict[str, Any] = {"idempotencyKey": uuid4().hex, "uploadId": self.id}
        if parts is not None:
            given["parts"] = [{"number": number, "etag": etag} for number, etag in parts]
        payload: dict[str, Any] = (await self.client.run(COMPLETE, input=given))["completeUpload"]
        return payload

    async def look(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.client.run(LOOK, id=self.id))["upload"]
        return found

    async def abort(self, key: str | None = None) -> dict[str, Any]:
        given = {"idempotencyKey": key or uuid4().hex, "uploadId": self.id}
        payload: dict[str, Any] = (await self.client.run(ABORT, input=given))["abortUpload"]
        return payload


async def open_session(client: ApiClient, body: bytes, network: str = "UNKNOWN", **file: Any) -> Session:
    described = {"contentType": "image/png", "byteSize": len(body), **file}
    given = {
        "idempotencyKey": uuid4().hex,
        "purpose": "COMMUNITY",
        "files": [described],
        "client": {"network": network},
    }
    [outcome] = (await client.run(OPEN, input=given))["createUploads"]["outcomes"]
    upload = outcome["upload"]
    assert upload is not None, outcome
    assert (upload["method"], upload["target"], upload["parts"]) == ("MULTIPART", None, [])
    return Session(
        client, body, upload["id"], upload["media"]["id"], upload["partSize"], upload["partCount"], upload["objectKey"]
    )


@pytest.fixture
async def session(service: RunningService, picture: bytes) -> Session:
    return await open_session(service.client(uuid4().hex), picture)


async def pending(service: RunningService, key: str) -> int:
    return len([each async for each in service.runtime.object_store.multipart.list_pending(key)])


async def test_a_large_picture_goes_up_in_parts_and_becomes_ready(service: RunningService, session: Session) -> None:
    assert session.part_count == 3
    etags = await session.send(1, 2, 3, checksums=True)
    async with service.working():
        completed = await session.complete(sorted(etags.items()))
        assert completed["userErrors"] == []
        assert await session.client.wait(session.media_id) == {session.media_id: "READY"}
    found = await session.look()
    assert found["media"]["sha256"] == hashlib.sha256(session.body).hexdigest()
    assert found["bytesConfirmed"] == len(session.body)


async def test_a_slow_network_gets_smaller_parts(service: RunningService, picture: bytes) -> None:
    slow, fast = [await open_session(service.client(uuid4().hex), picture, network) for network in ("TWO_G", "WIFI")]
    assert slow.part_size < DEFAULT_PART_BYTES < fast.part_size
    assert (slow.part_count, fast.part_count) == (4, 2)


async def test_what_is_shown_is_what_storage_confirms(service: RunningService, session: Session) -> None:
    etags = await session.send(3, 1)
    found = await session.look()
    assert found["media"]["status"] == "UPLOADING"
    assert [(part["number"], part["byteSize"]) for part in found["parts"]] == [
        (number, bytes_of_part(number, len(session.body), DEFAULT_PART_BYTES)) for number in (1, 3)
    ]
    assert {part["number"]: part["etag"] for part in found["parts"]} == {
        number: etag.strip('"') for number, etag in etags.items()
    }
    assert found["bytesConfirmed"] == sum(part["byteSize"] for part in found["parts"])


async def test_another_process_goes_on_where_the_first_stopped(service: RunningService, session: Session) -> None:
    await session.send(1)
    confirmed = {part["number"] for part in (await session.look())["parts"]}
    await session.send(*({1, 2, 3} - confirmed))
    completed = await session.complete()
    assert (completed["media"]["status"], completed["userErrors"]) == ("UPLOADED", [])


async def test_completing_names_what_is_wrong_with_the_parts(service: RunningService, session: Session) -> None:
    etags = await session.send(1, 2)
    good = [(number, etags[number]) for number in (1, 2)]
    complaints = {
        "Part 3 is missing from the list": good,
        "Part 1 is listed more than once": [good[0], *good, (3, "x")],
        "Part 1 is out of order": [good[1], good[0], (3, "x")],
        "Part 2 is listed with an etag that storage does not have": [good[0], (2, '"0"'), (3, "x")],
        "Part 9 is not part of this upload": [*good, (3, "x"), (9, "x")],
        "part 3 is not in storage": [*good, (3, "x")],
    }
    for complaint, parts in complaints.items():
        payload = await session.complete(parts)
        [error] = payload["userErrors"]
        assert (payload["media"], error["code"], error["field"]) == (None, "UPLOAD_INCOMPLETE", ["parts"])
        assert error["retryable"] is (complaint == "part 3 is not in storage")
        assert complaint.lower() in error["message"].lower()
    [error] = (await session.complete())["userErrors"]
    assert error["message"].startswith("Storage does not hold part 3 as announced")
    assert (await session.look())["media"]["status"] == "UPLOADING"


async def test_completing_twice_is_free_also_at_once(service: RunningService, session: Session) -> None:
    etags = await session.send(1, 2, 3)
    parts = sorted(etags.items())
    payloads = await asyncio.gather(*(session.complete(parts) for _ in range(6)))
    payloads.append(await session.complete(parts))
    assert [payload["userErrors"] for payload in payloads] == [[]] * 7
    parsed = decode_id(session.media_id)
    assert parsed is not None
    assert await service.runtime.database.jobs.count_documents({"media_id": parsed[1]}) == 1


async def test_parts_are_signed_only_as_the_session_allows(service: RunningService, session: Session) -> None:
    async def refusal(*numbers: int, checksums: dict[int, str] | None = None) -> tuple[str, list[str]]:
        payload = await session.sign(*numbers, checksums=checksums)
        [error] = payload["userErrors"]
        assert payload["parts"] == []
        return error["code"], error["field"]

    digest = "0" * 64
    assert await refusal() == ("INVALID_INPUT", ["partNumbers"])
    assert await refusal(*range(1, 102)) == ("INVALID_INPUT", ["partNumbers"])
    assert await refusal(1, 1) == ("INVALID_INPUT", ["partNumbers"])
    assert await refusal(4) == ("INVALID_INPUT", ["partNumbers", "0"])
    assert await refusal(1, 0) == ("INVALID_INPUT", ["partNumbers", "1"])
    assert await refusal(1, checksums={2: digest}) == ("INVALID_INPUT", ["partChecksums"])
    assert await pending(service, session.key) == 0, "nothing was begun for a request that was refused"
    await session.send(1)
    assert await refusal(2, checksums={2: digest}) == ("INVALID_INPUT", ["partChecksums"])
    stranger = Session(service.client("mallory"), session.body, session.id, "", 0, 0, "")
    assert (await stranger.sign(1))["userErrors"][0]["code"] == "NOT_FOUND"
    assert await pending(service, session.key) == 1


async def test_storage_checks_each_part_against_its_own_checksum(service: RunningService, session: Session) -> None:
    right, wrong = (hashlib.sha256(body).digest() for body in (session.part(1), b"other"))
    payload = await session.sign(1, checksums={1: wrong.hex()})
    [part] = payload["parts"]
    headers = {header["name"]: header["value"] for header in part["target"]["headers"]}
    assert headers["x-amz-checksum-sha256"] == base64.b64encode(wrong).decode()
    async with httpx.AsyncClient(timeout=30) as http:
        refused = await http.put(part["target"]["url"], content=session.part(1), headers=headers)
    assert refused.status_code == 400, refused.text
    assert (await session.look())["parts"] == []
    assert (await session.sign(2))["userErrors"][0]["message"].startswith("This upload was begun with checksums")
    assert right != wrong
    assert list(await session.send(1, checksums=True)) == [1]


async def test_twins_that_sign_first_share_one_multipart_upload(service: RunningService, session: Session) -> None:
    payloads = await asyncio.gather(*(session.sign(1) for _ in range(6)))
    ids = {httpx.URL(payload["parts"][0]["target"]["url"]).params["uploadId"] for payload in payloads}
    assert len(ids) == 1
    assert await pending(service, session.key) == 1


async def test_an_aborted_upload_leaves_nothing(service: RunningService, session: Session) -> None:
    await session.send(1, 2)
    key = uuid4().hex
    payload = await session.abort(key)
    assert (payload["media"]["status"], payload["userErrors"]) == ("EXPIRED", [])
    assert await session.abort(key) == payload
    assert await pending(service, session.key) == 0
    assert (await session.sign(3))["userErrors"][0]["code"] == "UPLOAD_EXPIRED"
    assert (await session.complete())["userErrors"][0]["code"] == "UPLOAD_EXPIRED"


async def test_what_has_arrived_is_not_aborted(service: RunningService, session: Session) -> None:
    await session.send(1, 2, 3)
    await session.complete()
    payload = await session.abort()
    assert (payload["media"], payload["userErrors"][0]["code"]) == (None, "STATE_CONFLICT")
    store = service.runtime.object_store
    assert await store.head(store.upload_bucket, session.key) is not None
    assert (await session.sign(1))["userErrors"][0]["code"] == "STATE_CONFLICT"


async def test_a_multipart_upload_that_storage_dropped_is_begun_again(
    service: RunningService, session: Session
) -> None:
    await session.send(1, 2, 3)
    await service.runtime.object_store.multipart.abort_all(session.key)
    [error] = (await session.complete())["userErrors"]
    assert error["message"].startswith("Storage does not hold parts 1-3")
    await session.send(1, 2, 3)
    assert (await session.complete())["media"]["status"] == "UPLOADED"


async def test_an_upload_whose_parts_were_put_together_unseen_is_only_completed(
    service: RunningService, session: Session
) -> None:
    await session.send(1, 2, 3)
    parsed = decode_id(session.id)
    assert parsed is not None
    upload = await service.runtime.stores.uploads.get(parsed[1])
    assert upload is not None
    # As a process leaves it that died before it could say so.
    await assemble(upload, None, stores=service.runtime.stores, object_store=service.runtime.object_store)
    found = await session.look()
    assert (found["media"]["status"], found["parts"]) == ("UPLOADING", [])
    assert found["bytesConfirmed"] == len(session.body)
    completed = await session.complete()
    assert (completed["media"]["status"], completed["userErrors"]) == ("UPLOADED", [])


async def test_a_digest_that_was_announced_wrongly_is_found_out(service: RunningService, picture: bytes) -> None:
    owner = service.client(uuid4().hex)
    lying = await open_session(owner, picture, sha256="0" * 64)
    assert (await lying.look())["media"]["sha256"] is None
    await lying.send(1, 2, 3)
    async with service.working():
        await lying.complete()
        assert await owner.wait(lying.media_id) == {lying.media_id: "FAILED"}
    # What was announced and never true must not pass for content that is known.
    again = await open_session(owner, picture, sha256="0" * 64)
    assert again.media_id != lying.media_id


async def test_equal_content_is_stored_once_and_goes_with_its_last_media(
    service: RunningService, picture: bytes, no_deletion_window: None
) -> None:
    owner, store = service.client(uuid4().hex), service.runtime.object_store
    sessions = [await open_session(owner, picture) for _ in range(2)]
    async with service.working():
        for each in sessions:
            await each.send(1, 2, 3)
            await each.complete()
            assert (await owner.wait(each.media_id)) == {each.media_id: "READY"}
        first, second = sessions
        assert await store.head(store.upload_bucket, first.key) is not None
        assert await store.head(store.upload_bucket, second.key) is None
        # A late copy of the event, and a late copy of the bytes.
        assert await object_created(store.upload_bucket, second.key, stores=service.runtime.stores, object_store=store)
        await deleted(owner, first.media_id)
        assert await store.head(store.upload_bucket, first.key) is not None, "the second media needs it"
        await deleted(owner, second.media_id)
        assert await store.head(store.upload_bucket, first.key) is None
    assert await service.runtime.database.contents.count_documents({"owner_id": {"$in": [""]}}) == 0


async def deleted(client: ApiClient, media_id: str) -> None:
    [deletion] = (await client.delete(media_id))["deletions"]
    look = "query Look($id: ID!) { deletion(id: $id) { stage } }"
    async with asyncio.timeout(30):
        while (await client.run(look, id=deletion["id"]))["deletion"]["stage"] == "HIDDEN":  # noqa: ASYNC110
            await asyncio.sleep(0.02)
