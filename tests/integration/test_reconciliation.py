"""Storage against the database: every kind of difference is found, a dry run changes nothing, repairs are final."""

from __future__ import annotations

import asyncio
import hashlib
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest
from typer.testing import CliRunner
from uuid6 import uuid7

from service.__main__ import app
from service.commands.reconcile import run_reconciliation
from service.dev.environment import environment_of
from service.object_keys import probe_key
from service.object_store import ObjectStore
from service.reconciliation import Finding, FindingKind, Interruption, Outcome, RunOptions, Tally, reconcile
from service.settings import Settings
from service.stores.contents import content_id
from tests.documents import MOMENT, ready_media
from tests.integration.conftest import RunningService
from tests.photos import small_photo

REPOSITORY = Path(__file__).parents[2]
BYTES = b"some bytes of somebody"
# Nothing is too young for these: what is planted was written a moment ago.
NOW = timedelta(0)


def old_id() -> UUID:
    """An id given when the planted documents were written."""
    fresh = uuid7().int & ((1 << 80) - 1)
    return UUID(int=int(MOMENT.timestamp() * 1000) << 80 | fresh)


@pytest.fixture
async def empty(service: RunningService) -> RunningService:
    """The service with nothing in its database or its buckets."""
    runtime, store = service.runtime, service.runtime.object_store
    for name in await runtime.database.handle.list_collection_names():
        await runtime.database.handle[name].delete_many({})
    for bucket in (store.upload_bucket, store.media_bucket):
        await store.delete(bucket, [each.key async for each in store.list_objects(bucket, "")])
    async for pending in store.multipart.list_pending():
        await store.multipart.abort(pending.key, pending.storage_upload_id)
    return service


async def run(
    service: RunningService,
    *,
    apply: bool,
    older_than: timedelta = NOW,
    on_interruption: Callable[[Interruption], None] = lambda _: None,
    **more: Any,
) -> tuple[list[Finding], Tally]:
    findings: list[Finding] = []
    runtime = service.runtime
    tally = await reconcile(
        RunOptions(apply=apply, older_than=older_than, **more),
        database=runtime.database,
        stores=runtime.stores,
        object_store=runtime.object_store,
        on_finding=findings.append,
        on_interruption=on_interruption,
    )
    return findings, tally


def kinds(findings: list[Finding]) -> list[tuple[str, str]]:
    return sorted((finding.kind, finding.outcome) for finding in findings)


async def write(store: ObjectStore, bucket: str, key: str, body: bytes = BYTES) -> str:
    digest = hashlib.sha256(body).hexdigest()
    await store.put(bucket, key, body, content_type="image/jpeg", cache_control="x", metadata={}, sha256=digest)
    return key


async def snapshot(service: RunningService) -> dict[str, Any]:
    """Everything that a dry run must leave as it is."""
    runtime, store = service.runtime, service.runtime.object_store
    collections = ("media", "uploads", "contents", "deletions", "jobs")
    return {
        **{name: await runtime.database.handle[name].find().sort("_id", 1).to_list(None) for name in collections},
        **{
            bucket: [(each.key, each.bytes) async for each in store.list_objects(bucket, "")]
            for bucket in (store.upload_bucket, store.media_bucket)
        },
        "multipart": [each async for each in store.multipart.list_pending()],
    }


@dataclass
class Planted:
    """`needed`, `orphans`: keys by bucket."""

    needed: dict[str, set[str]] = field(default_factory=dict)
    orphans: dict[str, set[str]] = field(default_factory=dict)


