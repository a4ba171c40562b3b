"""Following a media: snapshot, every change, the end; across reconnects, strangers and deletions."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from schema.global_id import encode_id
from service.change_feed import ChangeFeed, Topic
from tests.api_client import STATUS
from tests.documents import ready_media
from tests.integration.conftest import RunningService
from tests.photos import small_photo


async def refused(service: RunningService, subject: str | None, *ids: str, after: str | None = None) -> dict[str, Any]:
    """The errors of a subscription that must not run."""
    client = service.client(subject)
    with pytest.raises(AssertionError) as failure:
        async for _ in client.follow(*ids, after=after):
            pass
    return failure.value.args[0]  # type: ignore[no-any-return]


async def test_snapshot_then_every_change_then_the_end(service: RunningService) -> None:
    anna, photo = service.client("anna"), small_photo(1)
    [outcome] = (await anna.create(photo))["outcomes"]
    media_id = outcome["upload"]["media"]["id"]
    events: list[dict[str, Any]] = []
    first = asyncio.Event()

    async def follow() -> None:
        async for event in anna.follow(media_id):
            events.append(event)
            first.set()

    following = asyncio.create_task(follow())
    async with asyncio.timeout(20):
        await first.wait()
        await anna.put(outcome["upload"], photo)
        await anna.complete(outcome["upload"]["id"])
        async with service.working():
            await following
    assert [event["status"] for event in events] == ["INITIATED", "UPLOADED", "PROCESSING", "READY"]
    assert [event["sequence"] for event in events] == [1, 2, 3, 4]
    progress = [event["progress"] for event in events]
    assert progress == sorted(progress)
    assert (progress[0], progress[-1]) == (0.0, 1.0)


async def test_resumes_after_a_reconnect_without_a_gap_or_a_repeat(service: RunningService) -> None:
    anna = service.client("anna")
    [outcome] = (await anna.create(small_photo(2)))["outcomes"]
    media_id = outcome["upload"]["media"]["id"]
    async for event in anna.follow(media_id):
        cursor = event["cursor"]
        break
    # Everything happens while nobody listens.
    await anna.put(outcome["upload"], small_photo(2))
    await anna.complete(outcome["upload"]["id"])
    async with service.working():
        await anna.wait(media_id)
    seen = [event["status"] async for event in anna.follow(media_id, after=cursor)]
    assert seen == ["UPLOADED", "PROCESSING", "READY"]


async def test_terminal_media_give_their_status_and_end(service: RunningService) -> None:
    media = ready_media()
    await service.runtime.database.media.insert_one(media)
    events = [event async for event in service.client(None).follow(encode_id("Media", media["_id"]))]
    assert [event["status"] for event in events] == ["READY"]


async def test_several_media_end_together(service: RunningService) -> None:
    anna = service.client("anna")
    ids = [await anna.send(small_photo(seed)) for seed in (3, 4, 5)]
    async with service.working():
        assert await anna.wait(*ids) == dict.fromkeys(ids, "READY")


async def test_owner_who_waits_learns_of_the_deletion(service: RunningService) -> None:
    anna = service.client("anna")
    [outcome] = (await anna.create(small_photo(6)))["outcomes"]
    media_id = outcome["upload"]["media"]["id"]
    seen = []
    async with asyncio.timeout(10):
        async for event in anna.follow(media_id):
            seen.append(event["status"])
            if len(seen) == 1:
                await anna.delete(media_id)
    assert seen == ["INITIATED", "DELETED"]


async def test_strangers_and_unknown_ids_are_refused_alike(service: RunningService) -> None:
    anna = service.client("anna")
    [outcome] = (await anna.create(small_photo(7)))["outcomes"]
    theirs = outcome["upload"]["media"]["id"]
    unknown = encode_id("Media", ready_media()["_id"])
    for subject in ("bert", None):
        answers = [await refused(service, subject, asked) for asked in (theirs, unknown, "rubbish")]
        codes = {str(answer).count("NOT_FOUND") for answer in answers}
        assert codes == {1}, answers


async def test_wrong_cursor_and_too_many_ids(service: RunningService) -> None:
    media = ready_media()
    await service.runtime.database.media.insert_one(media)
    media_id = encode_id("Media", media["_id"])
    assert "INVALID_INPUT" in str(await refused(service, "anna", media_id, after="rubbish"))
    assert "INVALID_INPUT" in str(await refused(service, "anna", *[encode_id("Media", ready_media()["_id"])] * 0))


async def test_bad_token_closes_the_socket_and_tells_nothing(service: RunningService) -> None:
    address = service.url.replace("http", "ws", 1) + "/graphql"
    async with connect(address, subprotocols=["graphql-transport-ws"], proxy=None) as socket:  # type: ignore[list-item]
        await socket.send('{"type":"connection_init","payload":{"authorization":"Bearer rubbish"}}')
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 4403


async def test_followers_leave_nothing_behind(service: RunningService) -> None:
    feed = ChangeFeed(service.runtime.database)
    topics = [Topic("status", ready_media()["_id"]) for _ in range(3)]
    with feed.follow(topics), feed.follow(topics[:1]):
        assert len(feed._followers) == 3
    assert feed._followers == {}


async def test_followers_survive_a_change_stream_that_breaks(service: RunningService) -> None:
    anna = service.client("anna")
    [outcome] = (await anna.create(small_photo(8)))["outcomes"]
    media_id, seen = outcome["upload"]["media"]["id"], []
    async with asyncio.timeout(20):
        async for event in anna.follow(media_id):
            seen.append(event["status"])
            if len(seen) == 1:
                # Every cursor of the server dies, the change stream's included.
                admin = service.runtime.database.handle.client["admin"]
                operations = admin.aggregate([{"$currentOp": {"idleCursors": True, "allUsers": True}}])
                async for operation in operations:
                    cursor = operation.get("cursor") or {}
                    if "changeStream" in str(cursor.get("originatingCommand")):
                        collection = operation["ns"].split(".", 1)[1]
                        await service.runtime.database.handle.command(
                            {"killCursors": collection, "cursors": [cursor["cursorId"]]}
                        )
                await anna.delete(media_id)
    assert seen == ["INITIATED", "DELETED"]


async def test_messages_are_json_of_the_protocol(service: RunningService) -> None:
    media = ready_media()
    await service.runtime.database.media.insert_one(media)
    address = service.url.replace("http", "ws", 1) + "/graphql"
    async with connect(address, subprotocols=["graphql-transport-ws"], proxy=None) as socket:  # type: ignore[list-item]
        await socket.send('{"type":"connection_init"}')
        assert orjson.loads(await socket.recv()) == {"type": "connection_ack"}
        variables = {"ids": [encode_id("Media", media["_id"])]}
        subscribe = {"type": "subscribe", "id": "a", "payload": {"query": STATUS, "variables": variables}}
        await socket.send(orjson.dumps(subscribe).decode())
        types = [orjson.loads(await socket.recv())["type"] for _ in range(2)]
        assert types == ["next", "complete"]
