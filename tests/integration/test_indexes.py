"""Every declared index serves a query: what the real planner makes of what the stores send."""

from __future__ import annotations

import itertools
from collections import ChainMap
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import pytest

from indexes.declaration import Index
from indexes.ensure import DECLARED, ensure
from resolvers.filters import media_query
from schema.media_filter import MediaFilter
from service.access import ANONYMOUS, Action, Viewer, granted_filters
from service.documents import MediaDocument
from service.lifecycle import MediaStatus
from service.settings import Settings
from service.stores.database import Database, open_database
from service.stores.media import MediaStore
from service.stores.media_lists import Read, plan_list
from service.stores.scans import ScanStore
from tests.explain import Plan, explain, sent
from tests.integration.index_cases import ANNA, LISTS, MEDIA_CASES, MODERATOR, Case, hoarded, media_documents
from tests.integration.index_cases_elsewhere import OTHER_CASES
from tests.integration.index_cases_of_keeping import KEEPING_CASES
from tests.integration.index_cases_of_webhooks import WEBHOOK_CASES

_PARTS = ({"media": MEDIA_CASES}, OTHER_CASES, KEEPING_CASES, WEBHOOK_CASES)
CASES: Mapping[str, Mapping[str, Case]] = {
    collection: dict(ChainMap(*(dict(part.get(collection, {})) for part in _PARTS)))
    for collection in {name for part in _PARTS for name in part}
}

VIEWERS = (ANONYMOUS, Viewer("stranger"), ANNA, MODERATOR)

# The database itself asks, in a thread of its own, which explains nothing.
EXPIRY = "expireAfterSeconds"


PAGE = 21


@pytest.fixture(scope="module")
def documents() -> list[MediaDocument]:
    """What is to be found, and then what is in the way of it."""
    return [*media_documents(), *hoarded()]


@pytest.fixture(scope="module")
async def database(settings: Settings, documents: list[MediaDocument]) -> AsyncIterator[Database]:
    async with open_database(settings.mongo) as opened:
        await ensure(opened.handle)
        await opened.media.insert_many(documents)
        yield opened


def test_every_index_has_its_query_and_every_query_its_index() -> None:
    served = {
        (collection, index.name)
        for collection, declared in DECLARED.items()
        for index in declared
        if EXPIRY not in index.options
    }
    asked = {(collection, name) for collection, cases in CASES.items() for name in cases}
    assert asked | {("media", name) for name in LISTS} == served


def check(plan: Plan) -> None:
    """It reads what it returns, in order, and hardly more: nothing, where it returns nothing."""
    assert not {"COLLSCAN", "SORT"} & plan.stages, plan
    assert plan.examined <= 1.2 * plan.returned, plan
    # At the end of each place that it looks at, it reads one key more.
    assert plan.keys <= 1.2 * plan.returned + plan.places, plan


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
    its_own = [plan for plan in plans if plan.indexes == {index.name}]
    assert any(plan.returned for plan in its_own), [(sorted(plan.indexes), plan.returned) for plan in plans]
    for plan in its_own:
        check(plan)


def _looks_through(command: Mapping[str, Any], reads: Sequence[Read]) -> bool:
    """Whether this is the read that has to look for something in what its index holds."""
    return any(
        read.looks_through
        for read in reads
        if read.index == command["hint"] and ("owner_id" in read.query) == ("owner_id" in command["filter"])
    )


@pytest.mark.parametrize("name", LISTS)
async def test_a_list_reads_little_more_than_it_returns_whoever_asks(
    database: Database, documents: list[MediaDocument], name: str
) -> None:
    store, query = MediaStore(database), media_query(MediaFilter(**LISTS[name]))
    for viewer, before in itertools.product(VIEWERS, (None, documents[-100]["_id"])):
        access = granted_filters(viewer, Action.READ)
        async with sent(database.handle, "media") as commands:
            page = await store.list_page(query, access=access, before=before, limit=PAGE, fields=("title",))
        strict, returned = set(), 0
        for command in commands:
            plan = await explain(database.handle, command)
            returned += plan.returned
            if _looks_through(command, plan_list(query, access)):
                assert not {"COLLSCAN", "SORT"} & plan.stages
                # No more than the viewer has, or than lies in the place that was asked for.
                within = {"owner_id": viewer.id} if command["hint"].startswith("owner_") else query
                assert plan.keys <= await database.media.count_documents(within) + plan.places, plan
                if command["hint"] in {"captured", "of_subject", "in_album"}:
                    assert plan.examined == plan.returned, "others' media are passed over, but not read"
            else:
                check(plan)
                strict |= plan.indexes
        assert name in strict
        # Everybody is shown something, so that there is something to be measured.
        assert page
        assert returned >= len(page)


async def test_own_private_media_are_read_whatever_else_they_have(database: Database) -> None:
    async with sent(database.handle, "media") as commands:
        await MediaStore(database).list_own_private("owner-5", "COMMUNITY", limit=21, fields=("title",))
    [plan] = [await explain(database.handle, command) for command in commands]
    assert plan.indexes == {"owner_by_purpose"}
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
