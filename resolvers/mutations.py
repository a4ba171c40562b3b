"""The mutation root. Every field is nullable, so that one unexpected failure does not null its siblings."""

from __future__ import annotations

import strawberry

from resolvers.annotation_mutations import AnnotationMutations
from resolvers.embedding_mutations import EmbeddingMutations
from resolvers.media_mutations import MediaMutations
from resolvers.upload_mutations import UploadMutations


@strawberry.type
class Mutation(UploadMutations, MediaMutations, AnnotationMutations, EmbeddingMutations):
    pass
