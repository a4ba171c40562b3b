"""The subscription root."""

from __future__ import annotations

from collections.abc import AsyncIterator

import strawberry

from schema.by_rule import holds_to
from schema.context import Info
from schema.deletion import Deletion, deletion_of
from schema.field_rules import Rule
from schema.global_id import id_of
from schema.media import Media, media_of
from schema.selection import media_fields
from schema.status_event import MediaStatusEvent, status_event_of
from service.deletion_progress import follow_deletion
from service.errors import NotFound
from service.feed_updates import follow_feed
from service.models import MediaPurpose
from service.status_events import follow_capture, follow_media


@strawberry.type
class Subscription:
    @strawberry.subscription(
        description="The status of each media, then every change; ends when every one is at a terminal status."
    )
    @holds_to(Rule.FOLLOWERS)
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
            change_feed=info.context.change_feed,
        )
        async for event in events:
            yield status_event_of(event)

    @strawberry.subscription(
        description="The same for all media of one capture, up to 100, those that join it meanwhile included."
    )
    @holds_to(Rule.FOLLOWERS)
    async def capture_status(
        self, info: Info, capture_id: strawberry.ID, after: str | None = None
    ) -> AsyncIterator[MediaStatusEvent]:
        events = follow_capture(
            info.context.viewer,
            capture_id,
            after=after,
            fields=media_fields(info),
            stores=info.context.runtime.stores,
            change_feed=info.context.change_feed,
        )
        async for event in events:
            yield status_event_of(event)

    @strawberry.subscription(description="Media of a purpose as they become ready (PUBLIC, or the viewer's own).")
    @holds_to(Rule.EVERYBODY)
    async def feed_updates(self, info: Info, purpose: MediaPurpose) -> AsyncIterator[Media]:
        updates = follow_feed(
            info.context.viewer, purpose, fields=media_fields(info), change_feed=info.context.change_feed
        )
        async for media in updates:
            yield media_of(media)

    @strawberry.subscription(description="A deletion as it is now, then as it proceeds; ends with its last stage.")
    @holds_to(Rule.DELETERS)
    async def deletion_progress(
        self,
        info: Info,
        id: strawberry.ID,  # noqa: A002 - the contract's name
    ) -> AsyncIterator[Deletion]:
        media_id = id_of("Deletion", id)
        if media_id is None:
            raise NotFound("There is no such deletion.", field=["id"])
        deletions = follow_deletion(
            info.context.viewer,
            media_id,
            stores=info.context.runtime.stores,
            change_feed=info.context.change_feed,
        )
        async for deletion in deletions:
            yield deletion_of(deletion)
