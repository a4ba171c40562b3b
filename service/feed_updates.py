"""Media of a purpose as they become ready, for everybody who has that feed on a screen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection

from service.access import Action, Viewer, may
from service.change_feed import READY, ChangeFeed
from service.documents import MediaDocument
from service.errors import TemporarilyUnavailable
from service.lifecycle import MediaStatus
from service.models import MediaPurpose


async def follow_feed(
    viewer: Viewer, purpose: MediaPurpose, *, fields: Collection[str], change_feed: ChangeFeed
) -> AsyncIterator[MediaDocument]:
    """Every media of `purpose` that becomes READY from now on and that `viewer` may see, oldest first.

    Never ends by itself. Raises TemporarilyUnavailable where some may have been missed, because the reader is too slow
    or the database's own record of changes does not reach back far enough: a gap must not go unnoticed.
    """
    wanted = frozenset({*fields, "purpose"})
    await change_feed.ready()
    with change_feed.follow([READY]) as follower:
        while True:
            changed = await follower.changes()
            if changed is None:
                raise TemporarilyUnavailable("Updates were missed; subscribe again, then read the feed once more.")
            documents = await change_feed.read(changed, wanted)
            for media_id in sorted(changed):
                media = documents.get(media_id)
                if media is not None and _belongs(media, purpose) and may(viewer, Action.READ, media):
                    yield media


def _belongs(media: MediaDocument, purpose: MediaPurpose) -> bool:
    # It may have been deleted or locked away since.
    return media["purpose"] == purpose and media["status"] == MediaStatus.READY
