"""Look-alikes over GraphQL: who sees which, in what order, and what is refused."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.global_id import decode_id, encode_id
from service.access import ANONYMOUS, MODERATOR_ROLE, Viewer
from service.documents import MediaDocument
from service.look_alikes import asked_of_hash, find_look_alikes
from service.perceptual_hash import (
    TRANSFORMS,
    Transform,
    bands_of,
    derived,
    distance,
    from_stored,
    neighbouring_bands,
)
from service.stores.look_alikes import LookAlikeStore
from tests.documents import ready_media
from tests.in_memory import in_memory_database
from tests.unit.conftest import Library

HASH = 0x0F1E_2D3C_4B5A_6978
FLAT = 0b111
VIEWERS = {
    "nobody": ANONYMOUS,
    "anna": Viewer("anna"),
    "bea": Viewer("bea"),
    "mod": Viewer("mod", frozenset({MODERATOR_ROLE})),
}

SIMILAR = """
query Q($id: ID!, $maxDistance: Int, $first: Int, $transformed: Boolean! = false) {
  media(id: $id) {
    similar(maxDistance: $maxDistance, first: $first, includeTransformed: $transformed) {
      distance transform media { id title }
    }
  }
}
"""
SIMILAR_MEDIA = """
query Q($hash: PerceptualHash!, $maxDistance: Int = 6, $first: Int = 20, $transformed: Boolean! = false) {
  similarMedia(perceptualHash: $hash, maxDistance: $maxDistance, first: $first, includeTransformed: $transformed) {
    distance transform media { id }
  }
}
"""


def hashed(value: int, **changed: Any) -> MediaDocument:
    bands = bands_of(value)
    return ready_media(hashes={"phash": value, **({} if bands is None else {"bands": bands})}, **changed)


def differing(bits: int, value: int = HASH) -> int:
    """A hash that many bits away."""
    return value ^ ((1 << bits) - 1)


async def similar(library: Library, media: MediaDocument, viewer: Viewer = ANONYMOUS, **asked: Any) -> list[Any]:
    """Of each look-alike the id, the distance and the transform."""
    answer = await library.run(SIMILAR, viewer, id=encode_id("Media", media["_id"]), **asked)
    return [_told(each) for each in answer["media"]["similar"]]


async def similar_to(library: Library, value: int, viewer: Viewer = ANONYMOUS, **asked: Any) -> list[Any]:
    answer = await library.run(SIMILAR_MEDIA, viewer, hash=from_stored(value), **asked)
    return [_told(each) for each in answer["similarMedia"]]


def _told(found: dict[str, Any]) -> tuple[UUID, int, str]:
    decoded = decode_id(found["media"]["id"])
    assert decoded is not None
    return decoded[1], found["distance"], found["transform"]


async def test_nearest_come_first_then_the_newest_and_not_the_media_itself(library: Library) -> None:
    media = [hashed(differing(bits)) for bits in (0, 3, 1, 3, 6, 7)]
    await library.add(*media)
    itself, three, one, three_again, six, seven = (each["_id"] for each in media)
    expected = [(one, 1), (three_again, 3), (three, 3), (six, 6)]
    assert [found[:2] for found in await similar(library, media[0])] == expected
    assert [found[:2] for found in await similar(library, media[0], maxDistance=7)] == [*expected, (seven, 7)]
    assert [found[:2] for found in await similar(library, media[0], first=2)] == expected[:2]
    assert [found[0] for found in await similar_to(library, HASH)] == [itself, *(each for each, _ in expected)]
    assert {found[2] for found in await similar(library, media[0])} == {"IDENTITY"}


async def test_everybody_sees_the_look_alikes_that_they_may_see_and_no_others(library: Library) -> None:
    public = hashed(HASH, owner_id="bea")
    private = hashed(differing(1), owner_id="bea", visibility="PRIVATE")
    failed = hashed(differing(2), owner_id="bea", status="FAILED")
    deleted = hashed(differing(3), owner_id="bea", status="DELETED")
    quarantined = hashed(differing(4), status="QUARANTINED", owner_id="anna")
    await library.add(public, private, failed, deleted, quarantined)
    seen = {name: {found[0] for found in await similar_to(library, HASH, viewer)} for name, viewer in VIEWERS.items()}
    assert seen == {
        "nobody": {public["_id"]},
        "anna": {public["_id"], quarantined["_id"]},
        "bea": {public["_id"], private["_id"], failed["_id"]},
        "mod": {public["_id"], private["_id"], failed["_id"], quarantined["_id"]},
    }
    assert {found[0] for found in await similar(library, public, Viewer("anna"))} == {quarantined["_id"]}


async def test_nothing_looks_like_a_flat_picture_or_one_without_a_hash(library: Library) -> None:
    flat, twin, hashless = hashed(FLAT), hashed(FLAT), ready_media(hashes={})
    await library.add(flat, twin, hashless)
    assert await similar(library, flat) == await similar(library, hashless) == await similar_to(library, FLAT) == []


@pytest.mark.parametrize(
    "asked", [{"maxDistance": 11}, {"maxDistance": -1}, {"first": 0}, {"first": 101}], ids=str
)  # fmt: skip
async def test_what_cannot_be_asked_is_refused(library: Library, asked: dict[str, int]) -> None:
    [field] = asked
    media = hashed(HASH)
    await library.add(media)
    for query, named in ((SIMILAR, {"id": encode_id("Media", media["_id"])}), (SIMILAR_MEDIA, {"hash": "0" * 16})):
        library.media.finds.clear()
        result = await library.post(query, **named, **asked)
        assert f"`{field}` must be" in result.errors[0].message
        assert len(library.media.finds) == (query is SIMILAR), "nothing is looked for"


@pytest.mark.parametrize("rubbish", ["", "0f", "0" * 15 + "G", "0" * 17, "0F0F0F0F0F0F0F0F"])
async def test_rubbish_is_no_hash(library: Library, rubbish: str) -> None:
    result = await library.post(SIMILAR_MEDIA, hash=rubbish)
    assert "PerceptualHash must be 16 lower-case hex characters" in result.errors[0].message


async def test_turned_copies_are_found_where_asked_for_by_the_hashes_that_are_known(library: Library) -> None:
    # As processing knows them: not those that can be derived.
    known = [HASH ^ (0x1111_2222_4444_8888 * factor & 2**63 - 1) for factor in range(1, 8)]
    media = hashed(HASH)
    media["hashes"]["transformed"] = known
    copies = [hashed(differing(2, value)) for value in known]
    await library.add(media, *copies)
    assert await similar(library, media) == []
    found = await similar(library, media, transformed=True)
    assert {(media_id, transform) for media_id, _, transform in found} == {
        (copy["_id"], transform.value) for copy, transform in zip(copies, TRANSFORMS, strict=True)
    }
    assert {apart for _, apart, _ in found} == {2}


async def test_turned_copies_are_about_found_where_there_is_only_a_hash(library: Library) -> None:
    old = hashed(HASH)
    mirrored = hashed(differing(3, derived(HASH, Transform.MIRRORED)))
    await library.add(old, mirrored)
    assert await similar_to(library, HASH, transformed=True) == [
        (old["_id"], 0, "IDENTITY"),
        (mirrored["_id"], 3, "MIRRORED"),
    ]
    # One of before these hashes were stored.
    assert await similar(library, old, transformed=True) == [(mirrored["_id"], 3, "MIRRORED")]


async def test_what_is_selected_is_loaded_also_inside_one_another(library: Library) -> None:
    first, second = hashed(HASH, title="one"), hashed(differing(1), title="two")
    await library.add(first, second)
    query = "query Q($id: ID!) { media(id: $id) { similar { media { title similar { media { title width } } } } } }"
    answer = await library.run(query, id=encode_id("Media", first["_id"]))
    assert answer["media"]["similar"] == [
        {"media": {"title": "two", "similar": [{"media": {"title": "one", "width": 4032}}]}}
    ]


async def test_a_page_of_media_may_ask_for_the_look_alikes_of_each_and_asks_once_for_the_same(library: Library) -> None:
    copies = [hashed(HASH) for _ in range(6)]
    other = hashed(~HASH)
    await library.add(*copies, other)
    searches: list[Any] = []
    raw = library.media.find_raw_batches
    library.media.find_raw_batches = lambda *asked, **options: searches.append(asked) or raw(*asked, **options)  # type: ignore[attr-defined]
    library.runtime.stores.look_alikes._reads = library.media  # type: ignore[assignment]
    answer = await library.run("{ feed(purpose: COMMUNITY) { nodes { id similar { media { id } } } } }")
    ids = {encode_id("Media", each["_id"]) for each in copies}
    for node in answer["feed"]["nodes"]:
        expected = ids - {node["id"]} if node["id"] in ids else set()
        assert {each["media"]["id"] for each in node["similar"]} == expected
    assert len(searches) == 2, "one for each hash"


class _Counting(LookAlikeStore):
    """Answers only so many at a time, as where there are very many."""

    asked = 0

    async def newest_with(self, hashes: Any, *, access: Any, limit: int) -> list[tuple[UUID, int]]:
        self.asked += 1
        return await super().newest_with(hashes, access=access, limit=limit)


@pytest.mark.parametrize(("at_once", "hashes_at_once"), [(500, 200), (3, 200), (500, 1), (2, 3)])
async def test_order_is_right_however_many_there_are(
    at_once: int, hashes_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.look_alikes._MEDIA_AT_ONCE", at_once)
    monkeypatch.setattr("service.look_alikes._HASHES_AT_ONCE", hashes_at_once)
    database = in_memory_database()
    media = [hashed(HASH ^ 1 << number % 9 << number % 4) for number in range(40)]
    media += [hashed(differing(number % 7)) for number in range(40)]
    await database.media.insert_many(media)
    ranked = sorted((distance(HASH, each["hashes"]["phash"]), -each["_id"].int, each["_id"]) for each in media)
    store = _Counting(database)
    for first in (1, 5, 30, 80):
        found = await find_look_alikes(
            asked_of_hash(HASH, include_transformed=False),
            search=store,
            store=store,
            access=[{"status": "READY"}],
            max_distance=5,
            first=first,
        )
        expected = [media_id for apart, _, media_id in ranked if apart <= 5]
        assert [each.media_id for each in found] == expected[:first]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=30), st.integers(0, 10))
def test_batches_of_hashes_are_read_whatever_their_numbers(values: list[int], max_distance: int) -> None:
    import asyncio

    # The driver stores what fits 32 bits in as many.
    values = [*values, 0xFFFF, -(2**20)]

    async def near() -> set[int]:
        database = in_memory_database()
        await database.media.insert_many([{"hashes": {"phash": v, "bands": neighbouring_bands(v, 2)}} for v in values])
        store = LookAlikeStore(database)
        loaded = [value async for page in store.all_hashes() for value in page]
        assert set(loaded) == {value for value in values if bands_of(value)}
        return await store.hashes_near(values[:1], max_distance)

    found = asyncio.run(near())
    assert found == {value for value in values if distance(value, values[0]) <= max_distance}