class Planter:
    """Writes documents and objects as earlier accidents would have left them."""

    def __init__(self, service: RunningService) -> None:
        self.database = service.runtime.database
        self.store = service.runtime.object_store
        self.planted = Planted({self.uploads: set(), self.media: set()}, {self.uploads: set(), self.media: set()})

    @property
    def uploads(self) -> str:
        return self.store.upload_bucket

    @property
    def media(self) -> str:
        return self.store.media_bucket

    async def object(self, bucket: str, key: str, *, is_needed: bool) -> str:
        (self.planted.needed if is_needed else self.planted.orphans)[bucket].add(key)
        return await write(self.store, bucket, key)

    async def document(self, media_id: UUID, **changed: Any) -> dict[str, Any]:
        media: Any = ready_media(
            _id=media_id,
            original={"bucket": self.uploads, "key": f"community/raw/{media_id}.jpg"},
            renditions=[],
            content={"type": "image/jpeg", "bytes": len(BYTES), "sha256": hashlib.sha256(BYTES).hexdigest()},
        )
        media.update(changed)
        await self.database.media.insert_one(media)
        return dict(media)

    async def session(self, media_id: UUID, **changed: Any) -> None:
        await self.database.uploads.insert_one(
            {
                "_id": media_id,
                "owner_id": "anna",
                "purpose": "COMMUNITY",
                "method": "SINGLE",
                "bucket": self.uploads,
                "key": f"community/raw/{media_id}.jpg",
                "content_type": "image/jpeg",
                "bytes": len(BYTES),
                "sha256": hashlib.sha256(BYTES).hexdigest(),
                "client": {},
                "created_at": MOMENT,
                "expires_at": MOMENT + timedelta(hours=1),
                **changed,
            }
        )

    async def content(self, key: str, refs: list[UUID], sha256: str) -> None:
        where = {"bucket": self.uploads, "key": key, "bytes": len(BYTES)}
        await self.database.contents.insert_one(
            {"_id": content_id("anna", sha256), "owner_id": "anna", "sha256": sha256, "refs": refs, **where}
        )

    async def everything(self) -> None:
        await self.originals()
        await self.renditions()
        await self.multiparts()
        await self.unfinished()
        await self.object(self.uploads, "somebody/elses.txt", is_needed=True)

    async def originals(self) -> None:
        whole, copied, deleted, expired, unknown = (old_id() for _ in range(5))
        await self.object(self.uploads, (await self.document(whole))["original"]["key"], is_needed=True)
        # A media that was linked to what its owner had already, and whose own copy was left behind.
        shared = f"community/raw/{deleted}.jpg"
        await self.document(copied, original={"bucket": self.uploads, "key": shared})
        await self.object(self.uploads, f"community/raw/{copied}.jpg", is_needed=False)
        # The object of a deleted media that another still needs, and a reference of one that is no more.
        await self.document(deleted, status="DELETED")
        await self.object(self.uploads, shared, is_needed=True)
        await self.content(shared, [copied, old_id()], "1" * 64)
        # A content that nobody refers to.
        lost = f"community/raw/{old_id()}.jpg"
        await self.content(lost, [], "2" * 64)
        await self.object(self.uploads, lost, is_needed=False)
        await self.document(expired, status="EXPIRED")
        for media_id in (expired, unknown):
            await self.object(self.uploads, f"community/raw/{media_id}.jpg", is_needed=False)

    async def renditions(self) -> None:
        ready, busy, unknown = (old_id() for _ in range(3))

        def key(media_id: UUID, generation: str) -> str:
            return f"community/processed/feed/{media_id}/{generation}.jpg"

        rendition = {"name": "FEED", "format": "JPEG", "width": 1, "height": 1, "bytes": len(BYTES), "sha256": ""}
        media = await self.document(ready, renditions=[{**rendition, "key": key(ready, "g2")}])
        await self.object(self.uploads, media["original"]["key"], is_needed=True)
        await self.object(self.media, key(ready, "g2"), is_needed=True)
        await self.object(self.media, key(ready, "g1"), is_needed=False)
        await self.object(self.media, key(unknown, "g1"), is_needed=False)
        # Being processed, however long ago that began: its worker lists it soon.
        media = await self.document(busy, status="PROCESSING")
        await self.object(self.uploads, media["original"]["key"], is_needed=True)
        await self.object(self.media, key(busy, "g1"), is_needed=True)

    async def multiparts(self) -> None:
        waiting, over, unknown = (old_id() for _ in range(3))
        for media_id, status in ((waiting, "UPLOADING"), (over, "EXPIRED")):
            await self.document(media_id, status=status)
            key = f"community/raw/{media_id}.jpg"
            bound = await self.store.multipart.begin(key, "image/jpeg", checksums=False)
            later = datetime.now(UTC) + timedelta(hours=1)
            parts = {"part_size": 5_242_880, "part_count": 2, "storage_upload_id": bound}
            await self.session(media_id, method="MULTIPART", bytes=10_000_000, expires_at=later, **parts)
            if media_id == waiting:
                # A twin that was begun and never remembered.
                await self.store.multipart.begin(key, "image/jpeg", checksums=False)
        await self.store.multipart.begin(f"community/raw/{unknown}.jpg", "image/jpeg", checksums=False)

    async def unfinished(self) -> None:
        arrived, silent, deleted = (old_id() for _ in range(3))
        media = await self.document(arrived, status="INITIATED")
        await self.session(arrived, expires_at=datetime.now(UTC) + timedelta(hours=1))
        await self.object(self.uploads, media["original"]["key"], is_needed=True)
        await self.document(silent, status="INITIATED")
        await self.session(silent)
        media = await self.document(deleted, status="DELETED")
        await self.session(deleted)
        await self.object(self.uploads, media["original"]["key"], is_needed=False)
        gone = {"stage": "HIDDEN", "objects": [media["original"]], "objects_removed": 0, "requested_at": MOMENT}
        whose = {"owner_id": "anna", "purpose": "COMMUNITY", "requested_by": "anna"}
        await self.database.deletions.insert_one({"_id": deleted, **whose, **gone})


