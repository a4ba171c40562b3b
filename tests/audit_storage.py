"""An auditor of its own: what database and storage hold, read with plain drivers, against what must always be true.

It shares no code with what it audits beyond the names of statuses and settings, so that both cannot err alike.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any
from uuid import UUID

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from pymongo import MongoClient

from service.settings import Settings

TERMINAL = {"READY", "FAILED", "QUARANTINED", "EXPIRED", "DELETED"}
# They keep their original; one that is DELETED keeps it for as long as its deletion has not said otherwise.
_HOLD_BYTES = {"UPLOADED", "PROCESSING", "READY", "FAILED", "QUARANTINED"}
AT_ONCE = 8
# So many objects does S3 remove with one request.
_REMOVED_AT_ONCE = 1_000

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Findings:
    """What is wrong, a sentence each.

    `duplicates`: more than one media, or more than one round of work, for one file. `orphans`: objects, parts, sessions
    and references that nothing needs. `stuck`: media and jobs that wait for nothing. `broken`: media that promise what
    storage does not have.
    """

    duplicates: tuple[str, ...] = ()
    orphans: tuple[str, ...] = ()
    stuck: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.sentences())

    def sentences(self) -> list[str]:
        return [f"{each.name}: {sentence}" for each in fields(self) for sentence in getattr(self, each.name)]


@dataclass(frozen=True)
class Snapshot:
    """Everything there is, by id or key. `objects` maps (bucket, key) to the number of its versions and markers.

    `versions`: the ids of these, where real storage was looked at.
    """

    media: Mapping[UUID, Document]
    uploads: Mapping[UUID, Document]
    contents: Mapping[str, Document]
    jobs: tuple[Document, ...]
    kept_deletions: Collection[UUID]
    upload_bucket: str
    media_bucket: str
    objects: Mapping[tuple[str, str], int]
    pending: tuple[str, ...]
    versions: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def live(self) -> set[UUID]:
        """Media that may refer to bytes."""
        return {
            each["_id"]
            for each in self.media.values()
            if each["status"] in _HOLD_BYTES or (each["status"] == "DELETED" and each["_id"] in self.kept_deletions)
        }

    @cached_property
    def needed(self) -> set[tuple[str, str]]:
        originals = {
            (each["original"]["bucket"], each["original"]["key"])
            for each in self.media.values()
            if each["status"] in _HOLD_BYTES
        }
        shared = {(each["bucket"], each["key"]) for each in self.contents.values() if self.live & set(each["refs"])}
        renditions = {
            (self.media_bucket, rendition["key"])
            for each in self.media.values()
            if each["status"] == "READY"
            for rendition in (*each["renditions"], *each.get("retired_renditions", ()))
        }
        return originals | shared | renditions


class Auditor:
    """Reads one database and its two buckets. Blocking; `close` gives the connections back."""

    def __init__(self, settings: Settings) -> None:
        storage = settings.storage
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._buckets = (storage.upload_bucket, storage.media_bucket)
        self._mongo: MongoClient[Document] = MongoClient(settings.mongo.uri.get_secret_value())
        codec: CodecOptions[Document] = CodecOptions(tz_aware=True, uuid_representation=UuidRepresentation.STANDARD)
        self._database = self._mongo.get_database(settings.mongo.database, codec_options=codec)
        self._s3 = boto3.session.Session(storage.access_key, storage.secret_key.get_secret_value()).client(
            "s3",
            endpoint_url=storage.endpoint,
            region_name=storage.region,
            config=Config(
                s3={"addressing_style": "path"},
                max_pool_connections=AT_ONCE,
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def close(self) -> None:
        self._pool.shutdown()
        self._mongo.close()
        self._s3.close()

    def audit(self, *, read: Collection[UUID] | None = None) -> Findings:
        """Every invariant over everything there is; the bytes are read again only of the media in `read` (None: all).

        For a service at rest: no client on its way, no job and no sweep left to run.
        """
        found = self.look()
        return self.judge(found, read=found.media if read is None else read)

    def judge(self, found: Snapshot, *, read: Collection[UUID]) -> Findings:
        """Every invariant over what was looked at, and the bytes of the media in `read`."""
        unreadable = self._unreadable(found, read)
        findings = examine(found)
        return replace(findings, broken=(*findings.broken, *unreadable))

    def look(self) -> Snapshot:
        upload_bucket, media_bucket = self._buckets
        kept = self._database["deletions"].find({"stage": "HIDDEN"}, {"_id": 1})
        versions, pending = self.look_at_storage()
        return Snapshot(
            media=self._by_id("media"),
            uploads=self._by_id("uploads"),
            contents=self._by_id("contents"),
            jobs=tuple(self._database["jobs"].find()),
            kept_deletions={each["_id"] for each in kept},
            upload_bucket=upload_bucket,
            media_bucket=media_bucket,
            objects={place: len(ids) for place, ids in versions.items()},
            pending=pending,
            versions=versions,
        )

    def look_at_storage(self) -> tuple[dict[tuple[str, str], tuple[str, ...]], tuple[str, ...]]:
        """The ids of versions and markers by (bucket, key), and the keys of the multipart uploads nobody ended."""
        listings = self._pool.map(self._listed, self._buckets)
        pending = self._pool.map(self._pending, self._buckets)
        versions: dict[tuple[str, str], tuple[str, ...]] = {}
        for bucket, listed in zip(self._buckets, listings, strict=True):
            for key, version in listed:
                versions[bucket, key] = (*versions.get((bucket, key), ()), version)
        return versions, tuple(key for keys in pending for key in keys)

    def remove(self, found: Snapshot, *, keep: Collection[UUID]) -> None:
        """Remove all that was looked at, and nothing that has come since; what the media in `keep` need stays."""
        kept = replace(found, media={key: media for key, media in found.media.items() if key in keep})
        for bucket in self._buckets:
            gone = [
                {"Key": key, "VersionId": version}
                for (holder, key), versions in found.versions.items()
                if holder == bucket and (holder, key) not in kept.needed
                for version in versions
            ]
            for first in range(0, len(gone), _REMOVED_AT_ONCE):
                page = {"Objects": gone[first : first + _REMOVED_AT_ONCE], "Quiet": True}
                answer = self._s3.delete_objects(Bucket=bucket, Delete=page)
                assert "Errors" not in answer, answer
        contents = {"_id": {"$in": list(found.contents)}}
        self._database["contents"].update_many(contents, {"$pull": {"refs": {"$nin": list(keep)}}})
        self._database["contents"].delete_many({**contents, "refs": []})
        for name, ids in {
            "media": found.media.keys() - keep,
            "uploads": found.uploads.keys() - keep,
            "jobs": {job["_id"] for job in found.jobs if job["media_id"] not in keep},
        }.items():
            self._database[name].delete_many({"_id": {"$in": list(ids)}})

    def _by_id(self, collection: str) -> dict[Any, Document]:
        return {each["_id"]: each for each in self._database[collection].find()}

    def _listed(self, bucket: str) -> list[tuple[str, str]]:
        return [
            (entry["Key"], entry["VersionId"])
            for page in self._s3.get_paginator("list_object_versions").paginate(Bucket=bucket)
            for entry in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
        ]

    def _pending(self, bucket: str) -> list[str]:
        pages = self._s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket)
        return [entry["Key"] for page in pages for entry in page.get("Uploads", ())]

    def _unreadable(self, found: Snapshot, media_ids: Collection[UUID]) -> list[str]:
        promised = [
            promise
            for media_id in media_ids
            if found.media[media_id]["status"] == "READY"
            for promise in _promises(found, found.media[media_id])
        ]
        return [problem for problem in self._pool.map(self._check, promised) if problem is not None]

    def _check(self, promise: _Promise) -> str | None:
        try:
            body = self._s3.get_object(Bucket=promise.bucket, Key=promise.key)["Body"].read()
        except ClientError as error:
            return f"{promise.key} of a READY media: {error.response['Error']['Code']}"
        if len(body) != promise.bytes or hashlib.sha256(body).hexdigest() != promise.sha256:
            return f"{promise.key} of a READY media holds other bytes than its document says"
        return None


def examine(found: Snapshot) -> Findings:
    """Every invariant of a service at rest, but for what the objects' bytes are."""
    return Findings(
        duplicates=tuple(_duplicates(found)),
        orphans=tuple(_orphans(found)),
        stuck=tuple(_stuck(found)),
        broken=tuple(_broken(found)),
    )


