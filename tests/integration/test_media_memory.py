"""Pages from memory, on a real database: what is hidden is gone with the write; ids come from an index alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pymongo.asynchronous.cursor import AsyncRawBatchCursor

from schema.global_id import encode_id
from service.access import ANONYMOUS, Action, Viewer, granted_filters
from service.media_memory import MediaMemory
from tests.documents import ready_media
from tests.integration.conftest import RunningService

FEED = "{ feed(purpose: PET_TAG, first: 5) { nodes { id display { url } } } }"


@pytest.fixture(autouse=True)
async def strictly(service: RunningService) -> AsyncIterator[None]:
    """No whole pages kept, as by MEDIA_HTTP__FIRST_PAGES=0."""
    pages, service.app.state.first_pages = service.app.state.first_pages, None
    yield
    service.app.state.first_pages = pages


async def shown(service: RunningService, subject: str | None = None) -> set[str]:
    answer = await service.client(subject).run(FEED)
    return {node["id"] for node in answer["feed"]["nodes"]}


@pytest.mark.parametrize(
    "write", [{"status": "DELETED"}, {"status": "QUARANTINED"}, {"visibility": "PRIVATE"}], ids=str
)
async def test_what_is_hidden_is_gone_with_the_write(service: RunningService, write: dict[str, Any]) -> None:
    media = [ready_media(purpose="PET_TAG"), ready_media(purpose="PET_TAG")]
    await service.runtime.database.media.insert_many(media)
    gone, stays = (encode_id("Media", each["_id"]) for each in media)
    await service.change_feed.ready()
    for _ in range(30):
        assert {gone, stays} <= await shown(service)
    # By another process, and nobody waits until this one has heard of it.
    await service.runtime.database.media.update_one({"_id": media[0]["_id"]}, {"$set": write})
    now = await shown(service)
    assert stays in now
    assert gone not in now


@pytest.mark.parametrize("viewer", [ANONYMOUS, Viewer("anna")], ids=["anonymous", "owner"])
async def test_ids_are_those_of_the_page(service: RunningService, viewer: Viewer) -> None:
    visibilities = ("PUBLIC", "PRIVATE", "PUBLIC")
    media = [ready_media(purpose="COVER", visibility=visibilities[n % 3], owner_id=f"{n % 2}") for n in range(20)]
    await service.runtime.database.media.insert_many(media)
    query = {"purpose": "COVER", "status": "READY"}
    asked: dict[str, Any] = {"access": granted_filters(viewer, Action.READ), "before": None, "limit": 7}
    store = service.runtime.stores.media
    page = await store.list_page(query, **asked, fields=frozenset())
    assert await store.list_ids(query, **asked) == [each["_id"].bytes for each in page]
    memory = MediaMemory(store, service.change_feed, capacity=100)
    for _ in range(40):
        assert await memory.list_page(query, **asked, fields=frozenset({"title"})) == await store.list_page(
            query, **asked, fields=frozenset({"title"})
        )


async def test_ids_of_the_feed_are_read_from_the_index_alone(
    service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    await service.runtime.database.media.insert_many([ready_media(purpose="ONBOARDING") for _ in range(50)])
    sent: list[Any] = []

    async def remember(cursor: Any, _: Any) -> list[Any]:
        sent.append(cursor)
        return []

    monkeypatch.setattr(AsyncRawBatchCursor, "to_list", remember)
    query = {"purpose": "ONBOARDING", "status": "READY"}
    access = granted_filters(ANONYMOUS, Action.READ)
    await service.runtime.stores.media.list_ids(query, access=access, before=None, limit=31)
    stats = (await sent[0].explain())["executionStats"]
    assert (stats["nReturned"], stats["totalKeysExamined"], stats["totalDocsExamined"]) == (31, 31, 0)
