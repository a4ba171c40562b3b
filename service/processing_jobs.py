"""The jobs that make renditions, whoever enqueues them."""

from __future__ import annotations

from service.models import JobKind, Lane, MediaDocument, MediaPurpose
from service.policies import POLICIES
from service.stores.jobs import JobStore

# What `enqueue_processing` needs of a media.
PROCESSING_FIELDS = ("purpose", "processing.generation")
# What `enqueue_repair` needs.
REPAIR_FIELDS = ("processing.repairs", "processing.revision")


def processing_generation(media: MediaDocument) -> int:
    """Which round of processing a media is in: 1, and one more with each retry."""
    generation: int = media.get("processing", {}).get("generation", 1)
    return generation


async def enqueue_processing(media: MediaDocument, jobs: JobStore) -> None:
    """Enqueue the processing of `media` (with `PROCESSING_FIELDS`) in its present round. Repeats are free."""
    lane = POLICIES[MediaPurpose(media["purpose"])].lane
    await jobs.enqueue(media["_id"], JobKind.PROCESS, lane=lane, generation=processing_generation(media))


def revision_of(media: MediaDocument) -> int:
    """How often the focus and the visibility of `media` have changed: its renditions are made for one revision."""
    revision: int = media.get("processing", {}).get("revision", 0)
    return revision


async def enqueue_repair(media: MediaDocument, jobs: JobStore) -> None:
    """Have the renditions of a READY `media` (with `REPAIR_FIELDS`) made again while it stays READY.

    Until that is done or the media is revised again, asking again costs nothing.
    """
    repairs: int = media.get("processing", {}).get("repairs", 0)
    generation = repairs + revision_of(media) + 1
    await jobs.enqueue(media["_id"], JobKind.REPAIR, lane=Lane.BACKFILL, generation=generation)
