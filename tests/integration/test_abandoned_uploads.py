"""Nothing is left behind: sessions that nobody ends, ends with what arrived late, and the sweeper that sees to both."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import jwt
import pytest

from schema.global_id import decode_id, encode_id
from service.finalisation import object_created
from service.lifecycle import MediaStatus
from service.policies import LATE_BYTES
from service.sweeper import GRACE, LONGEST_PAUSE, sweep
from tests.api_client import ApiClient
from tests.integration.conftest import RunningService
from tests.integration.test_multipart import Session, open_session
from tests.photos import large_png, small_photo

PICTURE_BYTES = 18_000_000


@pytest.fixture(scope="module")
def picture() -> bytes:
    """A PNG of three parts."""
    return large_png(PICTURE_BYTES)


@pytest.fixture
async def session(service: RunningService, picture: bytes) -> Session:
    return await open_session(service.client(uuid4().hex), picture)


def key_of(global_id: str) -> dict[str, Any]:
    parsed = decode_id(global_id)
    assert parsed is not None
    return {"_id": parsed[1]}


async def run_out(service: RunningService, upload_id: str) -> None:
    """Let a session have ended long ago."""
    ended = datetime.now(UTC) - LATE_BYTES - timedelta(seconds=1)
    await service.runtime.database.uploads.update_one(key_of(upload_id), {"$set": {"expires_at": ended}})


def client_id(client: ApiClient) -> str:
    """Whom a client's token is for."""
    claims: dict[str, str] = jwt.decode(client.token or "", options={"verify_signature": False})
    return claims["sub"]


async def swept(service: RunningService, *, grace: timedelta = timedelta(0)) -> int:
    return await sweep(stores=service.runtime.stores, object_store=service.runtime.object_store, grace=grace)


async def in_storage(service: RunningService, key: str) -> list[str]:
    """What storage holds of a key: the object, and multipart uploads that were not ended."""
    store = service.runtime.object_store
    found = [stored.key async for stored in store.list_objects(store.upload_bucket, key)]
    return found + [pending.key async for pending in store.multipart.list_pending(key)]


async def status(session: Session) -> str:
    found: str = (await session.look())["media"]["status"]
    return found


async def test_parts_that_nobody_completes_are_put_together(service: RunningService, session: Session) -> None:
    await session.send(1, 2, 3)
    await swept(service)
    assert await status(session) == "UPLOADED"


async def test_an_abandoned_upload_expires_and_leaves_nothing(service: RunningService, session: Session) -> None:
    await session.send(1, 3)
    # One that was begun by a process that died before it could write it down.
    await service.runtime.object_store.multipart.begin(session.key, "image/png", checksums=False)
    await run_out(service, session.id)
    for _ in range(2):
        await swept(service)
        assert await status(session) == "EXPIRED"
        assert await in_storage(service, session.key) == []
    assert (await session.sign(2))["userErrors"][0]["code"] == "UPLOAD_EXPIRED"


async def test_all_parts_are_worth_more_than_the_clock(service: RunningService, session: Session) -> None:
    await session.send(1, 2, 3)
    await run_out(service, session.id)
    await swept(service)
    assert await status(session) == "UPLOADED"


@pytest.mark.parametrize("event_arrives", [True, False])
async def test_bytes_that_arrive_after_an_abort_are_removed(service: RunningService, event_arrives: bool) -> None:
    client, photo, store = service.client(uuid4().hex), small_photo(77), service.runtime.object_store
    [outcome] = (await client.create(photo))["outcomes"]
    upload = outcome["upload"]
    document = await service.runtime.database.uploads.find_one(key_of(upload["id"]))
    aborted = Session(client, photo, upload["id"], upload["media"]["id"], 0, 0, document["key"])
    assert (await aborted.abort())["media"]["status"] == "EXPIRED"
    assert (await client.put(upload, photo)).status_code == 200
    if event_arrives:
        await object_created(store.upload_bucket, aborted.key, stores=service.runtime.stores, object_store=store)
    else:
        await swept(service)
    assert await in_storage(service, aborted.key) == []
    # Until the presigned request has run out the same may happen again; then it is looked at for the last time.
    waiting = await service.runtime.database.media.find_one(key_of(aborted.media_id))
    assert "waiting_since" in waiting
    await run_out(service, aborted.id)
    await service.runtime.database.media.update_one(
        key_of(aborted.media_id), {"$set": {"waiting_since": datetime.now(UTC) - timedelta(days=1)}}
    )
    await swept(service)
    ended = await service.runtime.database.media.find_one(key_of(aborted.media_id))
    assert (ended["status"], "waiting_since" in ended) == ("EXPIRED", False)


