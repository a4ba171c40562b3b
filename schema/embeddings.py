"""Embeddings of a media: which models have made one, and their vectors for those who may write them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import strawberry
from strawberry.dataloader import DataLoader

from schema.by_rule import by_rule
from schema.context import Info
from schema.stored import stored
from service.documents import EmbeddingDocument, MediaDocument
from service.stores.embeddings import unpacked

T = TypeVar("T")


@strawberry.type(description="What a model made of a media: a point in its space, near to those of similar media.")
class Embedding:
    document: strawberry.Private[EmbeddingDocument]
    media: strawberry.Private[MediaDocument]

    model: str = stored("model", description="`name@version`.")
    dimensions: int = stored("dimensions")
    created_at: datetime = stored("created_at")

    @strawberry.field(description="In 32-bit floats, for the media's owner, moderators and jobs; null to others.")
    @by_rule
    async def vector(self, info: Info) -> list[float] | None:
        row = await _vectors(info).load(self.document["_id"])
        return None if row is None else unpacked(row["vector"])

    @property
    def media_document(self) -> MediaDocument:
        """What decides who is shown its vector."""
        return self.media


async def embeddings_of(info: Info, media: MediaDocument, models: Sequence[str] | None) -> list[Embedding]:
    """The embeddings of a media, by model; one query for all media of a page."""
    rows = await _embeddings(info).load(media["_id"])
    return [Embedding(document=row, media=media) for row in rows if models is None or row["model"] in models]


def _embeddings(info: Info) -> DataLoader[UUID, list[EmbeddingDocument]]:
    async def read(media_ids: list[UUID]) -> list[list[EmbeddingDocument]]:
        found = await info.context.runtime.stores.embeddings.of_media(media_ids)
        return [found[media_id] for media_id in media_ids]

    return _loader(info, "embeddings", read)


def _vectors(info: Info) -> DataLoader[UUID, EmbeddingDocument | None]:
    async def read(ids: list[UUID]) -> list[EmbeddingDocument | None]:
        found = {row["_id"]: row for row in await info.context.runtime.stores.embeddings.by_ids(ids)}
        return [found.get(row_id) for row_id in ids]

    return _loader(info, "vectors", read)


def _loader(info: Info, name: str, read: Callable[[list[UUID]], Awaitable[list[T]]]) -> DataLoader[UUID, T]:
    """The request's own loader of this name."""
    loader: DataLoader[UUID, T] = info.context.loaders.setdefault(name, DataLoader(load_fn=read))
    return loader
