"""What workers do now and then besides their jobs: each thing by itself, so that none keeps another from being done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from service.annotation_upkeep import clear_abandoned_writes
from service.audit_upkeep import anchor_heads
from service.blocked_deletions import resume_deletions
from service.deletion_upkeep import attend_deletions
from service.embeddings import settle_due
from service.owner_erasure import carry_on_erasures
from service.quotas import look_after_quotas
from service.retention import expire_due
from service.retention_periods import retention_periods
from service.runtime import Runtime
from service.sweeper import sweep

log = structlog.get_logger(__name__)

Step = Callable[[Runtime], Awaitable[object]]


async def _sweep(runtime: Runtime) -> None:
    await sweep(stores=runtime.stores, object_store=runtime.object_store)


async def _expire(runtime: Runtime) -> None:
    settings, media_bucket = runtime.settings.retention, runtime.object_store.media_bucket
    await expire_due(
        retention_periods(settings), batch=settings.batch, stores=runtime.stores, media_bucket=media_bucket
    )


async def _erase(runtime: Runtime) -> None:
    await carry_on_erasures(stores=runtime.stores, media_bucket=runtime.object_store.media_bucket)


async def _resume_deletions(runtime: Runtime) -> None:
    await resume_deletions(stores=runtime.stores)


async def _attend_deletions(runtime: Runtime) -> None:
    await attend_deletions(stores=runtime.stores)
    runtime.metrics.set_deletions_unverified(*await runtime.stores.deletion_proofs.unverified())


async def _clear_annotations(runtime: Runtime) -> None:
    await clear_abandoned_writes(stores=runtime.stores)


async def _settle_embeddings(runtime: Runtime) -> None:
    await settle_due(stores=runtime.stores)


async def _settle_quotas(runtime: Runtime) -> None:
    await look_after_quotas(stores=runtime.stores)


async def _settle_audit(runtime: Runtime) -> None:
    stores = runtime.stores
    await stores.audit.settle_all()
    backlog = await stores.audit_reads.backlog()
    waited = None if backlog.oldest is None else await stores.media.server_time() - backlog.oldest
    runtime.metrics.audit.set_backlog(backlog.number, 0.0 if waited is None else waited.total_seconds())


async def _announce_jobs(runtime: Runtime) -> None:
    if runtime.hints is not None:
        await runtime.hints.announce_overlooked(runtime.stores.job_inspection)


async def _anchor(runtime: Runtime) -> None:
    settings, object_store = runtime.settings, runtime.object_store
    await anchor_heads(
        stores=runtime.stores, object_store=object_store, database=settings.mongo.database, settings=settings.audit
    )


# In this order: deletions that go on are then looked after.
_STEPS: tuple[Step, ...] = (
    _sweep,
    _expire,
    _erase,
    _resume_deletions,
    _attend_deletions,
    _clear_annotations,
    _settle_embeddings,
    _settle_quotas,
    _settle_audit,
    _announce_jobs,
    _anchor,
)


async def sweep_once(runtime: Runtime) -> None:
    """Finish what events and clients missed, clear up after writers, and carry on what takes long.

    What fails is logged: the next sweep does it.
    """
    for step in _STEPS:
        try:
            await step(runtime)
        except Exception:
            log.exception("a part of the sweep was interrupted; the next one goes on", part=step.__name__)


async def sweep_forever(runtime: Runtime) -> None:
    """Sweep at the interval of the settings until cancelled; an outage costs a round, not the sweeper."""
    while True:
        await sweep_once(runtime)
        await asyncio.sleep(runtime.settings.worker.sweep_s)
