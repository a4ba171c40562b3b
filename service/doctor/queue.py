"""The queues: do they answer, and is there a place for storage events that nobody can handle?"""

from __future__ import annotations

from service.doctor.findings import Finding, ok, problem, warning
from service.errors import TemporarilyUnavailable
from service.message_queue import MessageQueue
from service.settings import EventsSettings, JobsSettings, StorageSettings

_NO_ANSWER = "Correct MEDIA_EVENTS__QUEUE_URL or MEDIA_EVENTS__ENDPOINT; who reads it needs sqs:GetQueueAttributes."
_NO_HINTS = "Correct MEDIA_JOBS__QUEUE_URLS or MEDIA_JOBS__ENDPOINT; workers need sqs:GetQueueAttributes on each."
_NO_DEAD_LETTERS = "Give it a redrive policy to a second queue, or name one in MEDIA_EVENTS__DEAD_LETTER_URL."


async def check_queue(events: EventsSettings, storage: StorageSettings) -> list[Finding]:
    """The queue of `events`; nothing where they name none. No message is received or sent."""
    if events.queue_url is None:
        return []
    # Without the patience of a long poll.
    queue = MessageQueue(events.queue_url, events.model_copy(update={"wait_s": 0}), storage)
    try:
        has_policy = await queue.moves_dead_letters()
    except TemporarilyUnavailable as error:
        return [problem("queue", f"{events.queue_url} does not answer: {error.__cause__}", _NO_ANSWER)]
    finally:
        await queue.close()
    return [ok("queue", f"{events.queue_url} answers."), _dead_letters(events, has_policy=has_policy)]


def _dead_letters(events: EventsSettings, *, has_policy: bool) -> Finding:
    if has_policy:
        return ok("queue", "Its redrive policy takes messages that cannot be handled.")
    if events.dead_letter_url is not None:
        return ok("queue", f"Messages that cannot be handled go to {events.dead_letter_url}.")
    text = "It has no dead-letter queue: a message that cannot be handled comes again until it expires."
    return warning("queue", text, _NO_DEAD_LETTERS)


async def check_job_queues(jobs: JobsSettings, storage: StorageSettings) -> list[Finding]:
    """The queues of hints at jobs; nothing where there are none. No message is received or sent."""
    return [await _check_job_queue(url, jobs, storage) for url in dict.fromkeys(jobs.queue_urls.values())]


async def _check_job_queue(url: str, jobs: JobsSettings, storage: StorageSettings) -> Finding:
    queue = MessageQueue(url, jobs.model_copy(update={"wait_s": 0}), storage)
    try:
        await queue.moves_dead_letters()
    except TemporarilyUnavailable as error:
        return problem("queue", f"{url} does not answer: {error.__cause__}", _NO_HINTS)
    finally:
        await queue.close()
    return ok("queue", f"{url} answers.")
