"""Every declared index serves a query: what the real planner makes of what the stores send."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from uuid import UUID

import pytest

from indexes.declaration import Index
from indexes.ensure import DECLARED, ensure
from service.access import ANONYMOUS, Action, Viewer, granted_filters
from service.lifecycle import MediaStatus
from service.settings import Settings
from service.stores.database import Database, open_database
from service.stores.media import MediaStore
from service.stores.scans import ScanStore
from tests.explain import explain, sent
from tests.integration.index_cases import ANNA, MEDIA_CASES, MODERATOR, Case, media_documents
from tests.integration.index_cases_elsewhere import OTHER_CASES

CASES: Mapping[str, Mapping[str, Case]] = {"media": MEDIA_CASES, **OTHER_CASES}

FEED = {"purpose": "COMMUNITY", "status": "READY"}

# The database itself asks, in a thread of its own, which explains nothing.
EXPIRY = "expireAfterSeconds"


@pytest.fixture(scope="module")
async def database(settings: Settings) -> AsyncIterator[Database]:
    async with open_database(settings.mongo) as opened:
        await ensure(opened.handle)
        await opened.media.insert_many(media_documents())
        yield opened


def test_every_index_has_its_query_and_every_query_its_index() -> None:
    served = {
        (collection, index.name)
        for collection, declared in DECLARED.items()
        for index in declared
        if EXPIRY not in index.options
    }
    assert {(collection, name) for collection, cases in CASES.items() for name in cases} == served


ASKED = [
    pytest.param(collection, index, id=f"{collection}-{index.name}")
    for collection, declared in DECLARED.items()
    for index in declared
    if EXPIRY not in index.options and index.name in CASES.get(collection, {})
]


@pytest.mark.parametrize(("collection", "index"), ASKED)
async def test_its_query_is_answered_from_it_and_reads_little_more(
    database: Database, collection: str, index: Index
) -> None:
    async with sent(database.handle, collection) as commands:
        await CASES[collection][index.name](database)
    plans = [await explain(database.handle, command) for command in commands]
    assert not any("COLLSCAN" in plan.stages for plan in plans), commands
    telling = [plan for plan in plans if plan.indexes == {index.name} and plan.returned]
    assert telling, [(sorted(plan.indexes), plan.returned) for plan in plans]
    for plan in telling:
        assert "SORT" not in plan.stages, "it must come out of the index in order"
        assert plan.examined <= 1.2 * plan.returned
        # At the end of each place that it looks at, it reads one key more.
        assert plan.keys <= 1.2 * plan.returned + plan.places


@pytest.mark.parametrize("viewer", [ANONYMOUS, ANNA, MODERATOR], ids=["anonymous", "owner", "moderator"])
async def test_the_feed_reads_little_more_than_it_returns_whoever_asks(database: Database, viewer: Viewer) -> None:
    access = granted_filters(viewer, Action.READ)
    async with sent(database.handle, "media") as commands:
        await MediaStore(database).list_page(FEED, access=access, before=None, limit=21, fields=())
    [plan] = [await explain(database.handle, command) for command in commands]
    assert not {"COLLSCAN", "SORT"} & plan.stages
    assert plan.returned == 21
    assert plan.examined <= 1.2 * plan.returned
    assert plan.keys <= 1.2 * plan.returned + plan.places


async def test_own_private_media_are_read_whatever_else_they_have(database: Database) -> None:
    async with sent(database.handle, "media") as commands:
        await MediaStore(database).list_own_private("owner-5", "COMMUNITY", limit=21, fields=("title",))
    [plan] = [await explain(database.handle, command) for command in commands]
    assert 0 < plan.returned == plan.examined
    assert plan.keys <= plan.returned + 1


async def test_reconciliation_reads_in_the_order_of_ids(database: Database) -> None:
    scans = ScanStore(database)
    fields, statuses = ("original", "renditions.key"), {MediaStatus.READY, MediaStatus.DELETED}
    async with sent(database.handle, "media") as commands:
        await scans.media_page(UUID(int=0), limit=50, fields=fields, statuses=statuses)
    [plan] = [await explain(database.handle, command) for command in commands]
    assert plan.indexes == {"_id_"}
    # The few media that wait between those that are looked at are read and passed over.
    assert plan.examined <= 1.2 * plan.returned
    async with sent(database.handle, "contents") as commands:
        await scans.content_page("0", limit=50)
        await scans.content_keys({"a", "b"})
    for command in commands:
        assert not {"COLLSCAN", "SORT"} & (await explain(database.handle, command)).stages
