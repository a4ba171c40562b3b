"""Clearing up after writers of annotations that died half-way."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Final
from uuid import UUID

from service.annotation_writes import ROUNDS, mark_without_record, note_last
from service.errors import TemporarilyUnavailable
from service.lifecycle import MediaStatus
from service.stores import Stores

# Far longer than a write takes.
_ABANDONED_AFTER = timedelta(minutes=10)
_AT_ONCE: Final = 1_000


async def clear_abandoned_writes(*, stores: Stores, grace: timedelta = _ABANDONED_AFTER) -> int:
    """Remove the rows that nobody lists and that writers left behind who began `grace` ago; how many writes these were.

    Safe to run anywhere, at any time: a writer that was merely slow begins anew.
    """
    before = await stores.media.server_time() - grace
    rounds = await stores.annotation_rows.unfinished(before, limit=_AT_ONCE)
    for round_ in rounds:
        # Of a media that others write to all the time, the next call sees to it.
        with suppress(TemporarilyUnavailable):
            # In this order: a writer that finds its round going on has read a mark that is overwritten afterwards.
            given_up = await stores.annotation_rows.give_up(round_["_id"])
            if given_up is None:
                continue
            listed = await _settled_segments(round_["media_id"], stores)
            await stores.annotation_rows.remove(round_["media_id"], set(given_up["segments"]) - listed)
            await stores.annotation_rows.finish(round_["_id"])
    return len(rounds)


async def _settled_segments(media_id: UUID, stores: Stores) -> set[UUID]:
    """The segments that a media lists, from when on nobody can list any more who began before this call."""
    for _ in range(ROUNDS):
        media = await stores.media.get(media_id, fields=("annotation_segments", "last_annotating"))
        if media is None or media["status"] == MediaStatus.DELETED:
            return set()
        last = await note_last(media, stores=stores)
        # Under another mark: whoever has read the one before cannot write any more.
        if await stores.annotations.write(media_id, None, mark=mark_without_record(), replacing=last):
            return {segment["id"] for segment in media.get("annotation_segments", ())}
    raise TemporarilyUnavailable("Others are annotating this media all the time; it is cleared up later.")
