"""Writes populations into MongoDB and says what that took; what later checks need to know of them is kept beside."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pymongo import MongoClient, WriteConcern

from benchmarks.search.hashes import fresh_hashes
from benchmarks.search.population import cast, first_id_after, search_document
from indexes.ensure import DECLARED

BATCH: Final = 1_000
_TASK: Final = 20_000
# Nothing that is loaded has to survive a crash.
_LAZY: Final = WriteConcern(w=1, j=False)
# As the service writes.
_DURABLE: Final = WriteConcern(w="majority", j=True)

_LOADED: Final = ("media", "annotations")
# How many more are written one batch at a time to see what a write costs with every index in place.
_MORE: Final = 5_000


@dataclass(frozen=True, slots=True)
class Population:
    """What brute force needs: by the media's number its id (16 bytes), hash, owner, and who may find it by its hash."""

    ids: NDArray[np.uint8]
    hashes: NDArray[np.int64]
    owners: NDArray[np.int64]
    is_telling: NDArray[np.bool_]
    is_public: NDArray[np.bool_]

    def save(self, path: Path) -> None:
        """As one file, read back by `load_population`."""
        np.savez(path, **{name: getattr(self, name) for name in self.__slots__})

    def first(self, count: int) -> Population:
        """Of the media 0 to `count` alone."""
        return Population(**{name: getattr(self, name)[:count] for name in self.__slots__})


def load_population(path: Path) -> Population:
    """What `save` has written."""
    with np.load(path) as stored:
        return Population(**{name: stored[name] for name in Population.__slots__})


@dataclass(frozen=True, slots=True)
class Loaded:
    """How long loading took. `indexed_per_s`: media a second with all indexes in place, acknowledged as we do.

    `mark`: of what was written (population.mark). `sizes`: before anything else was written.
    """

    count: int
    insert_s: float
    index_s: float
    indexed_per_s: float
    mark: str
    sizes: dict[str, Any] = field(default_factory=dict)


def connect(uri: str) -> MongoClient[dict[str, Any]]:
    """With UUIDs as the service stores them."""
    return MongoClient(uri, uuidRepresentation="standard", tz_aware=True)


def write_population(uri: str, database: str, count: int) -> tuple[Population, float]:
    """Write the media 0 to `count`, without indexes, by two processes; and the seconds that took."""
    who = cast(count)
    spans = [(start, min(start + _TASK, count)) for start in range(0, count, _TASK)]
    started = time.perf_counter()
    # Spawned: this process has threads, with which forking is not safe.
    with ProcessPoolExecutor(2, get_context("spawn")) as writers:
        tasks = [
            writers.submit(_write, uri, database, start, who.owners[start:stop], who.hashes[start:stop])
            for start, stop in spans
        ]
        parts = [task.result() for task in tasks]
    seconds = time.perf_counter() - started
    ids, telling, public = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Population(ids, who.hashes, who.owners, telling, public), seconds


def _write(uri: str, database: str, start: int, owners: NDArray[Any], hashes: NDArray[Any]) -> tuple[Any, Any, Any]:
    ids, telling, public = bytearray(), [], []
    with connect(uri) as client:
        target = client.get_database(database, write_concern=_LAZY)
        for batch in _documents(start, owners.tolist(), hashes.tolist()):
            target["media"].insert_many([document for document, _ in batch], ordered=False)
            if rows := [row for _, rows in batch for row in rows]:
                target["annotations"].insert_many(rows, ordered=False)
            for document, _ in batch:
                ids += document["_id"].bytes
                telling.append("bands" in document.get("hashes", ()))
                public.append(document["status"] == "READY" and document["visibility"] == "PUBLIC")
    return np.frombuffer(bytes(ids), np.uint8).reshape(-1, 16), np.array(telling), np.array(public)


def _documents(
    start: int, owners: list[int], hashes: list[int]
) -> Iterator[list[tuple[dict[str, Any], list[dict[str, Any]]]]]:
    made = [*zip(range(start, start + len(owners)), owners, hashes, strict=True)]
    for at in range(0, len(made), BATCH):
        yield [search_document(*each) for each in made[at : at + BATCH]]


def copy_first(uri: str, source: str, target: str, count: int) -> None:
    """The media 0 to `count` of one database into another, by the server itself."""
    bound = first_id_after(count)
    with connect(uri) as client:
        for name, path in zip(_LOADED, ("_id", "media_id"), strict=True):
            into = {"$out": {"db": target, "coll": name}}
            client[source][name].aggregate([{"$match": {path: {"$lt": bound}}}, into])


def build_indexes(uri: str, database: str) -> float:
    """Every declared index of every collection, each collection's at once; the seconds that took."""
    started = time.perf_counter()
    with connect(uri) as client:
        for collection, declared in DECLARED.items():
            specifications = [index.specification() for index in declared]
            client[database].command({"createIndexes": collection, "indexes": specifications})
    return time.perf_counter() - started


def has_declared_indexes(uri: str, database: str) -> bool:
    """Whether there are all of them and no others: what their names mean never changes."""
    with connect(uri) as client:
        return all(
            {*client[database][collection].index_information()} - {"_id_"} == {index.name for index in declared}
            for collection, declared in DECLARED.items()
        )


def drop_indexes(uri: str, database: str) -> None:
    """All but those of `_id`."""
    with connect(uri) as client:
        for collection in DECLARED:
            client[database][collection].drop_indexes()


def write_more(uri: str, database: str, count: int) -> float:
    """Media a second, one client, 100 at a time, into a database of `count` with all its indexes; they go again."""
    hashes = fresh_hashes(_MORE, seed=count).tolist()
    documents = [search_document(count + each, each, hashes[each])[0] for each in range(_MORE)]
    with connect(uri) as client:
        media = client.get_database(database, write_concern=_DURABLE)["media"]
        started = time.perf_counter()
        for at in range(0, _MORE, 100):
            media.insert_many(documents[at : at + 100], ordered=False)
        seconds = time.perf_counter() - started
        media.delete_many({"_id": {"$in": [document["_id"] for document in documents]}})
    return _MORE / seconds


def sizes(uri: str, database: str) -> dict[str, Any]:
    """Of each loaded collection: documents, average bytes of one, bytes stored, and bytes of each index."""
    found = {}
    with connect(uri) as client:
        # Those of the files, which are written at checkpoints.
        client.admin.command("fsync")
        for name in _LOADED:
            stats = client[database].command("collStats", name)
            kept = ("count", "avgObjSize", "size", "storageSize", "indexSizes")
            found[name] = {each: stats.get(each, 0) for each in kept}
    return found
