"""Jobs taken from the queue one by one and run in the test itself, as a worker would run them."""

from __future__ import annotations

from typing import Any

from service.models import Job, JobKind
from service.worker_process import build_worker
from tests.integration.conftest import RunningService


async def next_job(service: RunningService, kind: JobKind) -> Job:
    """The foremost job, claimed, which must be of this kind."""
    job = await service.runtime.stores.jobs.claim(lease_s=60, worker="test")
    assert job is not None
    assert job.kind is kind
    return job


async def run_job(service: RunningService, job: Job, *, jail: Any = None) -> None:
    """Do what a worker does for a claimed job, and let errors through; it stays claimed."""
    worker = build_worker(service.runtime, service.jail if jail is None else jail)
    await worker._handlers[job.kind](job)


async def run_next(service: RunningService, kind: JobKind, *, jail: Any = None) -> Job:
    """Claim, run and complete the foremost job, which must be of this kind."""
    job = await next_job(service, kind)
    await run_job(service, job, jail=jail)
    assert await service.runtime.stores.jobs.complete(job)
    return job


async def no_job(service: RunningService) -> None:
    """Nothing waits in the queue."""
    assert await service.runtime.stores.jobs.claim(lease_s=60, worker="test") is None
