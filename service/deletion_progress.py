"""Following a deletion until it goes no further."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

from service.access import Viewer
from service.change_feed import ChangeFeed, Topic
from service.deletion import find_deletions
from service.errors import NotFound
from service.models import DeletionStage
from service.stores import Stores
from service.stores.deletions import DeletionDocument

# BLOCKED_BY_RETENTION is none: the deletion waits, and goes on by itself.
_END = DeletionStage.VERIFIED
# What clients are shown of it: the sweeper's and the outbox' writes are no news to them.
_SHOWN = ("stage", "objects", "objects_removed", "cdn_invalidated_at", "verified_at", "certificate", "blocked_until")


async def follow_deletion(
    viewer: Viewer, media_id: UUID, *, stores: Stores, change_feed: ChangeFeed
) -> AsyncIterator[DeletionDocument]:
    """The deletion of `media_id` as it is now, then as it changes, until it is verified.

    Raises NotFound if there is no such deletion or the media is not the viewer's to delete.
    """
    shown: list[object] | None = None
    with change_feed.follow([Topic("deletion", media_id)]) as follower:
        await change_feed.ready()
        while True:
            deletion = (await find_deletions(viewer, [media_id], stores=stores)).get(media_id)
            if deletion is None:
                raise NotFound("There is no such deletion.", field=["id"])
            seen = [deletion.get(name) for name in _SHOWN]
            if seen != shown:
                shown = seen
                yield deletion
            if deletion["stage"] == _END:
                return
            await follower.changes()
