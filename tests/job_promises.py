"""What must hold of media and of their jobs at every moment, told from what it was the moment before."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from typing import Any
from uuid import UUID

from service.object_keys import media_of_rendition
from service.stores.database import Database
from tests.audit_storage import Snapshot
from tests.worker_stand import ObjectsInMemory

Document = dict[str, Any]

URGENT = {("THUMBNAIL", "JPEG"), ("FEED", "JPEG")}
# How far a status is from the beginning: nothing but a retry leads back.
_RANK = {"INITIATED": 0, "UPLOADED": 1, "PROCESSING": 2, "READY": 3, "FAILED": 3, "QUARANTINED": 3}
_RANK |= {"EXPIRED": 4, "DELETED": 5}
_GROWING = ("fence", "render_fence", "generation", "revision", "renders", "retirements")


class Promises:
    """`retries`: how often somebody asked for a media, or for a dead letter of it, to be tried again."""

    def __init__(self, objects: ObjectsInMemory) -> None:
        self.retries: Counter[UUID] = Counter()
        self._objects = objects
        self._seen_by_all: set[str] = set()
        self._media: Mapping[UUID, Document] = {}
        self._jobs: Mapping[str, Document] = {}

    @property
    def work_is_left(self) -> bool:
        """Whether there was an open job, the last time that anybody looked."""
        return any(job["state"] == "open" for job in self._jobs.values())

    def check(self, media: Mapping[UUID, Document], jobs: Mapping[str, Document]) -> None:
        """Compare all there is with what was there before. Raises AssertionError."""
        assert media.keys() >= self._media.keys(), "a media is gone without a trace"
        for media_id, document in media.items():
            self._check_history(document, self._media.get(media_id))
            _check_growth(document.get("processing", {}), self._media.get(media_id, {}).get("processing", {}))
            if document["status"] == "READY":
                check_listed(document, self._objects)
                self._seen_by_all |= {each["key"] for each in document["renditions"] if self._is_public(each["key"])}
        for job_id, job in jobs.items():
            self._check_job(job, self._jobs.get(job_id))
        self._media, self._jobs = media, jobs

    def check_private(self, media: Mapping[UUID, Document]) -> None:
        """Nothing that everybody could see, and caches keep, is left of a media that is private now; once no job is."""
        for document in media.values():
            if document["status"] == "READY" and document["visibility"] == "PRIVATE":
                stored = [key for _, key in self._objects.objects if media_of_rendition(key) == str(document["_id"])]
                assert not self._seen_by_all.intersection(stored), "private, and what was public is still there"
                listed = [each["key"] for each in document["renditions"]]
                assert not [key for key in listed if self._is_public(key)], "private, and caches may show it to all"

    def _is_public(self, key: str) -> bool:
        return self._objects.cache_control[self._objects.media_bucket, key].startswith("public")

    def _check_history(self, document: Document, before: Document | None) -> None:
        history, passed = document["status_history"], (before or {}).get("status_history", [])
        assert history[: len(passed)] == passed, "history was rewritten"
        assert [each["sequence"] for each in history] == list(range(1, document["status_sequence"] + 1))
        assert history[-1]["status"] == document["status"]
        statuses = [each["status"] for each in history]
        back = [(earlier, later) for earlier, later in pairwise(statuses) if _RANK[later] <= _RANK[earlier]]
        assert set(back) <= {("FAILED", "UPLOADED")}, statuses
        rounds = document.get("processing", {}).get("generation", 1)
        assert len(back) == rounds - 1 <= self.retries[document["_id"]], "sent back by nobody"
        assert statuses.count("PROCESSING") <= rounds
        assert statuses.count("READY") <= 1, "committed twice"

    def _check_job(self, job: Document, before: Document | None) -> None:
        if before is None:
            return
        assert job["fence"] >= before["fence"], "a fence went back"
        assert before["state"] != "done" or job["state"] == "done", "what is done was begun again"
        if (before["state"], job["state"]) == ("dead", "open"):
            assert self.retries[job["media_id"]], "begun again by nobody"


def _check_growth(processing: Document, before: Document) -> None:
    for name in _GROWING:
        assert processing.get(name, 0) >= before.get(name, 0), f"{name} went back"


def check_listed(document: Document, objects: ObjectsInMemory) -> None:
    """A READY media can be looked at, and storage holds what it lists with size and checksum."""
    listed = {(each["name"], each["format"]) for each in document["renditions"]}
    assert listed >= URGENT, "READY, and cannot be looked at"
    assert len(listed) == len(document["renditions"])
    assert document["first_viewable_at"] is not None
    for each in document["renditions"]:
        body = objects.objects.get((objects.media_bucket, each["key"]))
        assert body is not None, f"{each['key']} is listed, and gone"
        assert (len(body), hashlib.sha256(body).hexdigest()) == (each["bytes"], each["sha256"])


async def look(database: Database, collection: str) -> dict[Any, Document]:
    """Every document of a collection, by id."""
    return {each["_id"]: each async for each in database.handle[collection].find()}


async def snapshot(database: Database, objects: ObjectsInMemory) -> Snapshot:
    """Everything there is, for the auditor to examine."""
    deletions = await look(database, "deletions")
    return Snapshot(
        media=await look(database, "media"),
        uploads=await look(database, "uploads"),
        contents=await look(database, "contents"),
        jobs=tuple((await look(database, "jobs")).values()),
        kept_deletions={each["_id"] for each in deletions.values() if each["stage"] == "HIDDEN"},
        upload_bucket=objects.upload_bucket,
        media_bucket=objects.media_bucket,
        objects=dict.fromkeys(objects.objects, 1),
        pending=(),
    )
