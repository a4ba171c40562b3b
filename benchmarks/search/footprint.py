"""What media leave on disk where they arrive one after another, and where their indexes are built at once afterwards.

Each media is written as the service writes it: announced, then READY, then annotated, with every declared index and
that of the shard key in place. Then all of it is copied, and the same indexes are built over the copy.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import numpy as np
from anyio import to_thread
from pymongo import ReplaceOne
from pymongo.database import Database

from benchmarks.search.loading import build_indexes, connect
from benchmarks.search.population import Cast, cast, search_document
from benchmarks.search.stage import staged
from benchmarks.stack import machine
from service.stores.contents import content_id
from service.stores.embeddings import packed, row_id

COUNT: Final = 100_000
DIMENSIONS: Final = 512
MODEL: Final = "clip@1"
# Of each collection that is sharded, what it is sharded by.
SHARD_KEYS: Final = {
    "media": "_id",
    "uploads": "_id",
    "contents": "_id",
    "annotations": "media_id",
    "embeddings": "media_id",
    "idempotency": "_id",
}
SHARD_KEY_INDEX: Final = "shard_key"
_COLLECTIONS: Final = (*SHARD_KEYS, "jobs")
_ONE_AFTER_ANOTHER, _AT_ONCE = "inserted", "built"
_TASK: Final = 500
_CHECKPOINTS: Final = 3
# What processing and annotating add.
_LATER: Final = ("hashes", "placeholder", "renditions", "first_viewable_at", "embedded")
_LAST: Final = ("annotations", "annotation_segments", "annotation_count", "labels")
_OPERATIONS: Final = 6
_KINDS: Final = ("PROCESS", "ANNOTATE/labels", "ANNOTATE/near")


async def measure(count: int = COUNT) -> dict[str, Any]:
    """Of each collection and way of writing: documents, bytes of one, bytes on disk, and of each index.

    `reusable`: bytes of each file that hold nothing any more. Checkpoints write pages anew before they let go of the
    old ones, so that a file which is rewritten within a minute, as all are here, is half empty.
    """
    with tempfile.TemporaryDirectory(prefix="media-footprint-") as name:
        async with staged(Path(name)) as stage:
            found = await to_thread.run_sync(_measure, stage.uri, count)
    return {"machine": machine(), **found}


def _measure(uri: str, count: int) -> dict[str, Any]:
    who = cast(count)
    _forget_history(uri)
    _prepare(uri, _ONE_AFTER_ANOTHER)
    # Small tasks, so that media come in the order of their ids although two processes write.
    with ProcessPoolExecutor(2, get_context("spawn")) as writers:
        tasks = [
            writers.submit(_write, uri, start, who.owners[start : start + _TASK], who.hashes[start : start + _TASK])
            for start in range(0, count, _TASK)
        ]
        for task in tasks:
            task.result()
    with connect(uri) as client:
        _settle(uri, client[_ONE_AFTER_ANOTHER], count, who)
        for name in _COLLECTIONS:
            client[_ONE_AFTER_ANOTHER][name].aggregate([{"$out": {"db": _AT_ONCE, "coll": name}}])
        _prepare(uri, _AT_ONCE)
        client.admin.command("fsync")
        return {database: _sizes(client[database]) for database in (_ONE_AFTER_ANOTHER, _AT_ONCE)}


def _forget_history(uri: str) -> None:
    # Else all that was replaced in the last five minutes stays, which is all of it here and next to nothing elsewhere.
    with connect(uri) as client:
        client.admin.command({"setParameter": 1, "minSnapshotHistoryWindowInSeconds": 0})


def _settle(uri: str, database: Database[dict[str, Any]], count: int, who: Cast) -> None:
    # What one checkpoint has replaced is free after the next one, which leaves out what nobody has written to since.
    for start in range(count, count + _CHECKPOINTS * _TASK, _TASK):
        _write(uri, start, who.owners[:_TASK], who.hashes[:_TASK])
        database.client.admin.command("fsync")


def _prepare(uri: str, database: str) -> None:
    build_indexes(uri, database)
    with connect(uri) as client:
        for name, path in SHARD_KEYS.items():
            client[database][name].create_index([(path, "hashed")], name=SHARD_KEY_INDEX)


def _sizes(database: Database[dict[str, Any]]) -> dict[str, Any]:
    found = {}
    for name in _COLLECTIONS:
        stats = database.command("collStats", name, indexDetails=True)
        kept = {each: stats.get(each, 0) for each in ("count", "avgObjSize", "storageSize", "indexSizes")}
        reusable = {index: _reusable(details) for index, details in stats["indexDetails"].items()}
        found[name] = {**kept, "reusable": _reusable(stats["wiredTiger"]), "reusableOfIndexes": reusable}
    return found


def _reusable(details: dict[str, Any]) -> int:
    return int(details["block-manager"]["file bytes available for reuse"])


def _write(uri: str, start: int, owners: np.ndarray[Any, Any], hashes: np.ndarray[Any, Any]) -> None:
    made = [search_document(start + each, int(owners[each]), int(hashes[each])) for each in range(len(owners))]
    media = [document for document, _ in made]
    with connect(uri) as client:
        database = client[_ONE_AFTER_ANOTHER]
        _announce(database, media)
        _finish(database, media)
        _replace(database, media, lambda document: document)
        if rows := [row for _, rows in made for row in rows]:
            database["annotations"].insert_many(rows, ordered=False)


def _announce(database: Database[dict[str, Any]], media: list[dict[str, Any]]) -> None:
    database["media"].insert_many([_announced(each) for each in media], ordered=False)
    database["uploads"].insert_many([_upload(each) for each in media if "original" in each], ordered=False)
    database["jobs"].insert_many([job for each in media for job in _jobs(each["_id"])], ordered=False)
    records = [_record() for _ in range(_OPERATIONS * len(media))]
    database["idempotency"].insert_many(records, ordered=False)


def _finish(database: Database[dict[str, Any]], media: list[dict[str, Any]]) -> None:
    _replace(database, media, partial(_without, names=_LAST))
    named = [each for each in media if each["status"] == "READY"]
    database["contents"].insert_many([_content(each) for each in named], ordered=False)
    random = np.random.default_rng(media[0]["_id"].int & 0xFFFF)
    rows = [_embedding(each, random.standard_normal(DIMENSIONS).astype(np.float32).tolist()) for each in named]
    database["embeddings"].insert_many(rows, ordered=False)
    ids = [each["_id"] for each in media]
    database["jobs"].update_many({"media_id": {"$in": ids}, "state": "open"}, {"$set": {"state": "done"}})


def _replace(
    database: Database[dict[str, Any]], media: list[dict[str, Any]], made: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    writes = [ReplaceOne({"_id": each["_id"]}, made(each)) for each in media]
    database["media"].bulk_write(writes, ordered=False)


def _without(document: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in names}


def _announced(document: dict[str, Any]) -> dict[str, Any]:
    rest = _without(document, (*_LATER, *_LAST, "content"))
    content = {"announced_sha256": document.get("content", {}).get("sha256")}
    return {**rest, "status": "INITIATED", "content": content, "waiting_since": document["created_at"]}


def _upload(media: dict[str, Any]) -> dict[str, Any]:
    return {
        "_id": media["_id"],
        "owner_id": media["owner_id"],
        "purpose": media["purpose"],
        "method": "PUT",
        **media["original"],
        "content_type": media["content"]["type"],
        "bytes": media["content"]["bytes"],
        "sha256": media["content"]["sha256"],
        "client": {},
        "created_at": media["created_at"],
        "expires_at": media["created_at"] + timedelta(hours=1),
        "completed_at": media["updated_at"],
    }


def _content(media: dict[str, Any]) -> dict[str, Any]:
    sha256 = media["content"]["sha256"]
    rest = {**media["original"], "bytes": media["content"]["bytes"], "refs": [media["_id"]]}
    return {"_id": content_id(media["owner_id"], sha256), "owner_id": media["owner_id"], "sha256": sha256, **rest}


def _embedding(media: dict[str, Any], vector: list[float]) -> dict[str, Any]:
    return {
        "_id": row_id(media["_id"], MODEL),
        "media_id": media["_id"],
        "owner_id": media["owner_id"],
        "model": MODEL,
        "dimensions": len(vector),
        "vector": packed(vector),
        "last_change": {"id": uuid4().hex * 2, "by": str(uuid4())},
        "schema_version": 1,
        "place": 0,
        "status": media["status"],
        "visibility": media["visibility"],
        "as_of": media["updated_at"],
        "created_at": media["updated_at"],
    }


def _jobs(media_id: UUID) -> list[dict[str, Any]]:
    # Not yet to be forgotten, whenever this runs.
    now = datetime.now(UTC)
    shared = {
        "media_id": media_id,
        "lane": "interactive",
        "lane_rank": 0,
        "workload": "still",
        "state": "open",
        "topic": "",
    }
    progress = {
        "attempt": 1,
        "enqueued_at": now,
        "fence": 1 << 20,
        "visible_at": now,
        "claimed_by": "worker-1",
        "ended_at": now,
    }
    return [
        {"_id": f"{media_id}:{kind}:1", "kind": kind, **shared, **progress, "expires_at": now + timedelta(days=7)}
        for kind in _KINDS
    ]


def _record() -> dict[str, Any]:
    plan = {"mark": str(uuid4())}
    expires_at = datetime.now(UTC) + timedelta(hours=48)
    return {"_id": uuid4().hex + uuid4().hex, "fingerprint": uuid4().hex * 2, "plan": plan, "expires_at": expires_at}