FOUND = {
    FindingKind.ORPHAN_OBJECT: 4,
    FindingKind.ORPHAN_RENDITION: 2,
    FindingKind.ABANDONED_MULTIPART: 3,
    FindingKind.UNFINISHED_UPLOAD: 2,
    FindingKind.UNFINISHED_DELETION: 1,
    FindingKind.STALE_REFERENCE: 2,
}


async def test_everything_is_found_nothing_is_changed_then_repaired_for_good(empty: RunningService) -> None:
    planter = Planter(empty)
    await planter.everything()
    before = await snapshot(empty)
    for _ in range(2):
        findings, tally = await run(empty, apply=False)
        found = {kind: tally.of(kind, Outcome.FOUND) for kind in FindingKind if tally.of(kind, Outcome.FOUND)}
        # The deletion that was not carried out has left its object, which is found by itself as well.
        assert found == {**FOUND, FindingKind.ORPHAN_OBJECT: 5}, kinds(findings)
        assert not tally.is_clean
    assert await snapshot(empty) == before

    _, tally = await run(empty, apply=True)
    assert {kind: tally.of(kind, Outcome.REPAIRED) for kind in FOUND} == FOUND
    for bucket, needed in planter.planted.needed.items():
        assert {each.key async for each in planter.store.list_objects(bucket, "")} == needed
    multiparts = [each async for each in planter.store.multipart.list_pending()]
    assert len(multiparts) == 1
    media, contents = planter.database.media, planter.database.contents
    assert await media.count_documents({"status": "UPLOADED"}) == 1, "the upload that had arrived goes on"
    assert await media.count_documents({"status": "INITIATED"}) == 0
    assert await planter.database.deletions.count_documents({"stage": "OBJECTS_REMOVED"}) == 1
    (content,) = await contents.find().to_list(None)
    assert len(content["refs"]) == 1, "one of two references was of a media that never was; the other content is free"

    after = await snapshot(empty)
    findings, tally = await run(empty, apply=True)
    assert [(each.kind, each.what) for each in findings] == [
        (FindingKind.UNKNOWN_OBJECT, f"{planter.uploads}/somebody/elses.txt")
    ]
    assert await snapshot(empty) == after


