"""The media whose embeddings are nearest to a vector, or to that of another media, as far as a viewer may see them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import aclosing
from typing import Final
from uuid import UUID

from service.access import Action, Viewer, granted_filters, may
from service.documents import MediaDocument
from service.embedding_request import NearestRequest, parsed
from service.embeddings import check_dimensions
from service.errors import InvalidInput, NotFound, StateConflict
from service.stores import Stores
from service.stores.embeddings import numbers, packed, row_id
from service.vector_search import VectorSearch

MAX_NEAREST: Final = 100

# Decimals of a similarity, for whom the vectors themselves are not.
_ROUNDED: Final = 3
# By which that is decided.
_OF_ACCESS = ("owner_id", "status", "visibility")

Nearest = list[tuple[MediaDocument, float]]


async def nearest_media(
    viewer: Viewer,
    *,
    model: str,
    vector: Sequence[float] | None,
    media_id: UUID | None,
    first: int,
    fields: Collection[str],
    stores: Stores,
    search: VectorSearch | None,
) -> Nearest:
    """Up to `first` media with the cosine similarity of their embeddings by `model`, nearest first.

    Either near to `vector`, or to what the model made of a media, which is none of them; nothing if it made nothing.
    Embeddings say beforehand what the viewer may see, and their media confirm it: fewer than `first` are answered only
    where there are no more. Those who may not read vectors are told similarities to three decimals. Raises
    InvalidInput, NotFound and, where this deployment cannot search, StateConflict.
    """
    if not 1 <= first <= MAX_NEAREST:
        raise InvalidInput(f"`first` must be 1 to {MAX_NEAREST}.", field=["first"])
    if search is None:
        raise StateConflict("This deployment searches no embeddings.")
    asked = await _asked(viewer, model, vector, media_id, stores)
    if asked is None:
        return []
    access = granted_filters(viewer, Action.READ)
    found: Nearest = []
    # One more for the media itself, which is mostly the nearest.
    async with aclosing(search.nearest(model, asked, access=access, limit=first + 1)) as nearest:
        async for candidates in nearest:
            others = {each.media_id: each.similarity for each in candidates if each.media_id != media_id}
            media = await stores.media.get_many(others, fields={*fields, *_OF_ACCESS}, access=access)
            found += [(media[each], similarity) for each, similarity in others.items() if each in media]
            if len(found) >= first:
                break
    found.sort(key=lambda each: -each[1])
    return [(each, _told(viewer, each, similarity)) for each, similarity in found[:first]]


def _told(viewer: Viewer, media: MediaDocument, similarity: float) -> float:
    return similarity if may(viewer, Action.ANNOTATE, media) else round(similarity, _ROUNDED)


async def _asked(
    viewer: Viewer, model: str, vector: Sequence[float] | None, media_id: UUID | None, stores: Stores
) -> bytes | None:
    given = parsed(NearestRequest, {"model": model, "vector": None if vector is None else list(vector)})
    if given.vector is not None:
        await check_dimensions(model, len(given.vector), stores=stores)
        return numbers(packed(given.vector))
    if media_id is None or not await stores.media.get(media_id, fields=(), access=granted_filters(viewer, Action.READ)):
        raise NotFound("There is no such media.", field=["mediaId"])
    rows = await stores.embeddings.by_ids([row_id(media_id, model)])
    return numbers(rows[0]["vector"]) if rows else None
