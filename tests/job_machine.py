"""Everything that may happen to a few media, in any order, as Hypothesis chooses it; and what must hold at each step.

The database, the use cases and the worker are real. Only the decoder and the objects' storage are stood in for, so that
an attempt can be held up at any of its writes while others go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from service import media_processing, rendering, wanted_renditions
from service.dead_letters import retry_dead_letter
from service.errors import FailureCode, ProcessingFailed
from service.models import Job, JobKind
from service.reconciliation import RunOptions, reconcile
from service.reprocessing import reprocess
from service.runtime import Runtime
from service.sweeper import sweep
from service.worker import Worker
from service.worker_process import build_worker
from tests.audit_storage import examine
from tests.client_machine import ClientMachine, numbers
from tests.job_promises import Document, look, snapshot
from tests.worker_stand import Gate, ObjectsInMemory, QuickJail, failing, holding_up

FAILURES = {
    "ours": ProcessingFailed(FailureCode.INTERNAL, "A fault of ours.", retryable=True),
    "file": ProcessingFailed(FailureCode.CORRUPT_FILE, "The file is broken."),
    "hostile": ProcessingFailed(FailureCode.DECODE_LIMIT_EXCEEDED, "A bomb.", quarantine=True),
}
places = st.sampled_from(["decode", "put", "head", "delete"])
_COLLECTIONS = ("media", "uploads", "contents", "jobs", "deletions", "idempotency")


@dataclass
class Stalled:
    """An attempt that stands still in the middle. Of a worker that died it is never resumed."""

    job: Job
    gate: Gate
    attempt: asyncio.Task[None]


class JobMachine(ClientMachine):
    """What workers, the sweeper and operators do besides."""

    def __init__(self, runtime: Runtime, objects: ObjectsInMemory, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(runtime, objects, loop)
        self.worker: Worker = build_worker(runtime, QuickJail())
        self.claims: list[Job] = []
        self.stalled: list[Stalled] = []
        self.releases = count(1)
        self.patch = pytest.MonkeyPatch()
        objects.objects.clear()
        self.do(self._empty())

    async def _empty(self) -> None:
        for name in _COLLECTIONS:
            await self.database.handle[name].delete_many({})

    @rule()
    @precondition(lambda self: self.promises.work_is_left)
    def claim(self) -> None:
        """By a worker that then does nothing for a while."""
        job = self.do(self.stores.jobs.claim(lease_s=60, worker="machine"))
        if job is not None:
            self.claims.append(job)

    def _next_job(self, number: int) -> Job | None:
        """One that was claimed a while ago, or the next."""
        if self.claims and number % 3 == 0:
            return self.claims.pop(number % len(self.claims))
        return self.do(self.stores.jobs.claim(lease_s=60, worker="machine"))

    @rule()
    def let_leases_end(self) -> None:
        self.do(self._let_pass("jobs", {"state": "open"}, "visible_at"))

    @rule()
    @precondition(lambda self: self.promises.work_is_left)
    def do_what_is_next(self) -> None:
        """A worker to whom nothing happens."""
        if (job := self.do(self.stores.jobs.claim(lease_s=60, worker="machine"))) is not None:
            self.do(self._as_its_fence_allows(job, self.worker.work(job)))

    @rule(number=numbers, trouble=st.sampled_from([None, None, None, *FAILURES]))
    @precondition(lambda self: self.claims or self.promises.work_is_left)
    def work(self, number: int, trouble: str | None) -> None:
        """A whole attempt, whether the job is still held or not."""
        if (job := self._next_job(number)) is None:
            return
        failure = None if trouble is None else FAILURES[trouble]
        if job.kind is JobKind.RENDER and failure is not None and not failure.retryable:
            # Pictures were made of the file before.
            failure = FAILURES["ours"]
        with ExitStack() as stack:
            if failure is not None:
                stack.enter_context(failing(failure))
            self.do(self._as_its_fence_allows(job, self.worker.work(job)))

    @rule(number=numbers, place=places, passage=st.integers(1, 3))
    @precondition(lambda self: self.claims or self.promises.work_is_left)
    def stall(self, number: int, place: str, passage: int) -> None:
        """An attempt begins, and stands still before it decodes or at one of its writes; perhaps it has died."""
        if (job := self._next_job(number)) is None:
            return
        gate = Gate(place, passage)
        self.do(self._as_its_fence_allows(job, self._begin(job, gate)))

    async def _begin(self, job: Job, gate: Gate) -> None:
        with holding_up(gate):
            attempt = asyncio.create_task(self.worker.work(job))
        stopped = asyncio.create_task(gate.reached.wait())
        await asyncio.wait({attempt, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if attempt.done():
            stopped.cancel()
            await attempt
        else:
            self.stalled.append(Stalled(job, gate, attempt))

    @rule(number=numbers)
    @precondition(lambda self: self.stalled)
    def resume(self, number: int) -> None:
        """What stood still goes on, believing that nothing has happened."""
        stalled = self.stalled.pop(number % len(self.stalled))
        stalled.gate.opened.set()
        self.do(self._as_its_fence_allows(stalled.job, stalled.attempt))

    @rule(first=places, second=places, passage=st.integers(1, 2))
    @precondition(lambda self: self.promises.work_is_left)
    def overtake(self, first: str, second: str, passage: int) -> None:
        """A worker stands still, its lease ends, another takes the job up, and then the first one goes on."""
        job = self.do(self.stores.jobs.claim(lease_s=60, worker="first"))
        if job is None:
            return
        self.do(self._as_its_fence_allows(job, self._begin(job, Gate(first, passage))))
        self.let_leases_end()
        successor = self.do(self.stores.jobs.claim(lease_s=60, worker="second", job_id=job.id))
        if successor is not None:
            self.do(self._as_its_fence_allows(successor, self._begin(successor, Gate(second))))
        overtaken = [each for each in self.stalled if each.job is job]
        for each in overtaken:
            self.stalled.remove(each)
            each.gate.opened.set()
            self.do(self._as_its_fence_allows(job, each.attempt))

    @rule(number=numbers, corner=st.sampled_from([None, 0.25]), place=places, passage=st.integers(1, 3))
    @precondition(lambda self: self.files)
    def turn_private(self, number: int, corner: float | None, place: str, passage: int) -> None:
        """What everybody could see, in one cut or in two, is for few now; whoever sees to that may die on the way."""
        self._work_off()
        if corner is not None:
            self.change(number, corner, private=False)
            self._work_off()
        self.change(number, 0.0, private=True)
        self.stall(1, place, passage)
        self.let_leases_end()

    def _work_off(self) -> None:
        self.do(self._do_all())
        self.every_promise_is_kept()

    async def _as_its_fence_allows(self, job: Job, work: Awaitable[None]) -> None:
        """Do `work`, which must leave alone what later fences hold."""
        media, row = await self._held_documents(job)
        await work
        media_after, row_after = await self._held_documents(job)
        fence = {JobKind.PROCESS: "fence", JobKind.RENDER: "render_fence"}.get(job.kind)
        if fence is not None and media is not None and media.get("processing", {}).get(fence, 0) > job.fence:
            assert media_after == media, f"{job} wrote under an old fence"
        if row is not None and row["fence"] > job.fence:
            assert row_after == row, f"{job} was ended under an old fence"

    async def _held_documents(self, job: Job) -> tuple[Document | None, Document | None]:
        media = await self.database.media.find_one({"_id": job.media_id})
        return media, await self.database.jobs.find_one({"_id": job.id})

    @rule()
    def sweep(self) -> None:
        self.do(sweep(stores=self.stores, object_store=self.runtime.object_store, grace=timedelta(0)))

    @rule()
    def retry_dead_letters(self) -> None:
        self.do(self._retry_dead_letters())

    async def _retry_dead_letters(self) -> None:
        async for letter in self.stores.dead_letters.iterate():
            self.promises.retries[letter.media_id] += 1
            await retry_dead_letter(letter, stores=self.stores, object_store=self.runtime.object_store)

    @rule()
    def release(self) -> None:
        """A new pipeline, and a run that brings everything up to it."""
        version = f"release-{next(self.releases)}"
        for module in (wanted_renditions, media_processing, rendering):
            self.patch.setattr(module, "PIPELINE_VERSION", version)
        self.do(
            reprocess(
                {},
                rate=10_000,
                after=None,
                apply=True,
                database=self.database,
                stores=self.stores,
                on_page=lambda progress: None,
            )
        )

    @rule()
    def let_days_pass(self) -> None:
        """All that waits for a moment has reached it: leases, sessions, deletion windows, what was replaced."""
        self.do(self._let_days_pass())

    async def _let_days_pass(self) -> None:
        await self._let_pass("jobs", {"state": "open"}, "visible_at")
        await self._let_pass("uploads", {"completed_at": {"$exists": False}}, "created_at", "expires_at")
        await self._let_pass("media", {"waiting_since": {"$exists": True}}, "created_at", "waiting_since")
        await self._let_pass("deletions", {}, "requested_at")
        due = {
            "$map": {"input": "$retired_renditions", "in": {"key": "$$this.key", "due_at": _earlier("$$this.due_at")}}
        }
        retired = {"retired_renditions": {"$exists": True}}
        await self.database.media.update_many(retired, [{"$set": {"retired_renditions": due}}])

    async def _let_pass(self, collection: str, query: Mapping[str, Any], *names: str) -> None:
        earlier = {name: _earlier(f"${name}") for name in names}
        await self.database.handle[collection].update_many(query, [{"$set": earlier}])

    @invariant()
    def every_promise_is_kept(self) -> None:
        media, jobs = self.do(look(self.database, "media")), self.do(look(self.database, "jobs"))
        self.promises.check(media, jobs)

    def teardown(self) -> None:
        try:
            self.do(self._finish_jobs())
            self._check_private()
            self.do(self._come_to_rest())
            self._check_private()
            self.every_promise_is_kept()
            findings = examine(self.do(snapshot(self.database, self.objects)))
            assert not findings, findings
        finally:
            self.do(self._forget())
            self.patch.undo()

    def _check_private(self) -> None:
        self.promises.check_private(self.do(look(self.database, "media")))

    async def _finish_jobs(self) -> None:
        """All there is to do now; nothing becomes due by waiting but what somebody held."""
        for _ in range(3):
            await self._let_pass("jobs", {"state": "open"}, "visible_at")
            await self._do_all()

    async def _do_all(self) -> None:
        await sweep(stores=self.stores, object_store=self.runtime.object_store, grace=timedelta(0))
        await self._retry_dead_letters()
        while (job := await self.stores.jobs.claim(lease_s=60, worker="last")) is not None:
            await self.worker.work(job)

    async def _come_to_rest(self) -> None:
        for _ in range(6):
            await self._let_days_pass()
            await self._do_all()
        # What attempts left that died or were overtaken between storing renditions and listing them; once no address
        # of them can be about.
        await self._let_pass("media", {}, "updated_at")
        await self._let_pass("media", {"processing.replaced_at": {"$exists": True}}, "processing.replaced_at")
        await reconcile(
            RunOptions(apply=True, older_than=timedelta(0), buckets=frozenset({self.objects.media_bucket})),
            database=self.database,
            stores=self.stores,
            object_store=self.runtime.object_store,
            on_finding=lambda finding: None,
            on_interruption=lambda interruption: None,
        )

    async def _forget(self) -> None:
        """Attempts that were never resumed: their workers are dead."""
        for stalled in self.stalled:
            stalled.attempt.cancel()
        await asyncio.gather(*(stalled.attempt for stalled in self.stalled), return_exceptions=True)


def _earlier(moment: str) -> Document:
    return {"$dateSubtract": {"startDate": moment, "unit": "day", "amount": 3}}