async def test_what_was_written_or_changed_lately_is_left_alone(empty: RunningService) -> None:
    planter = Planter(empty)
    await planter.originals()
    await planter.renditions()
    await planter.multiparts()
    before = await snapshot(empty)
    findings, tally = await run(empty, apply=True, older_than=timedelta(minutes=5))
    # References carry their own age; the objects are a moment old.
    assert {each.kind for each in findings} == {FindingKind.STALE_REFERENCE}
    after = await snapshot(empty)
    assert all(before[name] == after[name] for name in (planter.uploads, planter.media, "multipart", "media"))
    # An old object of a media that is changing: somebody knows what they are doing.
    await planter.database.media.update_many({}, {"$set": {"updated_at": datetime.now(UTC) + timedelta(hours=1)}})
    findings, tally = await run(empty, apply=True)
    assert tally.of(FindingKind.ORPHAN_RENDITION, Outcome.REPAIRED) == 1, "the one of no media"


async def test_probes_that_were_left_behind_are_removed_and_young_ones_are_not(empty: RunningService) -> None:
    store = empty.runtime.object_store
    bucket = store.media_bucket
    left = sorted([await write(store, bucket, probe_key()), await write(store, bucket, f"readiness/{'0a' * 16}")])
    theirs = await write(store, bucket, "readiness/notes.txt")
    assert kinds((await run(empty, apply=True, older_than=timedelta(minutes=5)))[0]) == []
    findings, _ = await run(empty, apply=False)
    probes = [each.what for each in findings if each.kind is FindingKind.LEFTOVER_PROBE]
    assert probes == [f"{bucket}/{key}" for key in left]
    findings, _ = await run(empty, apply=True)
    assert kinds(findings) == [*[("leftover_probe", "repaired")] * 2, ("unknown_object", "kept")]
    assert [each.key async for each in store.list_objects(bucket, "")] == [theirs]


async def test_what_is_needed_by_the_time_it_would_be_removed_stays(empty: RunningService) -> None:
    planter = Planter(empty)
    keys = sorted([f"community/raw/{old_id()}.jpg" for _ in range(2)])
    for key in keys:
        await planter.object(planter.uploads, key, is_needed=False)
    # The reference comes while the first is removed, after both were found: `settle` looks again.
    runtime = empty.runtime
    original = runtime.object_store.delete

    async def delete(bucket: str, removed: list[str], **more: Any) -> None:
        await original(bucket, removed, **more)
        await planter.content(keys[1], [uuid7()], "3" * 64)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime.object_store, "delete", delete)
        findings, _ = await run(empty, apply=True)
    assert [(each.what.partition("/")[2], each.outcome) for each in findings] == [
        (keys[0], Outcome.REPAIRED),
        (keys[1], Outcome.GONE),
    ]
    assert [each.key async for each in planter.store.list_objects(planter.uploads, "")] == [keys[1]]


async def test_a_lost_rendition_is_made_again_while_the_media_stays_ready(empty: RunningService) -> None:
    anna, store, database = empty.client("anna"), empty.runtime.object_store, empty.runtime.database
    async with empty.working():
        media_id = await anna.send(small_photo(1))
        await anna.wait_for_all_renditions(media_id)
        media = await database.media.find_one({})
        lost, cut = media["renditions"][0]["key"], media["renditions"][1]["key"]
        await store.delete(store.media_bucket, [lost])
        await write(store, store.media_bucket, cut, b"cut")
    for _ in range(2):
        findings, tally = await run(empty, apply=True)
        assert kinds(findings) == [(FindingKind.MISSING_RENDITION, Outcome.ENQUEUED)] * 2
        assert tally.is_clean
    assert await database.jobs.count_documents({"kind": "render", "state": "open"}) == 1, "found again, enqueued once"
    assert (await database.media.find_one({}))["status"] == "READY"
    async with empty.working():
        while await database.jobs.count_documents({"kind": "render", "state": "open"}):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert (await run(empty, apply=False))[0] == []
    repaired = await database.media.find_one({})
    assert repaired["status_history"] == media["status_history"]
    for rendition in repaired["renditions"]:
        stored = await store.head(store.media_bucket, rendition["key"])
        assert stored is not None
        assert stored.bytes == rendition["bytes"]
    # Lost once more: that is another repair.
    await store.delete(store.media_bucket, [lost])
    await run(empty, apply=True)
    assert await database.jobs.count_documents({"kind": "render", "state": "open"}) == 1


