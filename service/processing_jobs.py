"""The jobs that make renditions and take them away, whoever enqueues them."""

from __future__ import annotations

from service.documents import MediaDocument
from service.models import JobKind, Lane, MediaKind
from service.policies import kind_of
from service.stores.jobs import JobStore

# What `enqueue_processing` needs of a media.
PROCESSING_FIELDS = ("purpose", "processing.generation")
# What `enqueue_rendering` and `enqueue_retirement` need.
RENDERING_FIELDS = (
    *("processing.renders", "processing.revision", "processing.retirements"),
    *("content.type", "content.frame_count"),
)


def processing_generation(media: MediaDocument) -> int:
    """Which round of processing a media is in: 1, and one more with each retry."""
    generation: int = media.get("processing", {}).get("generation", 1)
    return generation


async def enqueue_processing(media: MediaDocument, jobs: JobStore) -> None:
    """Enqueue the processing of `media` (with `PROCESSING_FIELDS`) in its present round. Repeats are free."""
    generation = processing_generation(media)
    # Whatever it is for, somebody has just taken the picture and looks at the screen.
    await jobs.enqueue(media["_id"], JobKind.PROCESS, lane=Lane.FIRST_VISIBLE, generation=generation)


def revision_of(media: MediaDocument) -> int:
    """How often the focus and the visibility of `media` have changed: its renditions are made for one revision."""
    revision: int = media.get("processing", {}).get("revision", 0)
    return revision


def lacks_rendering(media: MediaDocument) -> bool:
    """Whether a READY `media` (with its `processing`) was not yet given everything in its present revision."""
    return media.get("processing", {}).get("rendered_revision") != revision_of(media)


async def enqueue_rendering(media: MediaDocument, jobs: JobStore, *, lane: Lane = Lane.STANDARD) -> bool:
    """Have a READY `media` (with `RENDERING_FIELDS`) given every rendition it should have, while it stays READY.

    Until that is done or the media is revised again, asking again costs nothing. Whether the job is new.
    """
    renders: int = media.get("processing", {}).get("renders", 0)
    generation = renders + revision_of(media) + 1
    return await jobs.enqueue(media["_id"], JobKind.RENDER, lane=lane, generation=generation, moves=_moves(media))


def _moves(media: MediaDocument) -> bool:
    content = media["content"]
    return kind_of(content["type"]) is MediaKind.VIDEO or content.get("frame_count", 1) > 1


async def enqueue_retirement(media: MediaDocument, jobs: JobStore, *, lane: Lane = Lane.BACKFILL) -> None:
    """Have the replaced renditions of `media` (with `RENDERING_FIELDS`) that are due removed. Repeats are free."""
    retirements: int = media.get("processing", {}).get("retirements", 0)
    await jobs.enqueue(media["_id"], JobKind.RETIRE, lane=lane, generation=retirements + 1)
