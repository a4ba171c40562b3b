"""createUploads, the bytes, and completeUpload: once each, whatever arrives twice, late or from a stranger."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from schema.global_id import decode_id
from service.finalisation import object_created
from tests.api_client import CREATE
from tests.integration.conftest import RunningService
from tests.photos import small_photo


def uuid_of(global_id: str) -> UUID:
    parts = decode_id(global_id)
    assert parts is not None
    return parts[1]


async def counts(service: RunningService) -> dict[str, int]:
    database = service.runtime.database
    return {name: await getattr(database, name).count_documents({}) for name in ("media", "uploads", "jobs")}


async def stored(service: RunningService, media_id: str) -> Any:
    return await service.runtime.database.media.find_one({"_id": uuid_of(media_id)})


async def test_same_key_same_result_also_for_twins(service: RunningService) -> None:
    anna, photos, key = service.client("anna"), (small_photo(1), small_photo(2)), uuid4().hex
    before = await counts(service)
    payloads = await asyncio.gather(*(anna.create(*photos, key=key) for _ in range(8)))
    ids = {tuple(outcome["upload"]["id"] for outcome in payload["outcomes"]) for payload in payloads}
    assert len(ids) == 1
    after = await counts(service)
    assert after["media"] - before["media"] == 2
    assert after["uploads"] - before["uploads"] == 2
    [media_ids] = {tuple(outcome["upload"]["media"]["id"] for outcome in payload["outcomes"]) for payload in payloads}
    positions = [(await stored(service, media_id))["position"] for media_id in media_ids]
    assert positions == [0, 1]


async def test_same_key_other_input_is_refused_and_changes_nothing(service: RunningService) -> None:
    anna, key = service.client("anna"), uuid4().hex
    await anna.create(small_photo(1), key=key)
    before = await counts(service)
    payload = await anna.create(small_photo(2), key=key)
    assert [error["code"] for error in payload["userErrors"]] == ["IDEMPOTENCY_KEY_REUSED"]
    assert payload["outcomes"] == []
    assert await counts(service) == before


async def test_a_repeat_from_another_network_is_the_same_request(service: RunningService) -> None:
    anna, photo, key = service.client("anna"), small_photo(31), uuid4().hex
    first, second = [await anna.create(photo, key=key, client={"network": each}) for each in ("WIFI", "TWO_G")]
    assert second["userErrors"] == []
    assert first["outcomes"][0]["upload"]["id"] == second["outcomes"][0]["upload"]["id"]


async def test_keys_belong_to_their_owner(service: RunningService) -> None:
    photo, key = small_photo(1), uuid4().hex
    first = await service.client("anna").create(photo, key=key)
    second = await service.client("bert").create(photo, key=key)
    assert first["outcomes"][0]["upload"]["id"] != second["outcomes"][0]["upload"]["id"]


async def test_one_bad_file_does_not_hold_up_the_others(service: RunningService) -> None:
    photo = small_photo(1)
    good = {"contentType": "image/jpeg", "byteSize": len(photo), "sha256": hashlib.sha256(photo).hexdigest()}
    files = [
        good,
        {**good, "contentType": "text/html"},
        {**good, "byteSize": 100_000_001},
        {**good, "sha256": None},
        {**good, "byteSize": 0},
        {**good, "tags": ["x" * 51]},
        {**good, "focus": {"x": 0.5, "y": 0, "width": 0.6, "height": 1}},
        {**good, "title": "\u0007bell"},
        {**good, "title": "t" * 201},
        {**good, "contentType": "image/tiff"},
        {**good, "contentType": "application/octet-stream"},
        {**good, "location": {"latitude": 91, "longitude": 0}},
        {**good, "tags": ["tag"] * 31},
    ]
    payload = (
        await service.client("anna").run(
            CREATE, input={"idempotencyKey": uuid4().hex, "purpose": "COMMUNITY", "files": files}
        )
    )["createUploads"]
    errors = [outcome["userErrors"] for outcome in payload["outcomes"]]
    assert payload["outcomes"][0]["upload"] is not None
    assert errors[0] == []
    assert [(error[0]["code"], error[0]["field"][:3]) for error in errors[1:8]] == [
        ("TYPE_NOT_ALLOWED", ["files", "1", "contentType"]),
        ("TOO_LARGE", ["files", "2", "byteSize"]),
        ("INVALID_INPUT", ["files", "3", "sha256"]),
        ("INVALID_INPUT", ["files", "4", "byteSize"]),
        ("INVALID_INPUT", ["files", "5", "tags"]),
        ("INVALID_INPUT", ["files", "6", "focus"]),
        ("INVALID_INPUT", ["files", "7", "title"]),
    ]
    known = "COMMUNITY takes JPEG, PNG, WebP, AVIF, HEIC, HEIF, GIF, MP4, MOV and WebM"
    assert [error[0]["message"] for error in errors[1:]] == [
        f"{known}, not text/html: choose a photo.",
        "COMMUNITY takes pictures up to 100 MB, and this one has 100.1 MB: upload a smaller version.",
        "A SHA-256 is required: storage checks the bytes against it.",
        "The file is empty: byteSize must be more than 0. Choose another file.",
        "Each of tags takes up to 50 characters; shorten it.",
        "focus: the box reaches outside the picture: x + width and y + height must not exceed 1.",
        "title: control characters are not allowed.",
        "title takes up to 200 characters; shorten it.",
        f"{known}, not TIFF: save the photo as JPEG and upload that.",
        f"{known}, and this file is of no type that is known: save the photo as JPEG and upload that.",
        "latitude must be 90 or less.",
        "tags takes up to 30 entries; shorten it.",
    ]
    assert all(outcome["upload"] is None for outcome in payload["outcomes"][1:])


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"files": []}, ["files"]),
        ({"files": [{"contentType": "image/jpeg", "byteSize": 1}] * 21}, ["files"]),
        ({"idempotencyKey": ""}, ["idempotencyKey"]),
        ({"idempotencyKey": "k" * 201}, ["idempotencyKey"]),
        ({"captureId": "c" * 101}, ["captureId"]),
        ({"purpose": "MEDICAL", "visibility": "PUBLIC"}, ["visibility"]),
    ],
)
async def test_wrong_batch_is_refused_whole(service: RunningService, changed: dict[str, Any], field: list[str]) -> None:
    before = await counts(service)
    given = {
        "idempotencyKey": uuid4().hex,
        "purpose": "COMMUNITY",
        "files": [{"contentType": "image/jpeg", "byteSize": 1, "sha256": "0" * 64}],
        **changed,
    }
    payload = (await service.client("anna").run(CREATE, input=given))["createUploads"]
    assert payload["outcomes"] == []
    assert [(error["code"], error["field"]) for error in payload["userErrors"]] == [("INVALID_INPUT", field)]
    assert await counts(service) == before


async def test_nobody_uploads_without_signing_in(service: RunningService) -> None:
    before = await counts(service)
    payload = await service.client(None).create(small_photo(1))
    assert [error["code"] for error in payload["userErrors"]] == ["NOT_PERMITTED"]
    assert await counts(service) == before


async def test_completing_without_the_bytes_says_what_to_do(service: RunningService) -> None:
    anna = service.client("anna")
    [outcome] = (await anna.create(small_photo(3)))["outcomes"]
    payload = await anna.complete(outcome["upload"]["id"])
    [error] = payload["userErrors"]
    assert (error["code"], error["retryable"]) == ("UPLOAD_INCOMPLETE", True)
    assert (await stored(service, outcome["upload"]["media"]["id"]))["status"] == "INITIATED"


async def test_call_and_event_together_make_one_job(service: RunningService) -> None:
    anna, photo = service.client("anna"), small_photo(4)
    [outcome] = (await anna.create(photo))["outcomes"]
    upload = outcome["upload"]
    assert (await anna.put(upload, photo)).status_code == 200
    before = await counts(service)
    document = await service.runtime.database.uploads.find_one({"_id": uuid_of(upload["id"])})
    runtime = service.runtime

    async def event() -> bool:
        return await object_created(
            document["bucket"], document["key"], stores=runtime.stores, object_store=runtime.object_store
        )

    calls = [anna.complete(upload["id"]) for _ in range(4)]
    events = [event() for _ in range(4)]
    results = await asyncio.gather(*calls, *events)

    assert all(result is True or result["userErrors"] == [] for result in results)
    assert (await counts(service))["jobs"] - before["jobs"] == 1
    media = await stored(service, upload["media"]["id"])
    assert [entry["status"] for entry in media["status_history"]] == ["INITIATED", "UPLOADED"]
    assert (await anna.complete(upload["id"]))["media"]["status"] == "UPLOADED"


async def test_event_alone_is_enough(service: RunningService, http: httpx.AsyncClient) -> None:
    anna, photo = service.client("anna"), small_photo(5)
    [outcome] = (await anna.create(photo))["outcomes"]
    await anna.put(outcome["upload"], photo)
    document = await service.runtime.database.uploads.find_one({"_id": uuid_of(outcome["upload"]["id"])})
    folder, _, name = document["key"].rpartition("/")
    payload = {
        "event_type": "create",
        "message": {"new_entry": {"name": name}, "new_parent_path": f"/buckets/{document['bucket']}/{folder}"},
    }
    token = service.settings.storage.event_token.get_secret_value()
    address = f"{service.url}/events/storage"
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic x"}):
        assert (await http.post(address, json=payload, headers=headers)).status_code == 401
    assert (await stored(service, outcome["upload"]["media"]["id"]))["status"] == "INITIATED"

    for _ in range(3):
        answer = await http.post(address, json=payload, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 204
    assert (await stored(service, outcome["upload"]["media"]["id"]))["status"] == "UPLOADED"

    for rubbish in (b"", b"null", b"[]", b"{}", b'{"message":1}', b"\xff"):
        answer = await http.post(address, content=rubbish, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code in {204, 400}


async def test_strangers_upload_answers_like_an_unknown_one(service: RunningService) -> None:
    anna, bert = service.client("anna"), service.client("bert")
    [outcome] = (await anna.create(small_photo(6)))["outcomes"]
    unknown = "VXBsb2FkOjAxYTFmYWFkLTkwNzAtNzMwMC05NmEyLTZmMDkwOGFlZDA3NA=="
    moderator = service.client("mod", roles=("moderator",))
    for client, code in ((bert, "NOT_FOUND"), (moderator, "NOT_FOUND"), (service.client(None), "NOT_PERMITTED")):
        answers = [await client.complete(upload_id) for upload_id in (outcome["upload"]["id"], unknown, "rubbish")]
        assert answers[0] == answers[1] == answers[2]
        assert answers[0]["userErrors"][0]["code"] == code
    query = "query U($id: ID!) { upload(id: $id) { id } node(id: $id) { id } }"
    assert await bert.run(query, id=outcome["upload"]["id"]) == {"upload": None, "node": None}
    assert (await anna.run(query, id=outcome["upload"]["id"]))["upload"] == {"id": outcome["upload"]["id"]}


async def test_bytes_that_arrive_after_the_deletion_are_removed(
    service: RunningService, no_deletion_window: None
) -> None:
    anna, photo = service.client("anna"), small_photo(7)
    [outcome] = (await anna.create(photo))["outcomes"]
    upload = outcome["upload"]
    async with service.working():
        await anna.delete(upload["media"]["id"])
        deletions = service.runtime.database.deletions
        async with asyncio.timeout(10):
            while (await deletions.find_one({"_id": uuid_of(upload["id"])}))["stage"] == "HIDDEN":
                pass
    assert (await anna.put(upload, photo)).status_code == 200
    document = await service.runtime.database.uploads.find_one({"_id": uuid_of(upload["id"])})
    runtime = service.runtime
    await object_created(document["bucket"], document["key"], stores=runtime.stores, object_store=runtime.object_store)
    assert await runtime.object_store.head(document["bucket"], document["key"]) is None
    assert (await anna.complete(upload["id"]))["userErrors"][0]["code"] == "NOT_FOUND"


async def test_target_is_gone_once_the_bytes_are_confirmed(service: RunningService) -> None:
    anna, photo = service.client("anna"), small_photo(8)
    [outcome] = (await anna.create(photo))["outcomes"]
    query = "query U($id: ID!) { upload(id: $id) { method byteSize bytesConfirmed target { url } media { status } } }"
    before = (await anna.run(query, id=outcome["upload"]["id"]))["upload"]
    assert before["target"] is not None
    assert (before["method"], before["byteSize"], before["bytesConfirmed"]) == ("SINGLE", len(photo), 0)
    await anna.put(outcome["upload"], photo)
    await anna.complete(outcome["upload"]["id"])
    after = (await anna.run(query, id=outcome["upload"]["id"]))["upload"]
    assert after["target"] is None
    assert after["bytesConfirmed"] == len(photo)


async def test_files_of_one_batch_are_one_capture(service: RunningService) -> None:
    anna = service.client("anna")
    payload = await anna.create(
        small_photo(1), small_photo(2), details={"location": {"latitude": 52.5, "longitude": 13.4}}
    )
    ids = [outcome["upload"]["media"]["id"] for outcome in payload["outcomes"]]
    query = """query N($ids: [ID!]!) {
      nodes(ids: $ids) { ... on Media { captureId position location { latitude longitude } } }
    }"""
    nodes = (await anna.run(query, ids=ids))["nodes"]
    assert len({node["captureId"] for node in nodes}) == 1
    assert [node["position"] for node in nodes] == [0, 1]
    assert nodes[0]["location"] == {"latitude": 52.5, "longitude": 13.4}
