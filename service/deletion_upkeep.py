"""Seeing to it that every deletion goes on: one whose job was lost or given up gets another."""

from __future__ import annotations

from typing import Final

import structlog

from service.models import DeletionStage, JobKind, Lane
from service.stores import Stores
from service.stores.deletions import DeletionDocument

_AT_ONCE: Final = 500
# Jobs that begin anew number their rounds from here, those that follow one another count on.
_GENERATIONS_A_LOOK: Final = 1_000

log = structlog.get_logger(__name__)


async def attend_deletions(*, stores: Stores) -> int:
    """Look after deletions that are due, also verified ones; how many got a job. Safe to run anywhere, at any time.

    A removal or verification that was given up after all its attempts begins anew each time.
    """
    started = 0
    for deletion, looks in await stores.deletion_proofs.take_due(limit=_AT_ONCE):
        started += await _attend(deletion, looks, stores)
    return started


async def _attend(deletion: DeletionDocument, looks: int, stores: Stores) -> bool:
    media_id = deletion["_id"]
    kind = JobKind.DELETE if deletion["stage"] == DeletionStage.HIDDEN else JobKind.VERIFY
    states = await stores.job_inspection.states_of(media_id, {JobKind.DELETE, JobKind.VERIFY})
    if "open" in states.values():
        return False
    letters = (await stores.dead_letters.get_many(states)).values()
    given_up = max((each for each in letters if each.kind == kind), key=lambda each: each.generation, default=None)
    if given_up is not None:
        log.warning("a deletion that was given up begins anew", media_id=str(media_id), reason=given_up.last_error)
        return await stores.dead_letters.reopen(given_up)
    return await stores.jobs.enqueue(media_id, kind, lane=Lane.BACKFILL, generation=_GENERATIONS_A_LOOK * looks)
