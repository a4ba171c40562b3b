"""Look-alikes of a picture, as clients see them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import strawberry

from schema.context import Info
from schema.selection import media_fields
from service.access import Action, granted_filters
from service.documents import MediaDocument
from service.look_alikes import Asked, find_look_alikes
from service.perceptual_hash import Transform

if TYPE_CHECKING:
    from schema.media import Media

DEFAULT_DISTANCE = 6
DEFAULT_FIRST = 20

strawberry.enum(
    Transform,
    name="ImageTransform",
    description="How one picture has to be turned to look like another: mirrored left to right, then rotated clockwise "
    "by so many degrees.",
)


@strawberry.type(description="A media that looks like another one, and how much.")
class SimilarMedia:
    distance: int = strawberry.field(
        description="In how many of 64 bits the perceptual hashes differ. To 4: the same picture, scaled or encoded "
        "anew; to 8: worth a look; to 10: perhaps."
    )
    media: Annotated[Media, strawberry.lazy("schema.media")]
    transform: Transform = strawberry.field(
        description="How what was asked for has to be turned first; IDENTITY unless `includeTransformed`."
    )


async def similar_media(
    info: Info,
    asked: Asked,
    *,
    max_distance: int | None,
    first: int | None,
    media_of: Callable[[MediaDocument], Media],
    besides: UUID | None = None,
) -> list[SimilarMedia]:
    """What looks like what is asked, nearest first, as far as the viewer may see it. Raises InvalidInput."""
    stores = info.context.runtime.stores
    access = granted_filters(info.context.viewer, Action.READ)
    found = await find_look_alikes(
        asked,
        search=info.context.look_alike_memory or stores.look_alikes,
        store=stores.look_alikes,
        access=access,
        max_distance=DEFAULT_DISTANCE if max_distance is None else max_distance,
        first=DEFAULT_FIRST if first is None else first,
        besides=besides,
    )
    documents = await stores.media.get_many([each.media_id for each in found], fields=media_fields(info), access=access)
    return [
        SimilarMedia(distance=each.distance, media=media_of(documents[each.media_id]), transform=each.transform)
        for each in found
        if each.media_id in documents
    ]
