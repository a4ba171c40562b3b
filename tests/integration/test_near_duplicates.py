"""Near-duplicates among an owner's media: the nearest of however many, also before all of them are migrated."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import combinations, islice
from typing import Any

import pytest

from indexes.ensure import DECLARED
from service.annotators.near_duplicate import MAX_TOLD, NearDuplicateFinder
from service.documents import MediaDocument
from service.perceptual_hash import bands_of, is_telling
from service.settings import Settings
from service.stores import Stores, bind_stores
from service.stores.database import Database, open_database
from service.stores.migrations import PENDING_INDEX
from tests.documents import MOMENT, ready_media
from tests.explain import explain, sent

INDEXES = {"look_alikes", "owner_same_hash", PENDING_INDEX}
HASH = 0x7F1E_2D3C_4B5A_6978


def hashed(value: int, *, ready_after_s: int = 0, **changed: Any) -> MediaDocument:
    history = [{"status": "READY", "at": MOMENT + timedelta(seconds=ready_after_s)}]
    hashes = {"phash": value, "bands": bands_of(value)}
    return ready_media(**{"owner_id": "dora", "hashes": hashes, "status_history": history, **changed})


def at_distance(bits: int, count: int) -> list[int]:
    """So many hashes below HASH, that many bits away: in the order of an index they come first."""
    ones = [1 << bit for bit in range(63) if HASH >> bit & 1]
    near = (HASH ^ sum(chosen) for chosen in combinations(ones, bits))
    return list(islice(filter(is_telling, near), count))


@pytest.fixture(scope="module")
async def opened(settings: Settings) -> AsyncIterator[Database]:
    async with open_database(settings.mongo) as database:
        named = [each.specification() for each in DECLARED["media"] if each.name in INDEXES]
        await database.handle.command({"createIndexes": "media", "indexes": named})
        yield database


@pytest.fixture
async def database(opened: Database) -> Database:
    await opened.media.delete_many({})
    return opened


@pytest.fixture
def stores(database: Database) -> Stores:
    return bind_stores(database)


async def told(stores: Stores, media: MediaDocument) -> list[str | None]:
    return [each.text for each in await NearDuplicateFinder(stores).annotate(media, None)]


async def test_the_nearest_are_told_of_however_many_others_are_near(database: Database, stores: Stores) -> None:
    others = [hashed(value) for value in at_distance(4, 1_000)]
    near, exact = hashed(HASH ^ 1 << 4), hashed(HASH)
    new = hashed(HASH, ready_after_s=60)
    await database.media.insert_many([*others, near, exact, new])
    first = [str(exact["_id"]), str(near["_id"])]
    found = await told(stores, new)
    assert found[:2] == first
    assert len(found) == MAX_TOLD
    assert set(found[2:]) <= {str(each["_id"]) for each in others}


async def test_of_equal_ones_the_oldest_are_told_of(database: Database, stores: Stores) -> None:
    copies = [hashed(HASH, ready_after_s=number) for number in range(40)]
    await database.media.insert_many(copies)
    assert await told(stores, copies[3]) == [str(each["_id"]) for each in copies[:3]]
    assert await told(stores, copies[30]) == [str(each["_id"]) for each in copies[:MAX_TOLD]]


@pytest.mark.parametrize("version", [1, 3])
async def test_media_of_before_there_were_bands_are_found_as_well(
    database: Database, stores: Stores, version: int
) -> None:
    bands = {} if version == 1 else {"bands": bands_of(HASH ^ 3)}
    old = hashed(HASH, schema_version=version, hashes={"phash": HASH ^ 3, **bands})
    foreign = hashed(HASH, owner_id="eve")
    deleted = hashed(HASH, status="DELETED")
    far = hashed(HASH ^ 31)
    new = hashed(HASH, ready_after_s=60)
    await database.media.insert_many([old, foreign, deleted, far, new])
    async with sent(database.handle, "media") as commands:
        assert await told(stores, new) == [str(old["_id"])]
    plans = [await explain(database.handle, command) for command in commands]
    asked = {name for plan in plans for name in plan.indexes}
    assert ("look_alikes" in asked) == (version == 3), "bands are asked where all media have them"
    assert not any({"COLLSCAN", "SORT"} & plan.stages for plan in plans)
