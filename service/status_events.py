"""Following media: a snapshot first, then every change, ordered by sequence, resumable by cursor."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from service.access import Action, Viewer, granted_filters
from service.change_feed import ChangeFeed
from service.documents import MediaDocument
from service.errors import InvalidInput, NotFound
from service.lifecycle import TERMINAL, MediaStatus
from service.stores import Stores

MAX_FOLLOWED = 100

PROGRESS: Mapping[MediaStatus, float] = {
    MediaStatus.INITIATED: 0.0,
    MediaStatus.UPLOADING: 0.1,
    MediaStatus.UPLOADED: 0.5,
    MediaStatus.PROCESSING: 0.7,
    MediaStatus.READY: 1.0,
}

_FIELDS = ("status_sequence", "status_history")


@dataclass(frozen=True, slots=True)
class StatusEvent:
    """One entry of a media's status history. `cursor` resumes all followed media after it."""

    media: MediaDocument
    status: MediaStatus
    sequence: int
    cursor: str


def encode_cursor(seen: Mapping[UUID, int]) -> str:
    """Opaque text for the last sequence seen of each media."""
    raw = b"".join(media_id.bytes + sequence.to_bytes(4, "big") for media_id, sequence in seen.items())
    return base64.urlsafe_b64encode(raw).decode()


def decode_cursor(cursor: str) -> dict[UUID, int]:
    """The inverse of `encode_cursor`. Raises InvalidInput for anything else."""
    try:
        raw = base64.b64decode(cursor, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b"?"
    if len(raw) % 20 or len(raw) > 20 * MAX_FOLLOWED:
        raise InvalidInput(
            "This cursor was not issued by mediaStatus; leave `after` out to begin anew.", field=["after"]
        )
    records = (raw[start : start + 20] for start in range(0, len(raw), 20))
    return {UUID(bytes=record[:16]): int.from_bytes(record[16:], "big") for record in records}


async def follow_media(
    viewer: Viewer,
    media_ids: Sequence[UUID],
    *,
    after: str | None,
    fields: Collection[str],
    stores: Stores,
    change_feed: ChangeFeed,
) -> AsyncIterator[StatusEvent]:
    """Events of `media_ids` until each has reached a terminal status. `fields` is what to load of each media.

    Without `after`, first the present status of each; with it, every change since. Raises InvalidInput, and NotFound
    if an id is unknown or not for this viewer.
    """
    if not 1 <= len(media_ids) <= MAX_FOLLOWED:
        raise InvalidInput(f"Give 1 to {MAX_FOLLOWED} ids.", field=["ids"])
    resumed = {} if after is None else decode_cursor(after)
    seen = {media_id: sequence for media_id, sequence in resumed.items() if media_id in media_ids}
    ended: set[UUID] = set()
    with change_feed.follow(media_ids) as follower:
        await change_feed.ready()
        pending: set[UUID] = set(follower.media_ids)
        changes = follower.changes()
        while True:
            documents = await stores.media.get_many(
                pending, fields={*fields, *_FIELDS}, access=granted_filters(viewer, Action.FOLLOW)
            )
            if pending - documents.keys() - ended:
                raise NotFound("There is no such media.", field=["ids"])
            for media_id in [media_id for media_id in media_ids if media_id in pending]:
                for event in _news(documents[media_id], seen):
                    yield event
                if documents[media_id]["status"] in TERMINAL:
                    ended.add(media_id)
            if ended >= follower.media_ids:
                return
            pending = await anext(changes) - ended


def _news(media: MediaDocument, seen: dict[UUID, int]) -> list[StatusEvent]:
    history = media["status_history"]
    fresh = (
        history[-1:]
        if media["_id"] not in seen
        else [entry for entry in history if entry["sequence"] > seen[media["_id"]]]
    )
    events = []
    for entry in fresh:
        seen[media["_id"]] = entry["sequence"]
        events.append(StatusEvent(media, MediaStatus(entry["status"]), entry["sequence"], encode_cursor(seen)))
    return events
