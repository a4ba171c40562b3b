"""A fault at every single write: the job is done by whoever comes next, and nothing is lost, doubled or left behind."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from pymongo.errors import AutoReconnect

from indexes.ensure import ensure
from service.access import Viewer
from service.errors import StorageRefused, TemporarilyUnavailable
from service.finalisation import complete_upload
from service.models import JobKind
from service.object_store import ObjectStore
from service.runtime import Runtime
from service.stores.database import Database, bind_database
from service.sweeper import sweep
from service.uploads import create_uploads
from service.worker_process import build_worker
from tests.audit_storage import examine
from tests.in_memory import NoStreams
from tests.job_promises import URGENT, check_listed, snapshot
from tests.worker_stand import ObjectsInMemory, QuickJail, open_motor, open_stand

ANNA = Viewer("anna")
DATABASE_WRITES = ("update_one", "update_many", "find_one_and_update", "delete_one", "delete_many", "bulk_write")
STORAGE_CALLS = ("head", "put", "download", "delete", "mark_kept")


@dataclass
class Fault:
    """Breaks the `at`th call that is counted, before or after it has taken effect, and no other."""

    at: int
    answer_lost: bool = False
    calls: int = 0
    broken: str = ""

    async def call(
        self, name: str, error: Exception, work: Callable[..., Awaitable[Any]], *args: Any, **kw: Any
    ) -> Any:
        self.calls += 1
        if self.calls != self.at:
            return await work()
        self.broken = name
        if self.answer_lost:
            await work()
        raise error


class _Faulty:
    """Passes everything on to `target`; of `names`, through `fault`."""

    def __init__(self, target: Any, names: tuple[str, ...], fault: Fault, error: Exception) -> None:
        self._target, self._names, self._fault, self._error = target, names, fault, error

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if name not in self._names:
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._fault.call(name, self._error, partial(found, *args, **kwargs))

        return call


class _FaultyHandle:
    def __init__(self, database: Database, fault: Fault) -> None:
        self._handle, self._fault = database.handle, fault

    def __getitem__(self, name: str) -> Any:
        return _Faulty(self._handle[name], DATABASE_WRITES, self._fault, AutoReconnect("connection closed"))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handle, name)


@dataclass
class Scene:
    uri: str
    database: Database
    objects: ObjectsInMemory
    whole: Runtime

    def breaking(self, fault: Fault, refusal: type[Exception]) -> Runtime:
        """A runtime in which `fault` lies, either in the database's writes or in what storage is asked."""
        error = refusal("no answer")
        faulty = cast(ObjectsInMemory, _Faulty(self.objects, STORAGE_CALLS, fault, error))
        return open_stand(self.uri, bind_database(_FaultyHandle(self.database, fault), watching=NoStreams()), faulty)


@pytest.fixture(scope="module")
async def scene(mongod: str, database_name: str) -> AsyncIterator[Scene]:
    client, database = open_motor(mongod, database_name, asyncio.get_running_loop())
    await ensure(database.handle)
    objects = ObjectsInMemory()
    yield Scene(mongod, database, objects, open_stand(mongod, database, objects))
    client.close()


_photos = count()


async def uploaded(scene: Scene) -> UUID:
    """A media with the first of its jobs, alone in the world."""
    for name in ("media", "uploads", "contents", "jobs", "deletions"):
        await scene.database.handle[name].delete_many({})
    scene.objects.objects.clear()
    photo = f"photo {next(_photos)}".encode()
    described = {"contentType": "image/jpeg", "byteSize": len(photo), "sha256": hashlib.sha256(photo).hexdigest()}
    batch = {"purpose": "COMMUNITY", "idempotencyKey": uuid4().hex, "files": [described]}
    stores, object_store = scene.whole.stores, cast(ObjectStore, scene.objects)
    [planned] = await create_uploads(ANNA, batch, stores=stores, object_store=object_store)
    assert planned.upload_id is not None
    session = await stores.uploads.get(planned.upload_id)
    assert session is not None
    scene.objects.objects[session["bucket"], session["key"]] = photo
    await complete_upload(
        ANNA, planned.upload_id, idempotency_key=uuid4().hex, stores=stores, object_store=object_store
    )
    return planned.upload_id


async def work_once(runtime: Runtime, kind: JobKind, scene: Scene) -> bool:
    """One attempt at the next job, which must be of `kind`; claimed unbroken, so that faults lie in the work."""
    job = await scene.whole.stores.jobs.claim(lease_s=60, worker="test")
    if job is None:
        return False
    assert job.kind is kind
    await build_worker(runtime, QuickJail()).work(job)
    return True


async def finish(scene: Scene) -> None:
    """Leases end, the sweeper comes, and a worker without faults does what is left."""
    earlier = {"$set": {"visible_at": {"$dateSubtract": {"startDate": "$visible_at", "unit": "day", "amount": 1}}}}
    await scene.database.jobs.update_many({"state": "open"}, [earlier])
    await sweep(stores=scene.whole.stores, object_store=scene.whole.object_store, grace=timedelta(0))
    while (job := await scene.whole.stores.jobs.claim(lease_s=60, worker="last")) is not None:
        await build_worker(scene.whole, QuickJail()).work(job)


async def check(scene: Scene, media_id: UUID) -> None:
    """READY and complete, once; every object as it is listed, and no other."""
    found = await snapshot(scene.database, scene.objects)
    findings = examine(found)
    assert not findings, findings
    media = found.media[media_id]
    statuses = [each["status"] for each in media["status_history"]]
    assert statuses == ["INITIATED", "UPLOADED", "PROCESSING", "READY"]
    assert media["processing"]["complete"] is True
    assert {(each["name"], each["format"]) for each in media["renditions"]} > URGENT
    check_listed(media, scene.objects)


async def break_everywhere(scene: Scene, kind: JobKind, *, answer_lost: bool, refusal: type[Exception]) -> list[str]:
    """Break each call of one attempt at `kind` in turn; the names of those that were broken, in their order."""
    broken = []
    for at in count(1):
        media_id = await uploaded(scene)
        if kind is JobKind.RENDER:
            assert await work_once(scene.whole, JobKind.PROCESS, scene)
        fault = Fault(at, answer_lost)
        await work_once(scene.breaking(fault, refusal), kind, scene)
        if not fault.broken:
            return broken
        broken.append(fault.broken)
        await finish(scene)
        await check(scene, media_id)
    raise AssertionError


@pytest.mark.parametrize("kind", [JobKind.PROCESS, JobKind.RENDER])
@pytest.mark.parametrize(
    ("answer_lost", "refusal"),
    [
        pytest.param(False, StorageRefused, id="refused"),
        pytest.param(True, TemporarilyUnavailable, id="done_but_unheard"),
    ],
)
async def test_a_fault_at_any_write_loses_and_leaves_nothing(
    kind: JobKind, answer_lost: bool, refusal: type[Exception], scene: Scene
) -> None:
    broken = await break_everywhere(scene, kind, answer_lost=answer_lost, refusal=refusal)
    # So many at least: what is not counted is not tried.
    writes = [name for name in broken if name in DATABASE_WRITES]
    assert len(writes) >= (5 if kind is JobKind.PROCESS else 3), broken
    assert broken.count("head") >= broken.count("put") >= (2 if kind is JobKind.PROCESS else 7), broken