async def test_bytes_that_arrive_as_a_session_ends_are_counted_or_cleared(service: RunningService) -> None:
    client, photo, runtime = service.client(uuid4().hex), small_photo(79), service.runtime
    [outcome] = (await client.create(photo))["outcomes"]
    upload, transition = outcome["upload"], runtime.stores.media.transition
    await run_out(service, upload["id"])
    completed: list[dict[str, Any]] = []

    async def after_a_late_upload(media_id: Any, target: MediaStatus, **more: Any) -> Any:
        if target is MediaStatus.EXPIRED and not completed:
            completed.append({})
            assert (await client.put(upload, photo)).status_code == 200
            completed[0] = await client.complete(upload["id"])
        return await transition(media_id, target, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(runtime.stores.media), "transition", staticmethod(after_a_late_upload))
        await swept(service)
    assert completed[0]["media"]["status"] == "UPLOADED"
    async with service.working():
        assert await client.wait(upload["media"]["id"]) == {upload["media"]["id"]: "READY"}


async def test_a_retry_that_died_half_way_goes_on_although_its_own_copy_is_gone(service: RunningService) -> None:
    client, photo, database = service.client(uuid4().hex), small_photo(80), service.runtime.database
    first = await client.send(photo)
    async with service.working():
        await client.wait(first)
    [outcome] = (await client.create(photo, purpose="PROFILE"))["outcomes"]
    assert outcome["upload"] is None
    linked = await database.media.find_one({"purpose": "PROFILE", "owner_id": client_id(client)})
    async with service.working():
        await client.wait(encode_id("Media", linked["_id"]))
    # As retryProcessing leaves it when it dies before it could enqueue; its session names a copy that is not there.
    await database.uploads.update_one({"_id": linked["_id"]}, {"$set": {"key": f"profile/raw/{linked['_id']}.jpg"}})
    await database.media.update_one(
        {"_id": linked["_id"]},
        {"$set": {"status": "UPLOADED", "waiting_since": datetime(2020, 1, 1, tzinfo=UTC), "processing.generation": 2}},
    )
    await swept(service)
    assert await database.jobs.count_documents({"_id": f"{linked['_id']}:process:2"}) == 1


async def test_a_waiting_session_is_looked_at_less_and_less(service: RunningService, session: Session) -> None:
    media, uploads = service.runtime.database.media, service.runtime.database.uploads
    pauses = []
    for age in (timedelta(0), timedelta(minutes=4), timedelta(hours=5)):
        now = datetime.now(UTC)
        await uploads.update_one(key_of(session.id), {"$set": {"created_at": now - age}})
        await media.update_one(key_of(session.media_id), {"$set": {"waiting_since": now - timedelta(hours=1)}})
        await swept(service, grace=GRACE)
        looked = await media.find_one(key_of(session.media_id))
        pauses.append(looked["waiting_since"] + GRACE - now)
    tolerance = timedelta(seconds=10)
    expected = (GRACE, timedelta(minutes=4), LONGEST_PAUSE)
    assert all(abs(pause - each) < tolerance for pause, each in zip(pauses, expected, strict=True)), pauses


async def test_a_sweep_while_storage_is_away_loses_nothing(
    service: RunningService, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    await session.send(1, 2, 3)
    client = service.runtime.object_store._client

    def gone(**_: Any) -> None:
        raise ConnectionError("storage is away")

    with monkeypatch.context() as patch:
        patch.setattr(client, "head_object", gone)
        await swept(service)
        assert await status(session) == "UPLOADING"
    await swept(service)
    # It was put off for as long as a session of its age is; then it is finished.
    await service.runtime.database.media.update_one(
        key_of(session.media_id), {"$set": {"waiting_since": datetime.now(UTC) - timedelta(hours=1)}}
    )
    await swept(service)
    assert await status(session) == "UPLOADED"


async def test_what_has_arrived_does_not_expire_while_no_worker_comes(service: RunningService) -> None:
    client, store = service.client(uuid4().hex), service.runtime.object_store
    media_id = await client.send(small_photo(78))
    key = (await service.runtime.database.media.find_one(key_of(media_id)))["original"]["key"]

    async def tags() -> list[dict[str, str]]:
        answer = await asyncio.to_thread(store._client.get_object_tagging, Bucket=store.upload_bucket, Key=key)
        return [dict(tag) for tag in answer["TagSet"]]

    assert await tags() == [{"Key": "state", "Value": "unconfirmed"}]
    await swept(service)
    assert await tags() == [{"Key": "state", "Value": "kept"}]