async def test_a_lost_original_is_told_and_nothing_of_its_media_is_touched(empty: RunningService) -> None:
    planter = Planter(empty)
    gone, cut = old_id(), old_id()
    rendition = {"name": "FEED", "format": "JPEG", "width": 1, "height": 1, "bytes": 1, "sha256": "", "key": "x"}
    await planter.document(gone, renditions=[rendition])
    await planter.document(cut, content={"type": "image/jpeg", "bytes": 5, "sha256": ""})
    await planter.object(planter.uploads, f"community/raw/{cut}.jpg", is_needed=True)
    before = await snapshot(empty)
    findings, tally = await run(empty, apply=True)
    assert kinds(findings) == [
        (FindingKind.MISSING_ORIGINAL, Outcome.KEPT),
        (FindingKind.MISSING_ORIGINAL, Outcome.KEPT),
        (FindingKind.MISSING_RENDITION, Outcome.KEPT),
    ]
    assert not tally.is_clean
    assert await snapshot(empty) == before


async def test_originals_are_missed_from_the_upload_to_the_end(empty: RunningService) -> None:
    planter = Planter(empty)
    missed = {old_id(): status for status in ("UPLOADED", "PROCESSING", "FAILED", "QUARANTINED")}
    for media_id, status in missed.items():
        await planter.document(media_id, status=status)
    # Linked to an object that is there, or refused for its bytes: nothing is missing of these.
    shared = await planter.object(planter.uploads, f"community/raw/{old_id()}.jpg", is_needed=True)
    linked = await planter.document(old_id(), status="UPLOADED", original={"bucket": planter.uploads, "key": shared})
    await planter.content(shared, [linked["_id"]], "1" * 64)
    await planter.document(old_id(), status="FAILED", failure={"code": "CHECKSUM_MISMATCH", "retryable": False})
    before = await snapshot(empty)
    findings, tally = await run(empty, apply=True)
    assert kinds(findings) == [(FindingKind.MISSING_ORIGINAL, Outcome.KEPT)] * 4
    assert {finding.media_id for finding in findings} == set(map(str, missed))
    assert not tally.is_clean
    assert await snapshot(empty) == before


async def test_an_original_that_goes_while_it_is_looked_for_is_not_missed(empty: RunningService) -> None:
    planter, media_id, elsewhere = Planter(empty), old_id(), f"community/raw/{old_id()}.jpg"
    await planter.document(media_id, status="PROCESSING")
    head = empty.runtime.object_store.head

    async def head_while_a_worker_links(bucket: str, key: str) -> Any:
        # It points the media to the same content elsewhere, and then removes the copy.
        where = {"original": {"bucket": bucket, "key": elsewhere}}
        await planter.database.media.update_one({"_id": media_id}, {"$set": where})
        return await head(bucket, key)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(empty.runtime.object_store, "head", head_while_a_worker_links)
        findings, tally = await run(empty, apply=False)
    assert (findings, tally.counts["examined:media"]) == ([], 1)


