"""Waiting for what is made of a media after it is READY: the other sizes and formats, and the preview of a clip."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from service.client.answers import FollowedMedia
from service.client.errors import ClientError
from service.client.tracking import UploadResult

if TYPE_CHECKING:
    from service.client.media_client import MediaClient

# In seconds, each a half longer than the one before: a picture takes one or two, a clip of two minutes some more.
FIRST_PAUSE_S, LONGEST_PAUSE_S, GROWTH = 0.25, 5.0, 1.5
ASKED_TOGETHER = 20


async def see_complete(
    client: MediaClient, results: Sequence[UploadResult], *, patience_s: float = 600
) -> list[UploadResult]:
    """Results of READY media, each with all of its renditions; others as they are, in order.

    No status changes when renditions are added, so the API is asked again and again, less and less often. After
    `patience_s` seconds, or where the API no longer answers, a result comes with the renditions that were seen last:
    `media.renditions_complete` tells.
    """
    latest: dict[str, FollowedMedia] = {}
    waiting = _incomplete(results)
    deadline = asyncio.get_running_loop().time() + patience_s
    pause_s = FIRST_PAUSE_S
    while waiting:
        try:
            found = await _followed(client, waiting)
        except ClientError:
            # What was uploaded is READY all the same, and so is the result.
            break
        latest.update(found)
        # Whatever was deleted meanwhile gets no more.
        waiting = [media_id for media_id, media in found.items() if not media.renditions_complete]
        left_s = deadline - asyncio.get_running_loop().time()
        if left_s <= 0:
            break
        if waiting:
            await asyncio.sleep(min(pause_s, left_s))
            pause_s = min(pause_s * GROWTH, LONGEST_PAUSE_S)
    return [_updated(result, latest) for result in results]


def _incomplete(results: Sequence[UploadResult]) -> list[str]:
    """Ids, each once: two files with the same bytes are one media."""
    ready = [result.media for result in results if result.error is None and result.media is not None]
    return list(dict.fromkeys(update.media_id for update in ready if not update.renditions_complete))


async def _followed(client: MediaClient, media_ids: Sequence[str]) -> dict[str, FollowedMedia]:
    starts = range(0, len(media_ids), ASKED_TOGETHER)
    answers = [await client.followed(media_ids[start : start + ASKED_TOGETHER]) for start in starts]
    return {media.id: media for answer in answers for media in answer}


def _updated(result: UploadResult, latest: dict[str, FollowedMedia]) -> UploadResult:
    if result.media is None or (media := latest.get(result.media.media_id)) is None:
        return result
    return replace(result, media=result.media.model_copy(update={"media": media}))
