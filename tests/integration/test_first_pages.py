"""The public first page of a feed comes from memory; what is hidden or deleted leaves it once that is heard of."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from schema.global_id import encode_id
from service.stores.changes import Change
from tests.documents import ready_media
from tests.integration.conftest import RunningService

FEED = "{ feed(purpose: COMMUNITY, first: 5) { nodes { id title display { url } } } }"


async def shown(service: RunningService, subject: str | None = None) -> dict[str, Any]:
    """What the feed shows, by id."""
    answer = await service.client(subject).run(FEED)
    return {node["id"]: node for node in answer["feed"]["nodes"]}


class _Heard:
    """Lets a test wait until the process has heard of the next write to one media."""

    def __init__(self, service: RunningService, media_id: Any) -> None:
        self._event, self._media_id = asyncio.Event(), media_id
        self._end = service.change_feed.listen(self._hear)

    def _hear(self, change: Change | None) -> None:
        if change is not None and change.id == self._media_id:
            self._event.set()

    async def wait(self) -> None:
        async with asyncio.timeout(10):
            await self._event.wait()
        self._end()


@pytest.mark.parametrize(
    "write",
    [
        {"status": "DELETED", "status_sequence": 5},
        {"status": "QUARANTINED", "status_sequence": 5},
        {"visibility": "PRIVATE"},
        None,
    ],
    ids=["deleted", "quarantined", "hidden", "removed"],
)
async def test_what_may_no_longer_be_seen_leaves_the_page_at_once(
    service: RunningService, write: dict[str, Any] | None
) -> None:
    media = [ready_media(), ready_media()]
    collection = service.runtime.database.media
    await service.change_feed.ready()
    heard = _Heard(service, media[1]["_id"])
    await collection.insert_many(media)
    await heard.wait()
    gone, stays = (encode_id("Media", each["_id"]) for each in media)
    assert {gone, stays} <= (await shown(service)).keys()
    assert {gone, stays} <= (await shown(service)).keys()
    heard = _Heard(service, media[0]["_id"])
    if write is None:
        await collection.delete_one({"_id": media[0]["_id"]})
    else:
        await collection.update_one({"_id": media[0]["_id"]}, {"$set": write})
    await heard.wait()
    now = await shown(service)
    assert stays in now
    assert gone not in now


async def test_a_new_title_and_a_new_media_are_seen_at_once(service: RunningService) -> None:
    media = ready_media(title="Before")
    await service.change_feed.ready()
    heard = _Heard(service, media["_id"])
    await service.runtime.database.media.insert_one(media)
    await heard.wait()
    key = encode_id("Media", media["_id"])
    assert (await shown(service))[key]["title"] == "Before"
    heard = _Heard(service, media["_id"])
    await service.runtime.database.media.update_one({"_id": media["_id"]}, {"$set": {"title": "After"}})
    await heard.wait()
    assert (await shown(service))[key]["title"] == "After"
    another = ready_media()
    heard = _Heard(service, another["_id"])
    await service.runtime.database.media.insert_one(another)
    await heard.wait()
    assert encode_id("Media", another["_id"]) in await shown(service)


async def test_a_viewers_own_private_media_are_not_for_others(service: RunningService) -> None:
    private = ready_media(owner_id="anna", visibility="PRIVATE")
    await service.runtime.database.media.insert_one(private)
    key = encode_id("Media", private["_id"])
    for _ in range(2):
        assert key in await shown(service, "anna")
        assert key not in await shown(service)
        assert key not in await shown(service, "bert")
