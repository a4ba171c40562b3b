"""What most mutations answer with: the media they changed, as the viewer may see it, or why they did not."""

from __future__ import annotations

from collections.abc import Awaitable
from uuid import UUID

from resolvers.problems import outcome_of
from resolvers.queries import load_media
from schema.context import Info
from schema.media import Media
from schema.payloads import UserError, user_error


async def changed_media(info: Info, work: Awaitable[UUID]) -> tuple[Media | None, list[UserError]]:
    """The media whose id `work` returns, or the problems that it raised."""
    media_id, problems = await outcome_of(work)
    media = None if media_id is None else (await load_media(info, [media_id])).get(media_id)
    return media, list(map(user_error, problems))
