"""What ours is compared with on the same MongoDB, and brute force, which says what should have been found."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from uuid import UUID

import numpy as np
from bson import Int64
from numpy.typing import NDArray
from pymongo.collection import Collection

from benchmarks.search.asking import Api, Times, times_of
from benchmarks.search.loading import Population, connect
from benchmarks.search.population import owner_name
from benchmarks.search.questions import FIRST, VIEWER, Asked
from schema.global_id import encode_id

MOST: Final = 100
FEED: Final = {"purpose": "COMMUNITY", "status": "READY", "visibility": "PUBLIC"}
_CARD: Final = ("title", "created_at", "content", "placeholder", "renditions")

# MongoDB 6.0 has no expression for it ($bitXor came with 6.3, and nothing counts bits): this is how it can be told to.
_POPCOUNT: Final = """function(hash, top, bottom) {
  function bits(v) {
    v = v - ((v >>> 1) & 0x55555555);
    v = (v & 0x33333333) + ((v >>> 2) & 0x33333333);
    return ((v + (v >>> 4) & 0x0F0F0F0F) * 0x01010101) >>> 24;
  }
  return bits(hash.top ^ top) + bits(hash.bottom ^ bottom);
}"""


@dataclass(frozen=True, slots=True)
class Found:
    """How answers compare with brute force, over all that was asked at one distance."""

    asked: int
    expected: int
    missed: int
    wrong: int
    most: int


def visible(population: Population) -> NDArray[np.bool_]:
    """What the viewer may find by its hash."""
    return np.asarray(population.is_telling & (population.is_public | (population.owners == VIEWER)))


def check(api: Api, query: str, asked: Sequence[Asked], population: Population) -> Found:
    """Ask for the nearest 100 and compare with what brute force finds among what the viewer may see."""
    numbers = np.flatnonzero(visible(population))
    hashes = population.hashes[numbers].view(np.uint64)
    expected = missed = wrong = most = 0
    for each in asked:
        rows, _ = api.ask(query, each.variables(MOST))
        answered = {row["media"]["id"]: row["distance"] for row in rows["similarMedia"]}
        distances = np.bitwise_count(hashes ^ np.int64(each.stored).view(np.uint64))
        near = np.flatnonzero(distances <= each.distance)
        # The nearest come first, and of those equally near the newest.
        nearest = near[np.lexsort((-near, distances[near]))][:MOST]
        right = {_global_id(population, numbers[place]): int(distances[place]) for place in nearest}
        expected, most = expected + len(right), max(most, len(near))
        missed += len(right.keys() - answered.keys())
        wrong += sum(right.get(media_id) != distance for media_id, distance in answered.items())
    return Found(len(asked), expected, missed, wrong, most)


def _global_id(population: Population, number: int) -> str:
    return encode_id("Media", UUID(bytes=population.ids[number].tobytes()))


def naive_look_alikes(uri: str, database: str, asked: Sequence[Asked]) -> Times:
    """The distance to each hash there is, by an aggregation with a function of the server's JavaScript."""

    def run(each: Asked, media: Collection[dict[str, Any]]) -> None:
        unsigned = each.stored & (2**64 - 1)
        arguments = ["$hashes.phash", _signed(unsigned >> 32), _signed(unsigned & (2**32 - 1))]
        apart = {"$function": {"body": _POPCOUNT, "args": arguments, "lang": "js"}}
        readable = {"$or": [{"visibility": "PUBLIC"}, {"owner_id": owner_name(VIEWER)}]}
        match = {"status": "READY", "hashes.phash": {"$gte": Int64(-(2**63))}, **readable}
        pipeline: list[dict[str, Any]] = [
            {"$match": match},
            {"$set": {"apart": apart}},
            {"$match": {"apart": {"$lte": each.distance}}},
            {"$sort": {"apart": 1, "_id": -1}},
            {"$limit": FIRST},
            {"$project": {"apart": 1}},
        ]
        [*media.aggregate(pipeline)]

    return _timed(uri, database, [partial(run, each) for each in asked])


def _signed(value: int) -> int:
    return value - 2**32 if value >> 31 else value


def places(uri: str, database: str, page: int, times: int) -> list[UUID]:
    """Media of the feed around the end of that page, one every few: cursors that no cache has seen."""
    with connect(uri) as client:
        found = client[database]["media"].find(FEED, {"_id": 1}).sort("_id", -1).skip((page - 1) * FIRST - times)
        return [row["_id"] for row in found.limit(2 * times)]


def pages(uri: str, database: str, cursors: Sequence[UUID], page: int) -> dict[str, Times]:
    """That page of the feed by the driver alone: after a cursor, and by skipping all that comes before."""

    def after(cursor: UUID) -> Callable[[Collection[dict[str, Any]]], None]:
        return lambda media: _read(media, {**FEED, "_id": {"$lt": cursor}}, 0)

    def skipping(more: int) -> Callable[[Collection[dict[str, Any]]], None]:
        return lambda media: _read(media, FEED, (page - 1) * FIRST + more)

    return {
        "keyset": _timed(uri, database, [after(cursor) for cursor in cursors]),
        "skip": _timed(uri, database, [skipping(more) for more in range(min(len(cursors), 40))]),
    }


def _read(media: Collection[dict[str, Any]], query: dict[str, Any], skip: int) -> None:
    [*media.find(query, _CARD).sort("_id", -1).skip(skip).limit(FIRST + 1)]


def _timed(uri: str, database: str, reads: Sequence[Callable[[Collection[dict[str, Any]]], None]]) -> Times:
    seconds = []
    with connect(uri) as client:
        media = client[database]["media"]
        reads[0](media)
        for read in reads:
            started = time.perf_counter()
            read(media)
            seconds.append(time.perf_counter() - started)
    return times_of(seconds)