@dataclass(frozen=True, slots=True)
class _Promise:
    bucket: str
    key: str
    bytes: int
    sha256: str


def _promises(found: Snapshot, media: Document) -> Iterator[_Promise]:
    original, content = media["original"], media["content"]
    yield _Promise(original["bucket"], original["key"], content["bytes"], content["sha256"])
    for each in media["renditions"]:
        yield _Promise(found.media_bucket, each["key"], each["bytes"], each["sha256"])


def _duplicates(found: Snapshot) -> Iterator[str]:
    # A photo that is posted to another place is another media; to the same place it is the same one sent twice.
    files = Counter(
        (each["owner_id"], each["content"]["sha256"], each["purpose"], each["capture_id"])
        for each in found.media.values()
        if each["status"] not in {"EXPIRED", "DELETED"} and each["content"].get("sha256")
    )
    yield from (f"{count} media of one file of {file[0]}" for file, count in files.items() if count > 1)
    jobs = Counter(
        (job["media_id"], str(job["_id"]).rpartition(":")[2]) for job in found.jobs if job["kind"] == "process"
    )
    yield from (
        f"{count} jobs process media {media_id} in round {n}" for (media_id, n), count in jobs.items() if count > 1
    )
    for media_id, media in found.media.items():
        entered = Counter(change["status"] for change in media["status_history"])
        rounds = media.get("processing", {}).get("generation", 1)
        if repeated := [status for status, count in entered.items() if count > rounds]:
            yield f"media {media_id} entered {repeated} more often than once a round"


