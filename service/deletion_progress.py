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

_ENDS = frozenset({DeletionStage.CDN_INVALIDATED, DeletionStage.VERIFIED, DeletionStage.BLOCKED_BY_RETENTION})


async def follow_deletion(
    viewer: Viewer, media_id: UUID, *, has_cdn: bool, stores: Stores, change_feed: ChangeFeed
) -> AsyncIterator[DeletionDocument]:
    """The deletion of `media_id` as it is now, then as it changes, until its last stage.

    That is the removal of its objects where there is no CDN that could be told, or was none by then. Raises NotFound if
    there is no such deletion or the media is not the viewer's to delete.
    """
    shown: DeletionDocument | None = None
    with change_feed.follow([Topic("deletion", media_id)]) as follower:
        await change_feed.ready()
        while True:
            deletion = (await find_deletions(viewer, [media_id], stores=stores)).get(media_id)
            if deletion is None:
                raise NotFound("There is no such deletion.", field=["id"])
            if deletion != shown:
                shown = deletion
                yield deletion
            awaits_cdn = has_cdn and deletion.get("awaits_cdn", False)
            if deletion["stage"] in _ENDS or (deletion["stage"] == DeletionStage.OBJECTS_REMOVED and not awaits_cdn):
                return
            await follower.changes()
