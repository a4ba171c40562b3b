"""Rounds that carry invalidations on: gather what waits, send it, ask how far it has come, write back what is done.

Each step is safe to repeat and to run in several processes at once; whoever dies is followed by the next round.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog
from uuid6 import uuid7

from service.errors import TemporarilyUnavailable
from service.invalidation.cloudfront import CloudFront, InvalidationRefused, Progress, UnsendableBatch
from service.invalidation.paths import By, Room, cover, fitting
from service.policies import POLICIES
from service.stores.deletions import DeletionStore
from service.stores.distributions import DistributionStore
from service.stores.invalidation_batches import BatchDocument, InvalidationBatchStore
from service.stores.invalidations import InvalidationStore
from service.stores.job_inspection import JobInspection
from service.telemetry import Metrics

# Longer than a call may take with its repeats: until then, nobody else sends the same batch.
_LEASE_S: Final = 60.0
_LONGEST_PAUSE_S: Final = 120.0
_AT_ONCE: Final = 1_000
# What edges cached before they read tags is found by its path alone, for as long as they may keep it. Besides, a change
# of a distribution takes a while to reach all of them.
_UNTAGGED_UNTIL: Final = timedelta(days=1) + timedelta(
    seconds=max(rendition.cache_max_age_s for policy in POLICIES.values() for rendition in policy.renditions)
)

log = structlog.get_logger(__name__)


class InvalidationDispatch:
    """Carries invalidations on, for one distribution. `poll_s`: how often CloudFront is asked about a batch."""

    def __init__(
        self,
        cloudfront: CloudFront,
        *,
        invalidations: InvalidationStore,
        batches: InvalidationBatchStore,
        deletions: DeletionStore,
        distributions: DistributionStore,
        jobs: JobInspection,
        metrics: Metrics,
        poll_s: float,
    ) -> None:
        self._cloudfront = cloudfront
        self._invalidations = invalidations
        self._batches = batches
        self._deletions = deletions
        self._distributions = distributions
        self._jobs = jobs
        self._metrics = metrics
        self._poll_s = poll_s
        self._at_once = _AT_ONCE

    async def advance(self) -> None:
        """One round. What CloudFront does not take now is tried again in a later one, however long that takes."""
        try:
            await self._release_forgotten()
            await self._write_down_abandoned()
            await self._gather()
        except TemporarilyUnavailable as error:
            log.warning("no invalidations are gathered now", reason=error.message)
        # Each once a round, however soon it is due again.
        for batch_id in await self._batches.list_due():
            batch = await self._batches.claim(batch_id, lease_s=_LEASE_S)
            if batch is not None:
                await self._carry_on(batch)
        self._metrics.set_invalidation_age(await self._invalidations.oldest_age_s())

    async def _gather(self) -> None:
        waiting = await self._invalidations.list_waiting(limit=self._at_once)
        if not waiting:
            return
        room = Room().without(await self._batches.list_open_paths())
        chosen = fitting(waiting, room, by=await self._naming())
        if not chosen:
            return
        batch_id = uuid7()
        await self._invalidations.gather(chosen, batch_id)
        await self._write_down(batch_id, room)

    async def _release_forgotten(self) -> None:
        """What nobody will release any more: its job has ended, or there never was one."""
        planned = await self._invalidations.list_forgotten(limit=_AT_ONCE)
        if planned:
            unfinished = await self._jobs.unfinished(set(planned.values()))
            await self._invalidations.release(*(each for each, job_id in planned.items() if job_id not in unfinished))

    async def _write_down_abandoned(self) -> None:
        for batch_id in await self._batches.missing(await self._invalidations.list_abandoned()):
            await self._write_down(batch_id, Room())

    async def _write_down(self, batch_id: UUID, room: Room) -> None:
        # Only what is in it: another process may have been faster with some.
        gathered = await self._invalidations.list_gathered(batch_id)
        if gathered:
            await self._batches.open(batch_id, cover(gathered, room, by=await self._naming()))

    async def _naming(self) -> By:
        reads_tags = await self._cloudfront.reads_tags()
        since = await self._distributions.note(self._cloudfront.distribution_id, reads_tags=reads_tags)
        if not reads_tags:
            return By.PATH
        return By.TAG if since > _UNTAGGED_UNTIL else By.PATH | By.TAG

    async def _carry_on(self, batch: BatchDocument) -> None:
        try:
            progress = await self._ask(batch)
        except UnsendableBatch as error:
            log.error("a batch of invalidations cannot be sent; its requests go into others", code=str(error))
            if error.is_too_large:
                # The same again would be, too.
                self._at_once = max(1, self._at_once // 2)
            await self._invalidations.scatter(batch["_id"])
            await self._batches.close(batch["_id"])
        except TemporarilyUnavailable as error:
            await self._postpone(batch, error)
        else:
            await self._note(batch, progress)

    async def _ask(self, batch: BatchDocument) -> Progress | None:
        if not batch["paths"]:
            return Progress("", is_completed=True)
        if "invalidation_id" in batch:
            return await self._cloudfront.look(batch["invalidation_id"])
        progress = await self._cloudfront.create(str(batch["_id"]), batch["paths"])
        self._at_once = min(_AT_ONCE, self._at_once * 2)
        self._metrics.count_invalidation("created", paths=len(batch["paths"]))
        return progress

    async def _postpone(self, batch: BatchDocument, error: TemporarilyUnavailable) -> None:
        refused = isinstance(error, InvalidationRefused)
        (log.error if refused else log.warning)("an invalidation waits", reason=error.message)
        self._metrics.count_invalidation("refused" if refused else "postponed")
        delay_s = min(self._poll_s * 2 ** min(batch["failures"], 10), _LONGEST_PAUSE_S)
        await self._batches.postpone(batch["_id"], delay_s=delay_s)

    async def _note(self, batch: BatchDocument, progress: Progress | None) -> None:
        if progress is None or not progress.is_completed:
            known = None if progress is None else progress.invalidation_id
            await self._batches.look_again(batch["_id"], delay_s=self._poll_s, invalidation_id=known)
            return
        media_ids = await self._invalidations.complete(batch["_id"])
        # In this order: of two batches that end at once, the later one finds nothing open.
        finished = set(media_ids) - await self._invalidations.with_open(media_ids)
        await self._deletions.mark_cdn_invalidated(finished)
        await self._batches.close(batch["_id"])
        self._metrics.count_invalidation("completed")
