"""How far a deletion has come."""

from __future__ import annotations

from datetime import datetime

import strawberry

from schema.global_id import encode_id
from schema.node import Node
from schema.stored import stored
from service.models import DeletionStage
from service.stores.deletions import DeletionDocument


@strawberry.type(
    description="The course of a deletion: hidden at once, then removed from storage, then from the CDN, then verified."
)
class Deletion(Node):
    document: strawberry.Private[DeletionDocument]

    requested_at: datetime = stored("requested_at")
    stage: DeletionStage = stored("stage", DeletionStage)
    objects_removed: int = stored("objects_removed")
    cdn_invalidated_at: datetime | None = stored(
        "cdn_invalidated_at",
        description="When every edge of the CDN had forgotten it; null until then, and where there is no CDN to tell.",
    )
    verified_at: datetime | None = stored(
        "verified_at",
        description="When storage and, where there is a CDN, its edge were asked for all of it and had nothing left.",
    )
    certificate: str | None = stored(
        "certificate", description="Hash of the certificate's entry in the audit chain, once verified."
    )
    blocked_until: datetime | None = stored(
        "blocked_until",
        description="While BLOCKED_BY_RETENTION: when its bytes may go; null where they are kept until further notice.",
    )

    @strawberry.field
    def media_id(self) -> strawberry.ID:
        return encode_id("Media", self.document["_id"])

    @strawberry.field
    def objects_total(self) -> int:
        return len(self.document["objects"])


def deletion_of(document: DeletionDocument) -> Deletion:
    return Deletion(id=encode_id("Deletion", document["_id"]), document=document)


@strawberry.input
class DeleteMediaInput:
    idempotency_key: str
    ids: list[strawberry.ID] = strawberry.field(description="1 to 100.")
