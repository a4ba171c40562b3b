"""The jobs that make renditions, whoever enqueues them."""

from __future__ import annotations

from service.models import JobKind, Lane, MediaDocument, MediaPurpose
from service.policies import POLICIES
from service.stores.jobs import JobStore

# What `enqueue_processing` needs of a media.
PROCESSING_FIELDS = ("purpose", "processing.generation")


def processing_generation(media: MediaDocument) -> int:
    """Which round of processing a media is in: 1, and one more with each retry."""
    generation: int = media.get("processing", {}).get("generation", 1)
    return generation


async def enqueue_processing(media: MediaDocument, jobs: JobStore) -> None:
    """Enqueue the processing of `media` (with `PROCESSING_FIELDS`) in its present round. Repeats are free."""
    lane = POLICIES[MediaPurpose(media["purpose"])].lane
    await jobs.enqueue(media["_id"], JobKind.PROCESS, lane=lane, generation=processing_generation(media))


async def enqueue_repair(media: MediaDocument, jobs: JobStore) -> None:
    """Have the renditions of a READY `media` (with `processing.repairs`) made again while it stays READY.

    Until that is done, asking again costs nothing.
    """
    generation = media.get("processing", {}).get("repairs", 0) + 1
    await jobs.enqueue(media["_id"], JobKind.REPAIR, lane=Lane.BACKFILL, generation=generation)
