"""The quiet time: what is still to be done is done, and days pass in which sessions and deletion windows end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from anyio import to_thread
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import PyMongoError

from service.audit import AuditAction
from service.settings import Settings
from tests.chaos.audit import miscounted
from tests.chaos.ledger import TERMINAL

Document = dict[str, Any]

_POLL_S = 0.3
_DAYS = timedelta(days=2)
# The kinds of jobs that wait for the end of a session or a window; all others are due at once, or after a failed try.
_WAITING_KINDS = ["delete", "verify"]
# What is due later than this waits for that, not for its next try.
_A_WHILE_MS = 10_000
_CODEC: CodecOptions[Document] = CodecOptions(tz_aware=True, uuid_representation=UuidRepresentation.STANDARD)
_LAST_STAGES = {"VERIFIED"} | ({"CDN_INVALIDATED"} if "deletion.verified" not in set(AuditAction) else set())


def open_database(settings: Settings) -> Database[Document]:
    """By a plain driver; close its `client`."""
    client: MongoClient[Document] = MongoClient(settings.mongo.uri.get_secret_value(), timeoutMS=20_000)
    return client.get_database(settings.mongo.database, codec_options=_CODEC)


def unfinished(database: Database[Document]) -> Iterator[str]:
    """What waits for something that is to happen by itself, or was left wrong, a sentence each."""
    yield from _of_media(database)
    for job in database["jobs"].find({"state": {"$ne": "done"}}, {"state": 1, "attempt": 1, "last_error": 1}):
        yield f"job {job['_id']} is {job['state']} after {job['attempt']} attempts: {job.get('last_error', 'no error')}"
    for deletion in database["deletions"].find({"stage": {"$nin": sorted(_LAST_STAGES)}}, {"stage": 1}):
        yield f"deletion {deletion['_id']} is {deletion['stage']}"
    for each in database["invalidations"].find({"state": {"$ne": "completed"}}, {"state": 1}):
        yield f"invalidation {each['_id']} is {each['state']}"
    for each in database["annotation_rounds"].find({}, {"_id": 1}):
        yield f"a write of annotations, {each['_id']}, is under way"
    yield from _of_events(database)
    for name in database.list_collection_names():
        if count := database[name].count_documents({"audit_pending.0": {"$exists": True}}):
            yield f"{count} of {name} hold entries that are in no audit chain"


def _of_media(database: Database[Document]) -> Iterator[str]:
    for media in database["media"].find({"status": {"$nin": sorted(TERMINAL)}}, {"status": 1}):
        yield f"media {media['_id']} is {media['status']}"
    for media in database["media"].find({"status": "READY", "processing.complete": {"$ne": True}}, {"_id": 1}):
        yield f"media {media['_id']} lacks renditions"
    counted = {each["_id"]: each for each in database["media"].find({}, {"owner_id": 1, "status": 1, "content": 1})}
    yield from miscounted(counted, list(database["quotas"].find()))


def _of_events(database: Database[Document]) -> Iterator[str]:
    for name in ("media", "deletions"):
        if count := database[name].count_documents({"webhook_pending.0": {"$exists": True}}):
            yield f"{count} of {name} hold events that no receiver was told of"
    for each in database["webhook_deliveries"].find({"state": {"$ne": "delivered"}}, {"state": 1, "last_error": 1}):
        yield f"webhook event {each['_id']} is {each['state']}: {each.get('last_error', 'no error')}"


async def settle(database: Database[Document], *, work_s: float, days_s: float) -> None:
    """Wait until work has ended, at most `work_s` seconds; let two days pass; wait again, at most `days_s`.

    Days pass once for each row. So what was to wait for hours is done, and what would wait for longer is seen.
    """
    await _until(database, _is_worked_off, within_s=work_s)
    await to_thread.run_sync(_let_days_pass, database)
    moved = set[str]()

    def is_over(database: Database[Document]) -> bool:
        let_days_pass_for_jobs(database, moved)
        return next(unfinished(database), None) is None

    await _until(database, is_over, within_s=days_s)


def _is_worked_off(database: Database[Document]) -> bool:
    return (
        database["media"].find_one({"status": {"$in": ["UPLOADED", "PROCESSING"]}}) is None
        and database["jobs"].find_one({"state": "open", "kind": {"$nin": _WAITING_KINDS}}) is None
    )


def _let_days_pass(database: Database[Document]) -> None:
    database["uploads"].update_many({"completed_at": {"$exists": False}}, _earlier("created_at"))
    database["uploads"].update_many({"expires_at": {"$exists": True}}, _earlier("expires_at"))
    database["media"].update_many({"waiting_since": {"$exists": True}}, _earlier("created_at", "waiting_since"))
    database["deletions"].update_many({}, _earlier("requested_at"))
    database["invalidations"].update_many({"state": "gathered"}, _earlier("gathered_at"))
    database["quotas"].update_many({"due_at": {"$exists": True}}, _earlier("due_at"))


def let_days_pass_for_jobs(database: Database[Document], moved: set[str]) -> None:
    """The same for jobs that wait for the end of a session or a window, unless they are among `moved` by now."""
    waiting = {"state": "open", "kind": {"$in": _WAITING_KINDS}, "_id": {"$nin": sorted(moved)}}
    waiting["$expr"] = {"$gt": ["$visible_at", {"$add": ["$$NOW", _A_WHILE_MS]}]}
    found = [job["_id"] for job in database["jobs"].find(waiting, {"_id": 1})]
    database["jobs"].update_many({"_id": {"$in": found}}, _earlier("visible_at"))
    moved.update(found)


def _earlier(*names: str) -> list[Document]:
    days = int(_DAYS.total_seconds() * 1000)
    return [{"$set": {name: {"$subtract": [f"${name}", days]} for name in names}}]


async def _until(database: Database[Document], holds: Any, *, within_s: float) -> None:
    # What is still to be done afterwards, the audit reports as stuck.
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if await to_thread.run_sync(holds, database):
                return
        except PyMongoError:
            pass
        await asyncio.sleep(_POLL_S)