KILLED = """
import asyncio, os, signal
import service.object_store
from service.models import Role
from service.production import load_settings
from service.reconciliation import RunOptions, reconcile
from service.runtime import open_runtime
from service.telemetry import Metrics
from datetime import timedelta

service.object_store.LIST_PAGE = 2
left = 7

def tell(finding):
    global left
    print(finding.what, flush=True)
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    async with open_runtime(load_settings(Role.WORKER), Metrics()) as runtime:
        await reconcile(
            RunOptions(apply=True, older_than=timedelta(0)),
            database=runtime.database, stores=runtime.stores, object_store=runtime.object_store, on_finding=tell,
            on_interruption=print,
        )

asyncio.run(main())
"""


async def test_a_killed_run_goes_on_where_it_stopped(empty: RunningService) -> None:
    planter = Planter(empty)
    for _ in range(12):
        await planter.object(planter.uploads, f"community/raw/{old_id()}.jpg", is_needed=False)
    everything = sorted(planter.planted.orphans[planter.uploads])
    env = environment_of(empty.settings, ("mongo", "storage"))
    killed = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", KILLED],
        check=False, capture_output=True, text=True, cwd=REPOSITORY, env=env,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [line.partition("/")[2] for line in killed.stdout.splitlines()] == everything[:7]

    findings, tally = await run(empty, apply=True)
    assert [each.what.partition("/")[2] for each in findings] == everything[7:]
    # What was removed after the last finished page was neither counted then nor found now.
    assert tally.of(FindingKind.ORPHAN_OBJECT, Outcome.REPAIRED) == 11
    assert [each async for each in planter.store.list_objects(planter.uploads, "")] == []
    assert await empty.runtime.database.handle["reconciliations"].count_documents({}) == 0
    assert (await run(empty, apply=True))[0] == []


async def test_restart_begins_anew_and_other_work_is_another_run(empty: RunningService) -> None:
    planter = Planter(empty)
    keys = [await planter.object(planter.uploads, f"community/raw/{old_id()}.jpg", is_needed=False) for _ in range(3)]
    runs = empty.runtime.database.handle["reconciliations"]
    interrupted = {"started_at": datetime.now(UTC), "step": 2, "after": max(keys), "counts": {}}
    await runs.insert_one({"_id": "check:everything", **interrupted})
    assert len((await run(empty, apply=True))[0]) == 3, "a dry run does not go on for a repair"
    for key in keys:
        await write(planter.store, planter.uploads, key)
    assert len((await run(empty, apply=False))[0]) == 0, "goes on after the last key"
    await runs.insert_one({"_id": "check:everything", **interrupted})
    assert len((await run(empty, apply=False, restart=True))[0]) == 3
    assert len((await run(empty, apply=False, buckets=frozenset({planter.media})))[0]) == 0
    assert len((await run(empty, apply=False, buckets=frozenset({planter.uploads})))[0]) == 3


async def test_a_run_of_days_ago_is_not_gone_on_with(empty: RunningService, capsys: pytest.CaptureFixture[str]) -> None:
    planter = Planter(empty)
    key = await planter.object(planter.uploads, f"community/raw/{old_id()}.jpg", is_needed=False)
    runs, now = empty.runtime.database.handle["reconciliations"], datetime.now(UTC).replace(microsecond=0)
    told: list[Interruption] = []
    for hours, is_found in ((23, False), (25, True)):
        begun = now - timedelta(hours=hours)
        rest = {"started_at": begun, "step": 2, "after": key, "counts": {"orphan_object:gone": 7}}
        for apply in (False, True):
            await runs.insert_one({"_id": f"{'apply' if apply else 'check'}:everything", **rest})
        findings, tally = await run(empty, apply=False, on_interruption=told.append)
        assert told.pop() == Interruption(begun, goes_on=not is_found)
        assert bool(findings) is is_found, "what lies before the mark is looked at again"
        assert tally.of(FindingKind.ORPHAN_OBJECT, Outcome.GONE) == (0 if is_found else 7)
        # The command says so, apart from what it found.
        assert await run_reconciliation(empty.settings, RunOptions(apply=True, older_than=NOW), as_json=True) == 0
        said = capsys.readouterr()
        assert f"begun at {begun:%Y-%m-%d %H:%M} UTC" in said.err
        assert ("beginning anew" in said.err) is is_found
        assert (key in said.out) is is_found
    assert await run(empty, apply=False, on_interruption=told.append)
    assert told == [], "nothing was interrupted"


