"""Queries of embeddings: which media are nearest."""

from __future__ import annotations

import strawberry

from schema.by_rule import holds_to
from schema.context import Info
from schema.embedding_changes import NearestMedia
from schema.field_rules import Rule
from schema.global_id import id_of
from schema.media import media_of
from schema.selection import media_fields
from service.errors import InvalidInput
from service.nearest_media import nearest_media


@strawberry.type
class EmbeddingQueries:
    @strawberry.field(
        description="Media that the viewer may see whose embeddings by `model` are nearest: to `vector`, or to that of "
        "the media `mediaId`, which is left out. Give one of the two."
    )
    @holds_to(Rule.EVERYBODY)
    async def nearest_media(
        self,
        info: Info,
        model: str,
        vector: list[float] | None = None,
        media_id: strawberry.ID | None = None,
        first: int | None = 20,
    ) -> list[NearestMedia]:
        if (vector is None) == (media_id is None):
            raise InvalidInput("Give a vector or a mediaId, and not both.", field=["vector"])
        found = await nearest_media(
            info.context.viewer,
            model=model,
            vector=vector,
            media_id=None if media_id is None else id_of("Media", media_id),
            first=20 if first is None else first,
            fields=media_fields(info),
            stores=info.context.runtime.stores,
            search=info.context.vector_search,
        )
        return [NearestMedia(similarity=similarity, media=media_of(media)) for media, similarity in found]