def _orphans(found: Snapshot) -> Iterator[str]:
    for (bucket, key), versions in found.objects.items():
        if bucket == found.media_bucket and key.startswith("audit/"):
            # Heads of the audit chains, which no media needs.
            continue
        if (bucket, key) not in found.needed:
            yield f"nothing needs {bucket}/{key}"
        elif bucket == found.upload_bucket and versions > 1:
            # Renditions may be written again, with the same bytes; an original never.
            yield f"{bucket}/{key} has {versions} versions"
    yield from (f"parts of an unfinished upload of {key}" for key in found.pending)
    yield from (f"session {each} has no media" for each in found.uploads.keys() - found.media.keys())
    yield from (f"job {job['_id']} has no media" for job in found.jobs if job["media_id"] not in found.media)
    for content in found.contents.values():
        if not content["refs"]:
            yield f"nobody refers to content {content['key']}"
        yield from (
            f"content {content['key']} is referred to by {ref}, which is not live"
            for ref in content["refs"]
            if ref not in found.live
        )


def _stuck(found: Snapshot) -> Iterator[str]:
    for media_id, media in found.media.items():
        if media["status"] not in TERMINAL:
            yield f"media {media_id} is {media['status']}"
        elif media["status"] == "READY" and not media["processing"]["complete"]:
            yield f"media {media_id} lacks renditions"
    yield from (
        f"job {job['_id']} is {job['state']}"
        for job in found.jobs
        if job["kind"] != "delete" and job["state"] != "done"
    )


def _broken(found: Snapshot) -> Iterator[str]:
    processed = {job["media_id"] for job in found.jobs if job["kind"] == "process"}
    for media_id, media in found.media.items():
        if media["status"] == "READY":
            if not media["renditions"]:
                yield f"media {media_id} is READY without renditions"
            if media_id not in processed:
                yield f"media {media_id} is READY without a job"
            referring = [each for each in found.contents.values() if media_id in each["refs"]]
            if [(each["key"], each["sha256"]) for each in referring] != [
                (media["original"]["key"], media["content"]["sha256"])
            ]:
                yield f"media {media_id} is READY, but its content is {[each['key'] for each in referring]}"
        elif media["status"] == "EXPIRED" and media_id in processed:
            yield f"media {media_id} is EXPIRED and has a job"
