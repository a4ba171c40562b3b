"""Every query has its index: what the real planner says of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCursor
from pymongo.asynchronous.cursor import AsyncCursor
from uuid6 import uuid7

from indexes.ensure import DECLARED, check, ensure, rebuild
from service.access import ANONYMOUS, MODERATOR_ROLE, Action, Viewer, granted_filters
from service.lifecycle import MediaStatus
from service.models import JobKind, Lane
from service.settings import Settings
from service.stores.annotations import AnnotationStore
from service.stores.database import Database, open_database
from service.stores.jobs import JobStore
from service.stores.media import MediaStore
from service.stores.scans import ScanStore
from tests.documents import ready_media

ANNA = Viewer("owner-3")
MODERATOR = Viewer("mod", frozenset({MODERATOR_ROLE}))


@pytest.fixture(scope="module")
async def database(settings: Settings) -> AsyncIterator[Database]:
    """2,000 media of 20 owners, mostly public and ready, in several purposes, captures, albums and subjects."""
    async with open_database(settings.mongo) as opened:
        await ensure(opened.handle)
        await opened.media.insert_many(
            [
                ready_media(
                    owner_id=f"owner-{index % 20}",
                    purpose=("COMMUNITY", "COMMUNITY", "PROFILE", "MEDICAL")[index % 4],
                    visibility="PRIVATE" if index % 5 == 0 else "PUBLIC",
                    status="PROCESSING" if index % 50 == 0 else "READY",
                    capture_id=f"capture-{index // 4}",
                    subject={"type": "post", "id": str(index // 4)},
                    album_ids=[f"album-{index % 100}"],
                    tags=[f"tag-{index % 40}"],
                )
                for index in range(2_000)
            ]
        )
        yield opened


def stages(plan: Mapping[str, Any]) -> set[str]:
    inner = [plan[name] for name in ("inputStage",) if name in plan]
    inner += plan.get("inputStages", [])
    return {plan["stage"]}.union(*(stages(stage) for stage in inner))


async def explained(database: Database, query: dict[str, Any], viewer: Viewer, limit: int = 21) -> Mapping[str, Any]:
    """The plan of exactly the query that the store sends."""
    with pytest.MonkeyPatch.context() as patch:
        store = MediaStore(database)
        sent: list[Any] = []
        patch.setattr(AsyncCursor, "to_list", lambda cursor, _: _remember(sent, cursor))
        await store.list_page(query, access=granted_filters(viewer, Action.READ), before=None, limit=limit, fields=())
    plan: Mapping[str, Any] = await sent[0].explain()
    return plan


async def _remember(sent: list[Any], cursor: Any) -> list[Any]:
    sent.append(cursor)
    return []


FEED = {"purpose": "COMMUNITY", "status": "READY"}


@pytest.mark.parametrize("viewer", [ANONYMOUS, ANNA, MODERATOR], ids=["anonymous", "owner", "moderator"])
@pytest.mark.parametrize(
    "query",
    [
        FEED,
        {},
        {"owner_id": "owner-3"},
        {"owner_id": "owner-3", "purpose": "PROFILE"},
        {"capture_id": "capture-7"},
        {"subject.type": "post", "subject.id": "9"},
        {"album_ids": "album-3"},
        {"tags": {"$all": ["tag-3"]}},
    ],
    ids=["feed", "all", "owner", "owner-purpose", "capture", "subject", "album", "tag"],
)
async def test_lists_are_read_from_an_index_in_order(database: Database, query: dict[str, Any], viewer: Viewer) -> None:
    plan = await explained(database, query, viewer)
    found = stages(plan["queryPlanner"]["winningPlan"])
    assert "COLLSCAN" not in found
    assert "SORT" not in found, "the page must come out of the index in order"


@pytest.mark.parametrize("viewer", [ANONYMOUS, ANNA, MODERATOR], ids=["anonymous", "owner", "moderator"])
async def test_feed_reads_little_more_than_it_returns(database: Database, viewer: Viewer) -> None:
    plan = await explained(database, FEED, viewer)
    stats = plan["executionStats"]
    assert stats["nReturned"] == 21
    assert stats["totalDocsExamined"] <= 1.2 * stats["nReturned"]
    # A merge of several branches looks one ahead in each.
    assert stats["totalKeysExamined"] <= 1.2 * stats["nReturned"] + 3


async def test_what_only_its_owner_sees_is_read_from_an_index_of_its_own(database: Database) -> None:
    sent: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AsyncCursor, "to_list", lambda cursor, _: _remember(sent, cursor))
        await MediaStore(database).list_own_private("owner-5", "COMMUNITY", limit=21, fields=("title",))
    plan = await sent[0].explain()
    stats = plan["executionStats"]
    assert not {"COLLSCAN", "SORT"} & stages(plan["queryPlanner"]["winningPlan"])
    # However many public ones they have.
    assert 0 < stats["nReturned"] == stats["totalDocsExamined"] < 60
    assert stats["totalKeysExamined"] <= stats["nReturned"] + 1


async def test_claim_is_read_from_its_index(database: Database) -> None:
    jobs = JobStore(database)
    for _ in range(50):
        await jobs.enqueue(uuid7(), JobKind.RENDER, lane=Lane.BACKFILL)
    command = {
        "findAndModify": "jobs",
        "query": {
            "state": "open",
            "workload": "pictures",
            "lane_rank": {"$in": [0, 1, 2]},
            "$expr": {"$lte": ["$visible_at", "$$NOW"]},
        },
        "sort": {"lane_rank": 1, "visible_at": 1},
        "update": {"$set": {"probe": 1}},
    }
    plan = await database.handle.command({"explain": command, "verbosity": "executionStats"})
    found = stages(plan["queryPlanner"]["winningPlan"])
    assert "IXSCAN" in found
    # Sorting would read every open job for each claim.
    assert not {"COLLSCAN", "SORT"} & found
    assert plan["executionStats"]["totalDocsExamined"] <= 2


async def test_sweep_is_read_from_its_index(database: Database) -> None:
    command = {
        "find": "media",
        "filter": {
            "waiting_since": {"$lt": datetime.now(UTC)},
            "status": {"$in": ["INITIATED", "UPLOADED", "EXPIRED"]},
        },
        "sort": {"waiting_since": 1},
    }
    plan = await database.handle.command({"explain": command})
    assert not {"COLLSCAN", "SORT"} & stages(plan["queryPlanner"]["winningPlan"])


async def test_known_content_is_read_from_its_index(database: Database) -> None:
    digests = [f"{number:064x}" for number in range(20)]
    owned = [ready_media(owner_id="collector", content={"sha256": digest, "bytes": 1}) for digest in digests]
    others = [ready_media(owner_id="collector") for _ in range(500)]
    await database.media.insert_many([*owned, *others])
    command = {
        "find": "media",
        "filter": {
            "owner_id": "collector",
            "content.sha256": {"$in": digests[:10]},
            "status": {"$in": ["PROCESSING", "READY", "UPLOADED"]},
        },
        "sort": {"_id": 1},
        "hint": "owner_content",
    }
    plan = await database.handle.command({"explain": command, "verbosity": "executionStats"})
    stats = plan["executionStats"]
    assert not {"COLLSCAN", "SORT"} & stages(plan["queryPlanner"]["winningPlan"])
    assert stats["nReturned"] == 10
    assert stats["totalDocsExamined"] <= 1.2 * stats["nReturned"]


async def test_open_sessions_of_a_content_are_read_from_their_index(database: Database) -> None:
    digests = [f"{number:064x}" for number in range(10)]
    waiting = [
        ready_media(
            owner_id="sender",
            status="INITIATED",
            waiting_since=datetime.now(UTC),
            content={"announced_sha256": digest, "bytes": 1},
        )
        for digest in digests
    ]
    await database.media.insert_many([*waiting, *(ready_media(owner_id="sender") for _ in range(500))])
    sent: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AsyncIOMotorCursor, "to_list", lambda cursor, _: _remember(sent, cursor))
        await MediaStore(database).find_awaited("sender", digests, fields=("purpose",))
    plan = await sent[0].explain()
    stats = plan["executionStats"]
    assert not {"COLLSCAN", "SORT"} & stages(plan["queryPlanner"]["winningPlan"])
    assert (stats["nReturned"], stats["totalDocsExamined"]) == (10, 10)


@pytest.mark.parametrize("query", [{"key": "community/raw/x.jpg"}, {"refs": "x"}])
async def test_references_to_content_are_read_from_their_index(database: Database, query: dict[str, Any]) -> None:
    await database.contents.insert_many(
        [{"_id": f"{query}-{n}", "key": f"{query}/{n}", "refs": [uuid7()]} for n in range(50)]
    )
    plan = await database.handle.command({"explain": {"find": "contents", "filter": query}})
    assert "COLLSCAN" not in stages(plan["queryPlanner"]["winningPlan"])


async def test_reconciliation_reads_what_it_compares_from_indexes(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans = ScanStore(database)
    sent: list[Any] = []
    monkeypatch.setattr(AsyncIOMotorCursor, "to_list", lambda cursor, _: _remember(sent, cursor))
    fields = ("original", "renditions.key")
    await scans.media_page(UUID(int=0), limit=50, fields=fields, statuses={MediaStatus.READY, MediaStatus.DELETED})
    await scans.content_page("0", limit=50)
    plans = [await cursor.explain() for cursor in sent]
    command = {"find": "contents", "filter": {"key": {"$in": ["a", "b"]}, "refs": {"$ne": []}}}
    plans.append(await database.handle.command({"explain": command}))
    for plan in plans:
        assert not {"COLLSCAN", "SORT"} & stages(plan["queryPlanner"]["winningPlan"])
    # The few media that wait between those that are looked at are read and passed over.
    assert plans[0]["executionStats"]["totalDocsExamined"] <= 55


async def test_perceptual_hashes_come_from_the_index_alone(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = [ready_media(owner_id="photographer", hashes={"phash": n << 40}) for n in range(-30, 30)]
    without = [ready_media(owner_id="photographer", hashes={}) for _ in range(20)]
    await database.media.insert_many([*hashed, *without, ready_media(owner_id="photographer", status="DELETED")])
    store = AnnotationStore(database)
    newest = await store.newest_hashes("photographer", limit=50)
    assert list(newest.values()) == [n << 40 for n in reversed(range(-20, 30))]
    sent: list[Any] = []
    monkeypatch.setattr(AsyncIOMotorCursor, "to_list", lambda cursor, _: _remember(sent, cursor))
    await store.newest_hashes("photographer", limit=50)
    stats = (await sent[0].explain())["executionStats"]
    assert (stats["nReturned"], stats["totalDocsExamined"]) == (50, 0)
    assert stats["totalKeysExamined"] <= 51


@pytest.mark.parametrize("viewer", [ANONYMOUS, ANNA, MODERATOR], ids=["anonymous", "owner", "moderator"])
async def test_annotations_are_found_by_their_index(
    database: Database, viewer: Viewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotated = [ready_media(annotations=[{"id": uuid7()} for _ in range(5)]) for _ in range(40)]
    await database.media.insert_many(annotated)
    store, asked = AnnotationStore(database), [media["annotations"][3]["id"] for media in annotated[:10]]
    access = granted_filters(viewer, Action.READ)
    assert len(await store.find_holders(asked, access=access)) == 10
    sent: list[Any] = []
    monkeypatch.setattr(AsyncIOMotorCursor, "to_list", lambda cursor, _: _remember(sent, cursor))
    await store.find_holders(asked, access=access)
    stats = (await sent[0].explain())["executionStats"]
    assert (stats["nReturned"], stats["totalDocsExamined"]) == (10, 10)


@pytest.mark.parametrize(
    ("collection", "query", "sort"),
    [
        ("invalidations", {"state": "waiting"}, {"requested_at": 1, "_id": 1}),
        ("invalidations", {"state": {"$in": ["waiting", "gathered"]}}, {}),
        ("invalidations", {"batch_id": "b", "state": "gathered"}, {}),
        ("invalidations", {"media_id": {"$in": ["m"]}, "state": {"$ne": "completed"}}, {}),
        ("invalidation_batches", {"state": "open"}, {"due_at": 1}),
    ],
)
async def test_invalidations_are_read_from_their_indexes(
    database: Database, collection: str, query: dict[str, Any], sort: dict[str, int]
) -> None:
    command = {"explain": {"find": collection, "filter": query, "sort": sort}}
    plan = await database.handle.command(command)
    assert not {"COLLSCAN", "SORT"} & stages(plan["queryPlanner"]["winningPlan"])


async def test_ensure_twice_changes_nothing_and_drift_is_told_not_dropped(settings: Settings, mongod: str) -> None:
    client: AsyncIOMotorClient[Any] = AsyncIOMotorClient(mongod)
    name = f"test_drift_{uuid7().hex[-12:]}"
    handle = client[name]
    try:
        missing = await check(handle)
        assert {drift.collection for drift in missing} == set(DECLARED)
        assert await ensure(handle) == []
        assert await ensure(handle) == []
        await handle["media"].create_index([("surprise", 1)], name="surprise")
        await handle["media"].drop_index("feed")
        await handle["media"].create_index([("purpose", 1)], name="feed")
        [drift] = await ensure(handle)
        assert (drift.undeclared, drift.different, drift.missing) == (("surprise",), ("feed",), ())
        names = [row["name"] for row in await handle["media"].list_indexes().to_list(None)]
        assert {"surprise", "feed"} <= set(names)
        [drift] = await rebuild(handle)
        assert (drift.undeclared, drift.different, drift.missing) == (("surprise",), (), ())
    finally:
        await client.drop_database(name)
        client.close()
