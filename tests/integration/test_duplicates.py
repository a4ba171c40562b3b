"""Nothing is sent twice: what an owner already has is recognised, linked or restored, and only for that owner."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from schema.global_id import decode_id
from tests.api_client import ApiClient
from tests.integration.conftest import RunningService
from tests.photos import small_photo

OPEN = """
mutation Open($input: CreateUploadsInput!) {
  createUploads(input: $input) {
    outcomes {
      upload { id media { id } }
      duplicate { id status purpose visibility subject { type id } }
      userErrors { code message field }
    }
    userErrors { code message }
  }
}
"""
FIND = "query Find($sha256: [SHA256!]!) { findDuplicates(sha256: $sha256) { sha256 media { id } } }"


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


async def ask(client: ApiClient, *files: bytes, key: str | None = None, **batch: Any) -> list[dict[str, Any]]:
    described = [{"contentType": "image/jpeg", "byteSize": len(file), "sha256": digest(file)} for file in files]
    given = {"idempotencyKey": key or uuid4().hex, "purpose": "COMMUNITY", "files": described, **batch}
    payload = (await client.run(OPEN, input=given))["createUploads"]
    assert payload["userErrors"] == []
    outcomes: list[dict[str, Any]] = payload["outcomes"]
    assert all(
        (outcome["upload"] is not None) + (outcome["duplicate"] is not None) + bool(outcome["userErrors"]) == 1
        for outcome in outcomes
    )
    return outcomes


async def ready(service: RunningService, client: ApiClient, photo: bytes, **batch: Any) -> str:
    async with service.working():
        media_id = await client.send(photo, **batch)
        assert await client.wait(media_id) == {media_id: "READY"}
    return media_id


async def document(service: RunningService, media_id: str) -> dict[str, Any]:
    parsed = decode_id(media_id)
    assert parsed is not None
    found = await service.runtime.database.media.find_one({"_id": parsed[1]})
    assert found is not None
    return dict(found)


def newcomer(service: RunningService) -> ApiClient:
    return service.client(f"owner-{uuid4().hex}")


async def test_what_one_owner_has_is_recognised_for_them_alone(service: RunningService) -> None:
    anna, bert, photo = newcomer(service), newcomer(service), small_photo(901)
    media_id = await ready(service, anna, photo)
    [outcome] = await ask(anna, photo)
    assert outcome["duplicate"]["id"] == media_id
    assert await anna.run(FIND, sha256=[digest(photo), "0" * 64]) == {
        "findDuplicates": [{"sha256": digest(photo), "media": {"id": media_id}}]
    }
    [foreign] = await ask(bert, photo)
    assert foreign["duplicate"] is None
    assert await bert.run(FIND, sha256=[digest(photo)]) == {"findDuplicates": []}


async def test_strangers_and_long_lists_are_refused(service: RunningService) -> None:
    nobody = await service.client(None).post(FIND, sha256=["0" * 64])
    assert nobody["errors"][0]["extensions"]["code"] == "NOT_PERMITTED"
    many = await newcomer(service).post(FIND, sha256=[f"{number:064x}" for number in range(101)])
    assert many["errors"][0]["extensions"]["code"] == "INVALID_INPUT"


async def test_a_second_tap_joins_the_session_that_is_open(service: RunningService) -> None:
    anna, bert, photo = newcomer(service), newcomer(service), small_photo(902)
    [first] = await ask(anna, photo)
    [second] = await ask(anna, photo)
    assert (second["duplicate"], second["upload"]) == (None, first["upload"])
    assert (await ask(bert, photo))[0]["upload"] != first["upload"]
    [elsewhere] = await ask(anna, photo, subject={"type": "post", "id": "9"})
    assert elsewhere["upload"] != first["upload"]


async def test_a_session_that_is_nearly_over_is_not_joined(service: RunningService) -> None:
    anna, photo = newcomer(service), small_photo(912)
    [first] = await ask(anna, photo)
    parsed = decode_id(first["upload"]["id"])
    assert parsed is not None
    soon = datetime.now(UTC) + timedelta(minutes=5)
    await service.runtime.database.uploads.update_one({"_id": parsed[1]}, {"$set": {"expires_at": soon}})
    [second] = await ask(anna, photo)
    assert second["upload"] not in (None, first["upload"])


async def test_the_same_picture_twice_in_a_batch_is_sent_once(service: RunningService) -> None:
    photo, other = small_photo(903), small_photo(904)
    first, second, third = await ask(newcomer(service), photo, other, photo)
    assert second["upload"] is not None
    assert third["duplicate"]["id"] == first["upload"]["media"]["id"]


async def test_a_wrong_size_does_not_stand_for_the_right_one(service: RunningService) -> None:
    anna, photo = newcomer(service), small_photo(913)
    right = {"contentType": "image/jpeg", "byteSize": len(photo), "sha256": digest(photo)}
    given = {
        "idempotencyKey": uuid4().hex,
        "purpose": "COMMUNITY",
        "files": [{**right, "byteSize": len(photo) + 1}, right],
    }
    outcomes = (await anna.run(OPEN, input=given))["createUploads"]["outcomes"]
    assert [outcome["duplicate"] for outcome in outcomes] == [None, None]
    assert outcomes[0]["upload"]["id"] != outcomes[1]["upload"]["id"]


@pytest.mark.parametrize(
    ("detail", "same", "other"),
    [
        ("albumIds", ["a"], ["a", "b"]),
        ("title", "Miso", "Miso again"),
        ("tags", ["cat"], ["cat", "garden"]),
        ("capturedAt", "2026-05-01T12:00:00.123Z", "2026-05-02T12:00:00Z"),
        ("location", {"latitude": 1.5, "longitude": 2.5}, {"latitude": 1.5, "longitude": 3.5}),
    ],
)
async def test_nothing_that_a_request_says_is_lost_to_a_duplicate(
    service: RunningService, detail: str, same: Any, other: Any
) -> None:
    anna, photo = newcomer(service), small_photo(914)
    described = {"contentType": "image/jpeg", "byteSize": len(photo), "sha256": digest(photo)}

    async def again(**details: Any) -> str:
        given = {"idempotencyKey": uuid4().hex, "purpose": "COMMUNITY", "files": [{**described, **details}]}
        [outcome] = (await anna.run(OPEN, input=given))["createUploads"]["outcomes"]
        found: str = (outcome["duplicate"] or outcome["upload"]["media"])["id"]
        return found

    opened = await again(**{detail: same})
    assert await again(**{detail: same}) == await again() == opened, "the open session"
    assert await again(**{detail: other}) != opened
    media_id = await ready(service, anna, photo, details={detail: same})
    assert await again(**{detail: same}) == await again() == media_id
    assert await again(**{detail: other}) not in (opened, media_id)


async def test_a_linked_file_that_failed_does_not_hold_up_a_repeat(service: RunningService) -> None:
    anna, photo, other, key = newcomer(service), small_photo(915), small_photo(916), uuid4().hex
    await ready(service, anna, photo)
    first = await ask(anna, photo, other, key=key, purpose="PROFILE")
    failed = decode_id(first[0]["duplicate"]["id"])
    assert failed is not None
    await service.runtime.database.media.update_one(
        {"_id": failed[1]}, {"$set": {"status": "FAILED", "failure": {"code": "CHECKSUM_MISMATCH", "message": "."}}}
    )
    again = await ask(anna, photo, other, key=key, purpose="PROFILE")
    assert [outcome["upload"] for outcome in again] == [outcome["upload"] for outcome in first]
    assert again[0]["duplicate"]["status"] == "FAILED"


async def test_another_purpose_gets_a_media_of_its_own_without_a_byte_sent(service: RunningService) -> None:
    anna, photo = newcomer(service), small_photo(905)
    media_id = await ready(service, anna, photo)
    subject = {"type": "post", "id": "7"}
    portrait, elsewhere, private = [
        (await ask(anna, photo, **batch))[0]["duplicate"]
        for batch in ({"purpose": "PROFILE"}, {"subject": subject}, {"visibility": "PRIVATE"})
    ]
    assert len({media_id, portrait["id"], elsewhere["id"], private["id"]}) == 4
    assert (portrait["purpose"], elsewhere["subject"], private["visibility"]) == ("PROFILE", subject, "PRIVATE")
    async with service.working():
        new = [portrait["id"], elsewhere["id"], private["id"]]
        assert set((await anna.wait(*new)).values()) == {"READY"}
    keys = {(await document(service, each))["original"]["key"] for each in [media_id, *new]}
    assert len(keys) == 1, "stored once"


async def test_the_same_key_gives_the_same_duplicate_also_for_twins(service: RunningService) -> None:
    anna, photo, key = newcomer(service), small_photo(906), uuid4().hex
    await ready(service, anna, photo)
    answers = await asyncio.gather(*(ask(anna, photo, key=key, purpose="PROFILE") for _ in range(6)))
    ids = {outcomes[0]["duplicate"]["id"] for outcomes in answers}
    assert len(ids) == 1
    parsed = decode_id(ids.pop())
    assert parsed is not None
    assert await service.runtime.database.jobs.count_documents({"media_id": parsed[1]}) == 1


async def test_a_file_in_its_deletion_window_is_restored(service: RunningService) -> None:
    anna, photo, store = newcomer(service), small_photo(907), service.runtime.object_store
    media_id = await ready(service, anna, photo)
    original = (await document(service, media_id))["original"]
    async with service.working():
        await anna.delete(media_id)
        await _renditions_are_gone(service, media_id)
        assert await store.head(original["bucket"], original["key"]) is not None
        assert await anna.run(FIND, sha256=[digest(photo)]) == {"findDuplicates": []}
        [outcome] = await ask(anna, photo)
        restored = outcome["duplicate"]["id"]
        assert restored != media_id, "what was deleted stays deleted"
        assert await anna.wait(restored) == {restored: "READY"}
    assert (await document(service, restored))["original"] == original
    assert (await document(service, media_id))["status"] == "DELETED"


async def test_the_window_holds_for_what_is_deleted_while_it_is_processed(service: RunningService) -> None:
    anna, photo, runtime = newcomer(service), small_photo(917), service.runtime
    media_id = await anna.send(photo)
    parsed = decode_id(media_id)
    assert parsed is not None
    put = runtime.object_store.put

    async def delete_then_put(*args: Any, **kwargs: Any) -> None:
        await anna.delete(media_id)
        await put(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime.object_store, "put", delete_then_put)
        async with service.working():
            await _renditions_are_gone(service, media_id)
            async with asyncio.timeout(30):
                while await runtime.database.jobs.count_documents({"media_id": parsed[1], "state": "open"}) > 1:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
    [outcome] = await ask(anna, photo)
    assert outcome["duplicate"] is not None, "nothing is to be sent"


async def test_the_window_ends_for_what_nobody_sent_again(service: RunningService, no_deletion_window: None) -> None:
    anna, photo = newcomer(service), small_photo(908)
    media_id = await ready(service, anna, photo)
    original = (await document(service, media_id))["original"]
    async with service.working():
        await anna.delete(media_id)
        await _gone(service, original)
    assert await service.runtime.database.contents.count_documents({"key": original["key"]}) == 0
    [outcome] = await ask(anna, photo)
    assert outcome["upload"] is not None


async def test_content_that_storage_lost_is_sent_again(service: RunningService) -> None:
    anna, photo, store = newcomer(service), small_photo(909), service.runtime.object_store
    media_id = await ready(service, anna, photo)
    original = (await document(service, media_id))["original"]
    await store.delete(original["bucket"], [original["key"]])
    [outcome] = await ask(anna, photo, purpose="PROFILE")
    assert outcome["upload"] is not None
    again = await ready(service, anna, photo, purpose="PROFILE")
    found = await service.runtime.database.contents.find_one({"sha256": digest(photo), "refs": {"$size": 1}})
    assert found is not None
    assert found["key"] == (await document(service, again))["original"]["key"]


async def _renditions_are_gone(service: RunningService, media_id: str) -> None:
    async with asyncio.timeout(30):
        while "renditions" in await document(service, media_id):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def _gone(service: RunningService, original: dict[str, str]) -> None:
    async with asyncio.timeout(30):
        while await service.runtime.object_store.head(original["bucket"], original["key"]) is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
