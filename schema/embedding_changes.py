"""Writing, removing and searching embeddings: inputs, payloads, and what is found."""

from __future__ import annotations

import strawberry

from schema.embeddings import Embedding
from schema.media import Media
from schema.payloads import UserError


@strawberry.input(description="The vector that a model made of a media. It takes the place of the model's earlier one.")
class EmbedMediaInput:
    idempotency_key: str
    media_id: strawberry.ID
    model: str = strawberry.field(description="`name@version`; another version is another model.")
    vector: list[float] = strawberry.field(
        description="2 to 4096 finite numbers, not all 0, kept as 32-bit floats. As many for all media of a model."
    )


@strawberry.type
class EmbedMediaPayload:
    media: Media | None = None
    embedding: Embedding | None = strawberry.field(default=None, description="As it is now.")
    user_errors: list[UserError] = strawberry.field(default_factory=list)


@strawberry.input
class DeleteEmbeddingsInput:
    idempotency_key: str
    media_id: strawberry.ID
    models: list[str] = strawberry.field(description="1 to 10.")


@strawberry.type
class DeleteEmbeddingsPayload:
    media: Media | None = None
    deleted_models: list[str] = strawberry.field(
        default_factory=list, description="Those that had made an embedding of it."
    )
    user_errors: list[UserError] = strawberry.field(default_factory=list)


@strawberry.type(description="A media whose embedding is near to what was asked for.")
class NearestMedia:
    similarity: float = strawberry.field(
        description="Cosine of the angle between the two vectors: 1 where they agree. To three decimals for those who "
        "may not read the media's vectors."
    )
    media: Media
