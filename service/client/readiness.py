"""Waiting for media whose bytes are up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from itertools import chain
from typing import TYPE_CHECKING

from service.client.answers import StatusUpdate
from service.client.errors import NOT_FOUND, ClientError, NotReady
from service.client.tracking import OnProgress, TrackedFile, UploadResult
from service.lifecycle import MediaStatus

if TYPE_CHECKING:
    from service.client.media_client import MediaClient

STILL_PROCESSING = "STILL_PROCESSING"
FOLLOWED_TOGETHER = 100


async def see_ready(
    client: MediaClient,
    results: Sequence[UploadResult],
    *,
    patience_s: float = 600,
    on_progress: OnProgress = lambda progress: None,
) -> list[UploadResult]:
    """Results of files that were only sent, each once its media has ended; failed ones as they are, in order.

    `patience_s`: how long to wait for each. `on_progress` is told a file's place in `results`.
    """
    files = [_tracked(index, result, on_progress) for index, result in enumerate(results)]
    waiting = [file for file in files if file.error is None and file.media_id is not None]
    for start in range(0, len(waiting), FOLLOWED_TOGETHER):
        group = waiting[start : start + FOLLOWED_TOGETHER]
        watching = asyncio.create_task(watch(client, group))
        try:
            await asyncio.gather(*(await_ready(file, patience_s) for file in group))
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
    return [file.result() for file in files]


async def watch(client: MediaClient, files: Sequence[TrackedFile]) -> None:
    """Tell each file what becomes of its media."""
    # Two files with the same bytes are one media.
    watchers: dict[str, list[TrackedFile]] = {}
    for file in files:
        if file.media_id is not None:
            watchers.setdefault(file.media_id, []).append(file)
    try:
        async with aclosing(client.follow(list(watchers))) as updates:
            async for update in updates:
                for file in watchers[update.media_id]:
                    file.follow(update)
    except ClientError as error:
        if error.code == NOT_FOUND and len(watchers) > 1:
            # Which one, it does not say; that one is gone must not cost the others.
            groups, half = list(watchers.values()), len(watchers) // 2
            await asyncio.gather(*(watch(client, [*chain(*part)]) for part in (groups[:half], groups[half:])))
            return
        for file in files:
            file.lose(error)


async def await_ready(file: TrackedFile, patience_s: float) -> None:
    """Wait until a watched file's media has ended; the file is refused if that is not as READY."""
    try:
        update = await _ended(file, patience_s)
    except ClientError as error:
        file.refuse(error)
    else:
        if update.status != MediaStatus.READY:
            file.refuse(_not_ready(update))


def _tracked(index: int, result: UploadResult, on_progress: OnProgress) -> TrackedFile:
    return TrackedFile(
        index,
        result.path,
        on_progress,
        media_id=result.media_id,
        error=result.error,
        is_sent=result.is_sent,
        is_duplicate=result.is_duplicate,
    )


async def _ended(file: TrackedFile, patience_s: float) -> StatusUpdate:
    try:
        async with asyncio.timeout(patience_s):
            # Whoever loses patience must not end the wait of others.
            return await asyncio.shield(file.ended)
    except TimeoutError:
        message = (
            f"The bytes are up, but the media is still {file.status} after {patience_s:g} s; "
            "it may become READY without any help. Look at it later."
        )
        raise NotReady(STILL_PROCESSING, message, retryable=True) from None


def _not_ready(update: StatusUpdate) -> NotReady:
    failure = update.failure
    if failure is None:
        return NotReady(update.status, f"The media ended as {update.status}.")
    return NotReady(failure.code, failure.message, retryable=failure.retryable)
