"""The subscription root."""

from __future__ import annotations

from collections.abc import AsyncIterator

import strawberry

from resolvers.selection import media_fields
from schema.context import Info
from schema.global_id import id_of
from schema.media import media_of
from schema.status_event import MediaStatusEvent
from service.errors import NotFound
from service.status_events import PROGRESS, follow_media


@strawberry.type
class Subscription:
    @strawberry.subscription(
        description="The status of each media, then every change; ends when every one is at a terminal status."
    )
    async def media_status(
        self, info: Info, ids: list[strawberry.ID], after: str | None = None
    ) -> AsyncIterator[MediaStatusEvent]:
        decoded = [id_of("Media", global_id) for global_id in ids]
        media_ids = list(dict.fromkeys(media_id for media_id in decoded if media_id is not None))
        if None in decoded:
            raise NotFound("There is no such media.", field=["ids"])
        events = follow_media(
            info.context.viewer,
            media_ids,
            after=after,
            fields=media_fields(info),
            stores=info.context.runtime.stores,
            change_feed=info.context.change_feed,
        )
        async for event in events:
            yield MediaStatusEvent(
                media=media_of(event.media),
                status=event.status,
                sequence=event.sequence,
                cursor=event.cursor,
                progress=PROGRESS.get(event.status),
            )
