"""The database with itself: contents that nobody needs any more, and references of media that are no more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial
from uuid import UUID

from service.documents import ContentDocument, MediaDocument
from service.kept_media import removal_of
from service.reconciliation.context import REST_FIELDS, Context
from service.reconciliation.findings import Finding, FindingKind, Outcome


async def examine_contents(page: Sequence[ContentDocument], context: Context) -> AsyncIterator[Finding]:
    """Contents that nobody refers to, and references of media that are no more."""
    media_ids = {media_id for content in page for media_id in content["refs"]}
    media = await context.stores.media.get_many(media_ids, fields=REST_FIELDS)
    for content in page:
        what = f"{content['bucket']}/{content['key']}"
        if not content["refs"]:
            outcome = await context.settle(partial(_drop, content["key"], context))
            yield Finding(FindingKind.STALE_REFERENCE, what, "nobody refers to it", outcome)
        for media_id in content["refs"]:
            if (why := _stale(media_id, media.get(media_id), context)) is not None:
                outcome = await context.settle(partial(_give_up, media_id, content["key"], context))
                yield Finding(FindingKind.STALE_REFERENCE, what, why, outcome, str(media_id))


def _stale(media_id: UUID, media: MediaDocument | None, context: Context) -> str | None:
    if media is None:
        # A content is referred to before its media is written.
        return f"media {media_id} does not exist" if context.is_older(media_id) else None
    return f"media {media_id} is {media['status']}" if context.is_over(media) else None


async def _drop(key: str, context: Context) -> Outcome:
    # Its object, if there is one, is found with the other objects, and removed there.
    return Outcome.REPAIRED if await context.stores.contents.is_free(key) else Outcome.GONE


async def _give_up(media_id: UUID, key: str, context: Context) -> Outcome:
    media = await context.stores.media.get(media_id, fields=REST_FIELDS)
    if _stale(media_id, media, context) is None:
        return Outcome.GONE
    async with removal_of(media_id, stores=context.stores) as kept:
        if kept is not None:
            return Outcome.KEPT
        await context.stores.contents.release(media_id)
        await context.stores.contents.is_free(key)
        return Outcome.REPAIRED