async def test_uploads_under_way_are_never_touched(empty: RunningService) -> None:
    anna, photos = empty.client("anna"), [small_photo(seed) for seed in range(8)]
    done = asyncio.Event()

    async def keep_reconciling() -> AsyncIterator[Finding]:
        while not done.is_set():
            for finding in (await run(empty, apply=True))[0]:
                yield finding

    async def collect() -> list[Finding]:
        return [finding async for finding in keep_reconciling()]

    reconciling = asyncio.create_task(collect())
    try:
        async with empty.working():
            sent = await asyncio.gather(*map(anna.send, photos))
            assert set((await anna.wait(*sent)).values()) == {"READY"}
    finally:
        done.set()
    removed = [each for each in await reconciling if each.outcome is Outcome.REPAIRED]
    assert {each.kind for each in removed} <= {FindingKind.UNFINISHED_UPLOAD}
    assert (await run(empty, apply=False))[0] == []
    assert await empty.runtime.database.media.count_documents({"status": "READY"}) == 8


async def test_the_command_tells_each_finding_and_ends_with_what_is_left(
    empty: RunningService, capsys: pytest.CaptureFixture[str]
) -> None:
    planter = Planter(empty)
    key = await planter.object(planter.uploads, f"community/raw/{old_id()}.jpg", is_needed=False)
    settings: Settings = empty.settings
    dry = RunOptions(older_than=NOW)
    assert await run_reconciliation(settings, dry, as_json=True) == 1
    finding, summary = map(orjson.loads, capsys.readouterr().out.splitlines())
    assert (finding["kind"], finding["what"]) == ("orphan_object", f"{planter.uploads}/{key}")
    assert summary["summary"] == {
        "examined": {"originals": 1, "multipart_uploads": 0, "renditions": 0},
        "orphan_object": {"found": 1},
    }
    assert await run_reconciliation(settings, RunOptions(apply=True, older_than=NOW), as_json=False) == 0
    said = capsys.readouterr().out
    assert f"repaired  orphan_object        {planter.uploads}/{key}: no media has this id" in said
    assert await run_reconciliation(settings, dry, as_json=False) == 0
    assert "Nothing to report." in capsys.readouterr().out
    assert await run_reconciliation(settings, RunOptions(buckets=frozenset({"theirs"})), as_json=False) == 2
    assert "Not a bucket of this service: theirs." in capsys.readouterr().err


async def test_the_command_line_sets_up_reconciles_and_says_so_in_its_exit_code(empty: RunningService) -> None:
    env = environment_of(empty.settings, ("mongo", "storage"))
    planter = Planter(empty)
    key = await planter.object(planter.media, f"community/processed/feed/{old_id()}/g1.jpg", is_needed=False)

    async def command(*words: str) -> tuple[int, str]:
        ended = await asyncio.to_thread(CliRunner().invoke, app, words, env=env)
        return ended.exit_code, ended.output

    code, said = await command("buckets", "--check")
    assert (code, said.splitlines()[-1].endswith("as declared.")) == (0, True), said
    code, said = await command("buckets", "--apply")
    assert (code, said.splitlines()[-1]) == (0, "Nothing to do."), said
    aged = ("reconcile", "--older-than", "0", "--bucket", planter.media)
    code, said = await command("reconcile", "--apply")
    assert (code, "Nothing to report." in said) == (0, True), said
    code, said = await command(*aged)
    assert (code, f"found     orphan_rendition     {planter.media}/{key}" in said) == (1, True), said
    assert (await command(*aged, "--apply", "--restart"))[0] == 0
    assert [each async for each in planter.store.list_objects(planter.media, "")] == []
