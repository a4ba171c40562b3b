"""Uploads that are cut off by the death of a process, and what brings them to their end afterwards."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import orjson

from service.access import Viewer
from service.dev.environment import environment_of
from service.documents import UploadDocument
from service.failpoints import Failpoint
from service.lifecycle import AWAITING_BYTES, MediaStatus
from service.media_changes import update_media
from service.models import JobKind, MediaPurpose
from service.processing.jail import Jail
from service.runtime import Runtime
from service.settings import Settings
from service.stored_renditions import stored_renditions
from service.sweeper import sweep
from service.telemetry import Metrics
from service.upload_sessions import find_confirmed
from service.worker_process import build_worker
from tests.audit_storage import Auditor
from tests.killable import STEPS

REPOSITORY = Path(__file__).parent.parent
_DAYS = timedelta(days=2)


class Killable:
    """`tests.killable`, started once; each step that it is asked for runs in a child of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    @asynccontextmanager
    async def started(cls, settings: Settings) -> AsyncIterator[Killable]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.killable"),
            cwd=REPOSITORY,
            env={**environment_of(settings, ("mongo", "storage", "worker")), "OPENBLAS_NUM_THREADS": "1"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            yield cls(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()

    async def die(self, step: str, failpoint: Failpoint, given: Mapping[str, Any]) -> None:
        """Run a step that must end by SIGKILL at `failpoint`, and nowhere else."""
        answer = await self._ask({"step": step, "failpoint": failpoint, "given": given})
        assert answer == {"signal": signal.SIGKILL}, f"{step} never reached {failpoint}: {answer}"

    async def work_and_die(self, after_s: float) -> None:
        """A worker that is killed after so many seconds, wherever it is by then."""
        answer = await self._ask({"step": "work", "after_s": after_s, "given": {}})
        assert answer == {"signal": signal.SIGALRM}, answer

    async def _ask(self, asked: Mapping[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(orjson.dumps(asked) + b"\n")
        return orjson.loads(await self._process.stdout.readline())


class AttemptsHeard(Metrics):
    """Sets `ended` whenever a worker's attempt at a job has ended."""

    def __init__(self) -> None:
        super().__init__()
        self.ended = asyncio.Event()

    def count_job(self, kind: JobKind, outcome: str, seconds: float) -> None:
        super().count_job(kind, outcome, seconds)
        self.ended.set()


@dataclass(frozen=True)
class Stand:
    """Real servers below, and above them whoever is to act next."""

    settings: Settings
    runtime: Runtime
    jail: Jail
    killable: Killable
    auditor: Auditor
    http: httpx.AsyncClient
    attempts: AttemptsHeard
    known: set[str] = field(default_factory=set)
    needed_again: set[UUID] = field(default_factory=set)

    async def step(self, name: str, given: Mapping[str, Any]) -> Any:
        return await STEPS[name](self.runtime, given)

    async def media_of(self, owner: str) -> dict[UUID, str]:
        """Status by id."""
        found = self.runtime.database.media.find({"owner_id": owner}, {"status": 1})
        return {each["_id"]: each["status"] async for each in found}

    async def sweep(self) -> None:
        stores, object_store = self.runtime.stores, self.runtime.object_store
        await sweep(stores=stores, object_store=object_store, grace=timedelta(0))

    async def let_leases_end(self) -> None:
        await self.runtime.database.jobs.update_many({"state": "open"}, _moved("visible_at"))

    async def let_days_pass(self) -> None:
        """All that waits for a moment has reached it: sessions are over, and so are leases."""
        database = self.runtime.database
        await database.uploads.update_many({"completed_at": {"$exists": False}}, _moved("created_at", "expires_at"))
        await database.media.update_many({"waiting_since": {"$exists": True}}, _moved("created_at", "waiting_since"))
        await self.let_leases_end()

    async def work(self) -> None:
        """A new worker, until there is nothing left to process."""
        worker = build_worker(self.runtime, self.jail)
        running = asyncio.create_task(worker.run())
        async with asyncio.timeout(60):
            self.attempts.ended.clear()
            while await self.work_is_left():
                await self.attempts.ended.wait()
                self.attempts.ended.clear()
        worker.stop()
        await running

    async def make_viewable(self) -> None:
        """The foremost job, which makes a media READY, and nothing more."""
        job = await self.runtime.stores.jobs.claim(lease_s=60, worker="stand")
        assert job is not None
        await build_worker(self.runtime, self.jail).work(job)

    async def retire_all(self) -> None:
        """What was replaced has been found to be due, and is removed."""
        await self.sweep()
        await self.work()

    async def work_is_left(self) -> bool:
        making = {"state": "open", "kind": {"$in": ["process", "render", "retire"]}}
        return await self.runtime.database.jobs.find_one(making) is not None

    async def work_briefly(self, seconds: float) -> None:
        """A worker that is asked to stop in the midst of it, and gives back what it has not finished at once."""
        settings = self.settings.model_copy(update={"worker": self.settings.worker.model_copy(update={"drain_s": 0})})
        worker = build_worker(replace(self.runtime, settings=settings), self.jail)
        asyncio.get_running_loop().call_later(seconds, worker.stop)
        await worker.run()

    async def audit(self, *media_ids: UUID) -> None:
        """Nothing is wrong anywhere beyond what an earlier test has failed for already.

        What is found to be right is removed, so that the next audit has only to look at what has come since.
        """
        found = await asyncio.to_thread(self.auditor.look)
        findings = await asyncio.to_thread(self.auditor.judge, found, read=media_ids)
        new = [each for each in findings.sentences() if each not in self.known]
        self.known.update(new)
        assert not new, new
        await asyncio.to_thread(self.auditor.remove, found, keep=self.needed_again)


def _moved(*names: str) -> list[dict[str, Any]]:
    days = int(_DAYS.total_seconds() * 1000)
    return [{"$set": {name: {"$subtract": [f"${name}", days]} for name in names}}]


@dataclass
class Upload:
    """One file on its way. Called again, each step is the client's own repeat of it."""

    stand: Stand
    owner: str
    photo: bytes
    batch: Mapping[str, Any]
    key: str = field(default_factory=lambda: uuid4().hex)
    id: str | None = None
    parts_sent: int = 0

    def given(self, step: str) -> Mapping[str, Any]:
        if step == "create":
            return {"owner": self.owner, "input": {**self.batch, "idempotencyKey": self.key}}
        return {} if step == "work" else {"owner": self.owner, "id": self.id, "key": self.key}

    async def run(self, step: str) -> None:
        """One step of the client's; `send` is its own, the others are the service's."""
        if step == "create":
            [self.id] = await self.stand.step("create", self.given("create"))
        elif self.id is None:
            # There was nothing to send.
            return
        elif step == "send":
            await self._send()
        else:
            await self.stand.step(step, self.given(step))

    async def finish(self) -> None:
        """What a client does that has lost every answer: the same again, from the start."""
        for step in ("create", "send", "complete"):
            await self.run(step)

    async def session(self) -> UploadDocument | None:
        return None if self.id is None else await self.stand.runtime.stores.uploads.get(UUID(self.id))

    async def _send(self) -> None:
        session = await self.session()
        assert session is not None
        if session["method"] == "MULTIPART":
            await self._send_in_parts(session)
            return
        request = self.stand.runtime.object_store.presign_put(
            key=session["key"],
            content_type=session["content_type"],
            byte_size=session["bytes"],
            sha256=session["sha256"],
            expires_s=60,
        )
        answer = await self.stand.http.put(request.url, content=self.photo, headers=request.headers)
        # 412: storage has it already.
        assert answer.status_code in {200, 412}, answer.text

    async def _send_in_parts(self, session: UploadDocument) -> None:
        """Its only part, unless storage has that already: looked up first, as a client does that comes back."""
        stores, object_store = self.stand.runtime.stores, self.stand.runtime.object_store
        media = await stores.media.get(session["_id"], fields=())
        assert media is not None
        status = MediaStatus(media["status"])
        held = await find_confirmed(session, status, stores=stores, object_store=object_store)
        if status not in AWAITING_BYTES or held.byte_size == session["bytes"]:
            return
        [url] = await self.stand.step("sign", self.given("sign"))
        answer = await self.stand.http.put(url, content=self.photo)
        assert answer.status_code == 200, answer.text
        self.parts_sent += 1

    async def turn_private(self) -> None:
        media_id = await self._media_id()
        raw = {"idempotency_key": uuid4().hex, "visibility": "PRIVATE"}
        await update_media(Viewer(self.owner), media_id, raw, stores=self.stand.runtime.stores)

    async def cache_controls(self) -> set[str]:
        """Who may cache what storage holds of its renditions, listed or not."""
        store = self.stand.runtime.object_store
        keys = await stored_renditions(await self._media_id(), MediaPurpose(self.batch["purpose"]), store)
        objects = [await store.get(store.media_bucket, key) for key in keys]
        return {(each.cache_control or "").partition(",")[0] for each in objects if each is not None}

    async def _media_id(self) -> UUID:
        [media_id] = await self.stand.media_of(self.owner)
        return media_id

    async def deliver_event(self) -> None:
        """What storage says, if it has anything to say, and says twice."""
        session = await self.session()
        if session is None:
            return
        store = self.stand.runtime.object_store
        if await store.head(session["bucket"], session["key"]) is not None:
            given = {"bucket": session["bucket"], "object": session["key"]}
            await asyncio.gather(*(self.stand.step("event", given) for _ in range(2)))
