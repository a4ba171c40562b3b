"""Media of a purpose as they become ready, for everybody who has that feed on a screen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from uuid import UUID

from service.access import Action, Viewer, may
from service.change_feed import READY, ChangeFeed
from service.documents import MediaDocument
from service.errors import TemporarilyUnavailable
from service.fresh_documents import FreshDocuments
from service.lifecycle import MediaStatus
from service.models import MediaPurpose

# Documents that one reader holds at most, however slowly it takes them; the next are read when it is their turn.
_AT_ONCE = 10


async def follow_feed(
    viewer: Viewer, purpose: MediaPurpose, *, fields: Collection[str], change_feed: ChangeFeed
) -> AsyncIterator[MediaDocument]:
    """Every media of `purpose` that becomes READY from now on and that `viewer` may see, oldest first.

    Never ends by itself. Raises TemporarilyUnavailable where some may have been missed, because the reader is too slow
    or the database's own record of changes does not reach back far enough: a gap must not go unnoticed.
    """
    wanted = frozenset({*fields, "purpose"})

    async def look(media_ids: Collection[UUID]) -> list[MediaDocument]:
        documents = await change_feed.read(media_ids, wanted)
        found = (documents[each] for each in media_ids if each in documents)
        return [media for media in found if _belongs(media, purpose) and may(viewer, Action.READ, media)]

    shown = FreshDocuments(look)
    await change_feed.ready()
    with change_feed.follow([READY]) as follower:
        while True:
            changed = await follower.changes()
            if changed is None:
                raise TemporarilyUnavailable("Updates were missed; subscribe again, then read the feed once more.")
            waiting = sorted(changed)
            for start in range(0, len(waiting), _AT_ONCE):
                await shown.load(waiting[start : start + _AT_ONCE])
                while (media := await shown.foremost()) is not None:
                    shown.drop()
                    yield media


def _belongs(media: MediaDocument, purpose: MediaPurpose) -> bool:
    # It may have been deleted or locked away since.
    return media["purpose"] == purpose and media["status"] == MediaStatus.READY
