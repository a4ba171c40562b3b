"""Counting anew what owners have, in documents that stay small; what cannot be counted holds nothing up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from uuid6 import uuid7

from service.access import Viewer
from service.deletion import request_deletions
from service.errors import ErrorCode, Problem, TemporarilyUnavailable
from service.lifecycle import MediaStatus
from service.quota_recounts import Recount, recount_owners
from service.quotas import count, count_all, look_after
from service.settings import Settings
from service.stores import Stores, bind_stores
from service.stores.database import Database, open_database
from service.stores.quotas import Move, QuotaStore
from tests.integration.test_quotas import arrive, opened, stored, write

S = MediaStatus


@pytest.fixture(scope="module")
async def database(settings: Settings) -> AsyncIterator[Database]:
    async with open_database(settings.mongo) as opened:
        await opened.media.create_index([("owner_id", 1)], name="owner_newest")
        await opened.quotas.insert_one({"_id": "nobody"})
        await opened.quotas.delete_one({"_id": "nobody"})
        yield opened


@pytest.fixture(scope="module")
def stores(database: Database) -> Stores:
    return bind_stores(database)


@pytest.fixture
def owner() -> str:
    return f"owner {uuid4()}"


async def ready(stores: Stores, owner: str, *, session: bool = True) -> UUID:
    """A READY media of 1,000 bytes that nobody has counted."""
    media_id = uuid7()
    await write(stores, owner, media_id, 1_000, session=session)
    for status in (S.UPLOADED, S.PROCESSING, S.READY):
        await stores.media.transition(media_id, status)
    return media_id


async def repaired(stores: Stores, owner: str) -> Recount:
    """What was found of an owner before it was counted anew."""
    [found] = [each async for each in recount_owners(repair=True, owner_id=owner, stores=stores)]
    return found


async def listed(stores: Stores, owner: str) -> int:
    sums = await stores.quotas.get(owner)
    assert sums is not None
    return sums["listed"]


async def test_media_without_a_session_count_once(stores: Stores, owner: str) -> None:
    media_id = await ready(stores, owner, session=False)
    assert [(await repaired(stores, owner)).is_right for _ in range(3)] == [False, True, True]
    assert await stored(stores, owner) == (1_000, 0, 0)
    await stores.media.transition(media_id, S.DELETED)
    for _ in range(2):
        await count(owner, media_id, stores=stores)
        await look_after(owner, stores=stores)
    assert (await stored(stores, owner), await listed(stores, owner)) == ((0, 0, 0), 0)


async def test_many_media_are_counted_in_few_writes_of_a_small_document(
    database: Database, stores: Stores, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await database.media.insert_many(
        {
            "_id": uuid7(), "owner_id": owner, "purpose": "COMMUNITY", "status": "READY", "visibility": "PRIVATE",
            "content": {"bytes": 1_000}, "created_at": datetime.now(UTC),
        }
        for _ in range(450)
    )  # fmt: skip
    batches: list[tuple[int, int]] = []

    async def move(store: QuotaStore, owner_id: str, moves: Mapping[UUID, Move], *, generation: int) -> bool:
        batches.append((len(moves), await listed(stores, owner_id)))
        return await moved(store, owner_id, moves, generation=generation)

    moved = QuotaStore.move
    monkeypatch.setattr(QuotaStore, "move", move)
    found = await repaired(stores, owner)
    assert (found.uncounted, found.is_right) == (450, False)
    assert batches == [*[(100, 0)] * 4, (50, 0)]
    assert (await stored(stores, owner), await listed(stores, owner)) == ((450_000, 0, 0), 0)


@pytest.mark.parametrize(
    ("altered", "said"), [("stored", "counted"), ("reserved", "reserved"), ("open", ""), ("listed", "")]
)
async def test_whatever_was_altered_is_found_also_of_who_has_no_media(
    database: Database, stores: Stores, owner: str, altered: str, said: str
) -> None:
    await stores.quotas.open(owner)
    await database.quotas.update_one({"_id": owner}, {"$set": {altered: 10**12}})
    found = {each.owner_id: each async for each in recount_owners(repair=True, stores=stores)}
    assert not found[owner].is_right
    assert not said or getattr(found[owner], said) == 10**12
    assert (await repaired(stores, owner)).is_right
    sums = await stores.quotas.get(owner)
    assert sums is not None
    assert [sums[name] for name in ("stored", "reserved", "open", "listed")] == [0, 0, 0, 0]


async def test_what_is_not_awaited_any_more_is_not_under_way(
    stores: Stores, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.quotas.MOST_OPEN", 2)
    sent: list[UUID] = []
    for _ in range(3):
        media_id = await opened(stores, owner, 10)
        assert isinstance(media_id, UUID)
        await arrive(stores, owner, media_id)
        sent.append(media_id)
    # What is still listed is bounded as well; it goes by itself.
    monkeypatch.setattr("service.quotas.MOST_LISTED", 3)
    refused = await opened(stores, owner, 10)
    assert isinstance(refused, Problem)
    assert (refused.code, refused.retryable) == (ErrorCode.TEMPORARILY_UNAVAILABLE, True)
    for media_id in sent:
        for status in (S.PROCESSING, S.READY):
            await stores.media.transition(media_id, status)
    await look_after(owner, stores=stores)
    assert isinstance(await opened(stores, owner, 10), UUID)


async def test_a_crowded_document_does_not_grow(stores: Stores, owner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    media_ids = [await ready(stores, owner) for _ in range(2)]
    await repaired(stores, owner)
    monkeypatch.setattr("service.quotas._CROWDED", -1)
    for media_id in media_ids:
        await stores.media.transition(media_id, S.DELETED)
        await count(owner, media_id, stores=stores)
        assert await listed(stores, owner) == 0
    assert await stored(stores, owner) == (0, 0, 0)


async def test_deletions_go_on_though_their_bytes_cannot_be_counted(
    database: Database, stores: Stores, owner: str
) -> None:
    media_ids = [await ready(stores, owner) for _ in range(3)]
    await repaired(stores, owner)

    async def refuse(what: Mapping[str, Any]) -> None:
        await database.handle.command("collMod", "quotas", validator=what)

    await refuse({"stored": {"$gt": 2_000}})
    try:
        assert await deleted(stores, owner, media_ids) == [S.DELETED] * 3
        with pytest.raises(TemporarilyUnavailable):
            await count_all(owner, media_ids, stores=stores)
        assert await stored(stores, owner) == (3_000, 0, 0)
    finally:
        await refuse({})
    assert await deleted(stores, owner, media_ids) == [S.DELETED] * 3
    assert await stored(stores, owner) == (0, 0, 0)


async def deleted(stores: Stores, owner: str, media_ids: Sequence[UUID]) -> list[str]:
    await request_deletions(Viewer(owner), media_ids, idempotency_key="all", stores=stores, media_bucket="media")
    return [each["status"] for each in (await stores.media.get_many(media_ids, fields=())).values()]
