"""Sending dead letters back to work, each the way its kind allows."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from service.audit import OPERATOR_ACTOR
from service.documents import MediaDocument
from service.lifecycle import MediaStatus
from service.models import JobKind
from service.object_store import ObjectStore
from service.processing_jobs import enqueue_processing, processing_generation
from service.processing_retry import RETRY_FIELDS, step_back, why_not_again
from service.stores import Stores
from service.stores.dead_letters import DeadLetter

# A job that may be done: its media waits for just this round of processing.
_WAITING = frozenset({MediaStatus.UPLOADED, MediaStatus.PROCESSING})
_ENDED = frozenset({MediaStatus.FAILED, MediaStatus.QUARANTINED})


class RetryOutcome(enum.StrEnum):
    """REOPENED: the same job begins anew. SENT_BACK: its media begins a new round of processing.

    SUPERSEDED: others did that already, or the media is gone; the letter is removed. REFUSED: it cannot help.
    """

    REOPENED = "reopened"
    SENT_BACK = "sent_back"
    SUPERSEDED = "superseded"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Retried:
    """What became of a dead letter, and a sentence on why where that is not plain."""

    outcome: RetryOutcome
    why: str = ""


async def retry_dead_letter(letter: DeadLetter, *, stores: Stores, object_store: ObjectStore) -> Retried:
    """Have the work of `letter` done after all. Safe to repeat and to interrupt: it is then still there, or done.

    Raises TemporarilyUnavailable, or an outage of the database.
    """
    if letter.kind != JobKind.PROCESS:
        return await _reopen(letter, stores)
    media = await stores.media.get(letter.media_id, fields=RETRY_FIELDS)
    if media is None:
        return await _superseded(letter, stores, "There is no such media any more.")
    status = MediaStatus(media["status"])
    if processing_generation(media) != letter.generation:
        if status is MediaStatus.UPLOADED:
            # Whoever sent it back may have died before the new round was enqueued.
            await enqueue_processing(media, stores.jobs)
        return await _superseded(letter, stores, f"A later round of processing was begun; the media is {status}.")
    if status in _WAITING:
        return await _reopen(letter, stores)
    if status in _ENDED:
        return await _send_back(letter, media, stores, object_store)
    return await _superseded(letter, stores, f"The media is {status}.")


async def _send_back(letter: DeadLetter, media: MediaDocument, stores: Stores, object_store: ObjectStore) -> Retried:
    if (reason := await why_not_again(media, object_store)) is not None:
        return Retried(RetryOutcome.REFUSED, reason)
    await step_back(media, media["status_sequence"], actor=OPERATOR_ACTOR, stores=stores)
    now = await stores.media.get(letter.media_id, fields=RETRY_FIELDS)
    if now is not None and now["status"] == MediaStatus.UPLOADED:
        await enqueue_processing(now, stores.jobs)
    await stores.dead_letters.remove([letter])
    return Retried(RetryOutcome.SENT_BACK)


async def _reopen(letter: DeadLetter, stores: Stores) -> Retried:
    if await stores.dead_letters.reopen(letter):
        return Retried(RetryOutcome.REOPENED)
    return Retried(RetryOutcome.SUPERSEDED, "Somebody else was faster.")


async def _superseded(letter: DeadLetter, stores: Stores, why: str) -> Retried:
    await stores.dead_letters.remove([letter])
    return Retried(RetryOutcome.SUPERSEDED, why)
