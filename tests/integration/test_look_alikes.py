"""Look-alikes on a real database and over HTTP: none is missed, nobody sees more than they may, documents are read for
hits only.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from PIL import Image

from schema.global_id import encode_id
from service.access import ANONYMOUS, MODERATOR_ROLE, Action, Viewer, granted_filters
from service.documents import MediaDocument
from service.look_alike_memory import open_look_alike_memory
from service.look_alikes import LookAlike, asked_of_hash, find_look_alikes
from service.perceptual_hash import MAX_DISTANCE, bands_of, distance, from_stored
from service.runtime import Runtime
from tests.documents import ready_media
from tests.explain import Plan, explain, sent
from tests.in_process import saved
from tests.integration.conftest import RunningService

COFFEE = Path(__file__).parents[2] / "service" / "dev" / "samples" / "coffee.jpg"

ANNA = Viewer("anna")
MODERATOR = Viewer("mod", frozenset({MODERATOR_ROLE}))
SIMILAR_MEDIA = """
query Q($hash: PerceptualHash!, $maxDistance: Int!, $first: Int = 100) {
  similarMedia(perceptualHash: $hash, maxDistance: $maxDistance, first: $first) { distance media { id } }
}
"""


SIMILAR = """
query Q($id: ID!, $transformed: Boolean!) {
  media(id: $id) { similar(maxDistance: 4, includeTransformed: $transformed) { transform media { id status } } }
}
"""


def hashed(value: int, **changed: Any) -> MediaDocument:
    return ready_media(hashes={"phash": value, "bands": bands_of(value)}, **changed)


def telling(random: Random) -> int:
    """A hash as `imagehash.phash` makes them: half of the bits are set."""
    value = sum(1 << bit for bit in random.sample(range(64), 32))
    return value - 2**64 if value >> 63 else value


def differing(random: Random, value: int, by: int) -> int:
    for bit in random.sample(range(64), by):
        value ^= 1 << bit if bit < 63 else -(2**63)
    return value


@pytest.fixture(scope="module")
async def album(service: RunningService) -> list[MediaDocument]:
    """3,000 strangers, and near 30 of them others at every distance; some private, some deleted."""
    random = Random(6)
    values = [telling(random) for _ in range(3_000)]
    values += [differing(random, each, by) for each in values[:30] for by in range(MAX_DISTANCE + 3)]
    media = [
        hashed(
            value,
            owner_id=("anna", "bea", "carl")[number % 3],
            visibility="PRIVATE" if number % 4 == 0 else "PUBLIC",
            status="DELETED" if number % 11 == 0 else "READY",
        )
        for number, value in enumerate(values)
    ]
    await service.runtime.database.media.insert_many(media)
    return media


def shown(viewer: Viewer, media: MediaDocument) -> bool:
    if media["status"] != "READY":
        return False
    return media["visibility"] == "PUBLIC" or viewer == MODERATOR or media["owner_id"] == viewer.id


def by_force(media: list[MediaDocument], viewer: Viewer, value: int, max_distance: int) -> list[tuple[str, int]]:
    ranked = sorted(
        (apart, -each["_id"].int, encode_id("Media", each["_id"]))
        for each in media
        if (apart := distance(value, each["hashes"]["phash"])) <= max_distance and shown(viewer, each)
    )
    return [(str(global_id), apart) for apart, _, global_id in ranked]


@pytest.mark.parametrize("max_distance", range(MAX_DISTANCE + 1))
async def test_none_is_missed_and_none_is_shown_to_others(
    service: RunningService, album: list[MediaDocument], max_distance: int
) -> None:
    clients = [
        (ANONYMOUS, service.client(None)),
        (ANNA, service.client("anna")),
        (MODERATOR, service.client("mod", roles=(MODERATOR_ROLE,))),
    ]
    found = 0
    values = {f"v{number}": album[number]["hashes"]["phash"] for number in [*range(0, 30, 6), *range(100, 104)]}
    fields = f"(perceptualHash: $%s, maxDistance: {max_distance}, first: 100) {{ distance media {{ id }} }}"
    parameters = ", ".join(f"${name}: PerceptualHash!" for name in values)
    query = f"query Q({parameters}) {{ {' '.join(f'{name}: similarMedia{fields % name}' for name in values)} }}"
    for viewer, client in clients:
        answer = await client.run(query, **{name: from_stored(value) for name, value in values.items()})
        for name, value in values.items():
            told = [(each["media"]["id"], each["distance"]) for each in answer[name]]
            assert told == by_force(album, viewer, value, max_distance)
            found += len(told)
    assert found > 5 * max_distance


async def test_refusals_have_a_code(service: RunningService) -> None:
    client = service.client(None)
    for asked in ({"hash": "0" * 16, "maxDistance": 11}, {"hash": "0" * 16, "maxDistance": 3, "first": 101}):
        answer = await client.post(SIMILAR_MEDIA, **asked)
        assert [each["extensions"]["code"] for each in answer["errors"]] == ["INVALID_INPUT"], answer


async def test_copies_that_were_uploaded_are_found_also_mirrored_and_rotated(service: RunningService) -> None:
    picture = Image.open(COFFEE).convert("RGB")
    picture.thumbnail((640, 640))
    smaller = saved(picture.resize((picture.width * 2 // 3, picture.height * 2 // 3)), "JPEG", quality=70)
    turned = [
        saved(picture.transpose(turn), "JPEG", quality=85)
        for turn in (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_270)
    ]
    client = service.client("barista")
    async with service.working():
        ids = [await client.send(file) for file in (saved(picture, "JPEG", quality=90), smaller, *turned)]
        await client.wait(*ids)
    original, copy, mirrored, rotated = ids
    found = []
    for transformed in (False, True):
        answer = await client.run(SIMILAR, id=original, transformed=transformed)
        found.append({each["media"]["id"]: each["transform"] for each in answer["media"]["similar"]})
    assert found[0] == {copy: "IDENTITY"}
    assert found[1] == {copy: "IDENTITY", mirrored: "MIRRORED", rotated: "ROTATED_90"}


async def plans_of(service: RunningService, reading: Awaitable[Any]) -> tuple[Any, list[Plan]]:
    """What is read, and the plan of each query that is sent for it."""
    handle = service.runtime.database.handle
    async with sent(handle, "media") as commands:
        read = await reading
    plans = [await explain(handle, command) for command in commands]
    assert plans
    assert not any({"COLLSCAN", "SORT"} & plan.stages for plan in plans)
    assert not any(plan.examined for plan in plans), "documents are read where an index holds all that is asked"
    return read, plans


@pytest.mark.parametrize("max_distance", [4, 10])
async def test_candidates_are_read_from_an_index_alone(
    service: RunningService, album: list[MediaDocument], max_distance: int
) -> None:
    store = service.runtime.stores.look_alikes
    near, plans = await plans_of(service, store.hashes_near([album[3]["hashes"]["phash"]], max_distance))
    assert near
    assert {name for plan in plans for name in plan.indexes} == {"look_alikes"}


@pytest.mark.parametrize("owner_id", [None, "bea"])
async def test_all_hashes_are_read_from_an_index_alone(
    service: RunningService, album: list[MediaDocument], owner_id: str | None
) -> None:
    pages = service.runtime.stores.look_alikes.all_hashes(of_owner=owner_id)
    read, _ = await plans_of(service, _drained(pages))
    stored = {each["hashes"]["phash"] for each in album if owner_id in (None, each["owner_id"])}
    assert stored <= set(read)
    assert owner_id is None or stored == set(read)


async def _drained(pages: AsyncIterator[list[int]]) -> list[int]:
    return [value async for page in pages for value in page]


VIEWERS = pytest.mark.parametrize("viewer", [ANONYMOUS, ANNA, MODERATOR], ids=["anonymous", "owner", "moderator"])


@VIEWERS
async def test_only_what_is_let_through_is_read_however_many_hashes_are_asked_for(
    service: RunningService, album: list[MediaDocument], viewer: Viewer
) -> None:
    store, access = service.runtime.stores.look_alikes, granted_filters(viewer, Action.READ)
    asked = {each["hashes"]["phash"] for each in album[:300] + album[3000:]}
    having = [each for each in album if each["hashes"]["phash"] in asked and shown(viewer, each)]
    newest = sorted(((each["_id"], each["hashes"]["phash"]) for each in having), reverse=True)
    for limit in (50, 1_000):
        found, plans = await plans_of(service, store.newest_with(asked, access=access, limit=limit))
        assert found == newest[:limit]
        assert all(plan.keys <= plan.returned + plan.places for plan in plans)


async def test_what_a_viewer_may_not_see_costs_them_nothing(service: RunningService) -> None:
    value = telling(Random(99))
    copies = [hashed(value, visibility="PRIVATE", owner_id="zoe") for _ in range(2_000)]
    await service.runtime.database.media.insert_many(copies)
    store = service.runtime.stores.look_alikes
    for viewer in (ANONYMOUS, ANNA):
        access = granted_filters(viewer, Action.READ)
        found, plans = await plans_of(service, store.newest_with([value], access=access, limit=500))
        assert found == []
        assert sum(plan.keys for plan in plans) <= 2
    [own] = await store.newest_with([value], access=granted_filters(Viewer("zoe"), Action.READ), limit=1)
    assert own == (copies[-1]["_id"], value)


async def test_of_a_picture_that_everybody_posts_few_are_read(service: RunningService) -> None:
    value = telling(Random(77))
    copies = [hashed(value, visibility="PRIVATE" if number % 2 else "PUBLIC") for number in range(600)]
    await service.runtime.database.media.insert_many(copies)
    found = await search(service.runtime, value, 6, first=20)
    newest = [each["_id"] for each in reversed(copies) if each["visibility"] == "PUBLIC"]
    assert [each.media_id for each in found] == newest[:20]
    store, access = service.runtime.stores.look_alikes, granted_filters(ANONYMOUS, Action.READ)
    _, [plan] = await plans_of(service, store.newest_with([value], access=access, limit=20))
    assert plan.keys <= 21


async def search(
    runtime: Runtime, value: int, max_distance: int, *, first: int = 100, memory: Any = None
) -> list[LookAlike]:
    store = runtime.stores.look_alikes
    found = await find_look_alikes(
        asked_of_hash(value, include_transformed=False),
        search=memory or store,
        store=store,
        access=granted_filters(ANONYMOUS, Action.READ),
        max_distance=max_distance,
        first=first,
    )
    return list(found)


async def test_memory_follows_the_change_stream(service: RunningService, album: list[MediaDocument]) -> None:
    runtime, random = service.runtime, Random(9)
    values = [each["hashes"]["phash"] for each in album[:6]]
    await service.change_feed.ready()
    memory_of = open_look_alike_memory(runtime.stores.look_alikes, service.change_feed, capacity=100_000)
    async with memory_of as memory:
        assert memory is not None
        # As if it had been there when the stream began.
        memory._is_stale = True
        memory._woken.set()
        for number in range(40):
            value = differing(random, values[number % 6], random.randrange(9))
            document = hashed(value, title=f"fresh {number}")
            await runtime.database.media.insert_one(document)
            if number % 4 == 0:
                other = differing(random, values[number % 6], random.randrange(9))
                changed = {"hashes": {"phash": other, "bands": bands_of(other)}}
                await runtime.database.media.update_one({"_id": document["_id"]}, {"$set": changed})
            if number % 7 == 0:
                await runtime.database.media.update_one(
                    {"_id": document["_id"]}, {"$set": {"status": "DELETED"}, "$unset": {"hashes": 1}}
                )
        for value in values:
            expected = await search(runtime, value, 8)
            async with asyncio.timeout(10):
                while not memory.is_ready() or await search(runtime, value, 8, memory=memory) != expected:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
