"""Keyset pages: cursors that name a place in the order, not a number of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from schema.context import Info
from schema.cursors import decode_cursor, encode_cursor
from schema.media import MediaConnection, MediaEdge, media_of
from schema.originals import record_originals
from schema.selection import media_fields
from schema.values import DisplayHint, PageInfo
from service.access import Action, granted_filters
from service.documents import MediaDocument
from service.errors import InvalidInput
from service.lifecycle import MediaStatus
from service.models import MediaPurpose

MAX_PAGE = 100


async def media_page(
    info: Info,
    query: Mapping[str, Any],
    *,
    first: int,
    after: str | None,
    hint: DisplayHint | None = None,
    action: Action = Action.READ,
) -> MediaConnection:
    """One page of the media that match `query` and that the viewer may do `action` with. Raises InvalidInput."""
    _check_size(first)
    media = info.context.media_memory or info.context.runtime.stores.media
    fields = media_fields(info)
    documents = await media.list_page(
        query,
        access=granted_filters(info.context.viewer, action),
        before=None if after is None else decode_cursor(after),
        limit=first + 1,
        fields=fields,
    )
    await record_originals(info, documents[:first], fields)
    return _connection(documents, first, has_previous=after is not None, hint=hint)


async def feed_page(
    info: Info, purpose: MediaPurpose, *, first: int, after: str | None, hint: DisplayHint | None
) -> MediaConnection:
    """One page of the READY media of a purpose that the viewer may see. Raises InvalidInput."""
    pages = info.context.first_pages
    if pages is None or after is not None:
        query = {"purpose": purpose.value, "status": MediaStatus.READY.value}
        return await media_page(info, query, first=first, after=after, hint=hint)
    _check_size(first)
    fields = media_fields(info)
    documents = await pages.read_for(info.context.viewer, purpose.value, limit=first + 1, fields=fields)
    await record_originals(info, documents[:first], fields)
    return _connection(documents, first, has_previous=False, hint=hint)


def _check_size(first: int) -> None:
    if not 1 <= first <= MAX_PAGE:
        raise InvalidInput(f"`first` must be 1 to {MAX_PAGE}.", field=["first"])


def _connection(
    documents: Sequence[MediaDocument], first: int, *, has_previous: bool, hint: DisplayHint | None
) -> MediaConnection:
    """A page of `first` of these, which are one more where there is another page."""
    shown = documents[:first]
    edges = [MediaEdge(node=media_of(document, feed_hint=hint)) for document in shown]
    page_info = PageInfo(
        has_next_page=len(documents) > first,
        has_previous_page=has_previous,
        start_cursor=encode_cursor(shown[0]["_id"]) if shown else None,
        end_cursor=encode_cursor(shown[-1]["_id"]) if shown else None,
    )
    return MediaConnection(edges=edges, page_info=page_info)
