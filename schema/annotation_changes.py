"""Annotating media and taking it back: inputs and payloads."""

from __future__ import annotations

import strawberry

from schema.annotations import Annotation
from schema.media import Media
from schema.payloads import UserError
from schema.values import BoundingBoxInput


@strawberry.input
class AnnotationInput:
    label: str = strawberry.field(description="1 to 200 characters.")
    confidence: float | None = strawberry.field(default=1.0, description="From 0 to 1.")
    bounding_box: BoundingBoxInput | None = strawberry.field(
        default=None, description="Within the picture: fractions of its width and height."
    )
    text: str | None = strawberry.field(default=None, description="Recognised text, up to 2000 characters.")


@strawberry.input(description="All of it is written, or nothing.")
class AnnotateMediaInput:
    idempotency_key: str
    media_id: strawberry.ID
    source: str = strawberry.field(
        description="`user:<id>`, the viewer's own, or `model:<name>@<version>`. Up to 200 characters."
    )
    replace: bool | None = strawberry.field(
        default=False, description="Drop this source's earlier annotations of this media, in the same write."
    )
    annotations: list[AnnotationInput] = strawberry.field(
        description="Up to 1000, of up to 200 distinct labels; a media holds 10000."
    )


@strawberry.type
class AnnotateMediaPayload:
    media: Media | None = None
    annotations: list[Annotation] = strawberry.field(
        default_factory=list,
        description="What was written, in the order of the input. A repeat gets what is left of it.",
    )
    user_errors: list[UserError] = strawberry.field(default_factory=list)


@strawberry.input
class DeleteAnnotationsInput:
    idempotency_key: str
    ids: list[strawberry.ID] = strawberry.field(description="1 to 1000, of whatever media.")


@strawberry.type
class DeleteAnnotationsPayload:
    deleted_ids: list[strawberry.ID] = strawberry.field(default_factory=list)
    user_errors: list[UserError] = strawberry.field(default_factory=list)
