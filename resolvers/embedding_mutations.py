"""Mutations of embeddings: write and remove."""

from __future__ import annotations

from uuid import UUID

import strawberry

from resolvers.problems import outcome_of
from resolvers.queries import load_media
from schema.by_rule import holds_to
from schema.context import Info
from schema.embedding_changes import (
    DeleteEmbeddingsInput,
    DeleteEmbeddingsPayload,
    EmbedMediaInput,
    EmbedMediaPayload,
)
from schema.embeddings import Embedding
from schema.field_rules import Rule
from schema.global_id import id_of
from schema.payloads import user_error
from service.access import Action, granted_filters
from service.backpressure import Strain
from service.embeddings import delete_embeddings, embed_media


@strawberry.type
class EmbeddingMutations:
    @strawberry.mutation(description="Write down what a model made of a media, for searches by `nearestMedia`.")
    @holds_to(Rule.ANNOTATORS)
    async def embed_media(self, info: Info, input: EmbedMediaInput) -> EmbedMediaPayload | None:  # noqa: A002
        given = {"idempotency_key": input.idempotency_key, "model": input.model, "vector": input.vector}
        work = embed_media(
            info.context.viewer, id_of("Media", input.media_id), given, stores=info.context.runtime.stores
        )
        media_id, problems = await outcome_of(info.context.backpressure.unless(work, Strain.DATABASE))
        if media_id is None:
            return EmbedMediaPayload(user_errors=list(map(user_error, problems)))
        return EmbedMediaPayload(
            media=(await load_media(info, [media_id])).get(media_id),
            embedding=await _embedding(info, media_id, input.model),
        )

    @strawberry.mutation(description="Remove what models made of a media.")
    @holds_to(Rule.ANNOTATORS)
    async def delete_embeddings(
        self,
        info: Info,
        input: DeleteEmbeddingsInput,  # noqa: A002
    ) -> DeleteEmbeddingsPayload | None:
        given = {"idempotency_key": input.idempotency_key, "models": input.models}
        work = delete_embeddings(
            info.context.viewer, id_of("Media", input.media_id), given, stores=info.context.runtime.stores
        )
        done, problems = await outcome_of(work)
        if done is None:
            return DeleteEmbeddingsPayload(user_errors=list(map(user_error, problems)))
        media_id, models = done
        return DeleteEmbeddingsPayload(media=(await load_media(info, [media_id])).get(media_id), deleted_models=models)


async def _embedding(info: Info, media_id: UUID, model: str) -> Embedding | None:
    """To whom may write it, which is more than may see its media: a job need not."""
    stores = info.context.runtime.stores
    media = await stores.media.get(media_id, fields=(), access=granted_filters(info.context.viewer, Action.ANNOTATE))
    rows = (await stores.embeddings.of_media([media_id], models=[model]))[media_id]
    return Embedding(document=rows[0], media=media) if rows and media is not None else None
