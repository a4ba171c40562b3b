"""Mutations of annotations."""

from __future__ import annotations

import strawberry

from resolvers.problems import outcome_of
from resolvers.queries import load_media
from schema.annotation_changes import (
    AnnotateMediaInput,
    AnnotateMediaPayload,
    DeleteAnnotationsInput,
    DeleteAnnotationsPayload,
)
from schema.annotations import annotation_of
from schema.by_rule import holds_to
from schema.context import Info
from schema.field_rules import Rule
from schema.global_id import id_of
from schema.payloads import user_error
from service.annotations import annotate_media, delete_annotations
from service.backpressure import Strain
from service.errors import ErrorCode, Problem


@strawberry.type
class AnnotationMutations:
    @strawberry.mutation(description="Say what is in a media: all of it is written, or nothing.")
    @holds_to(Rule.ANNOTATORS)
    async def annotate_media(self, info: Info, input: AnnotateMediaInput) -> AnnotateMediaPayload | None:  # noqa: A002
        given = strawberry.asdict(input)
        del given["media_id"]
        media_id = id_of("Media", input.media_id)
        work = annotate_media(info.context.viewer, media_id, given, stores=info.context.runtime.stores)
        written, problems = await outcome_of(info.context.backpressure.unless(work, Strain.DATABASE))
        media_id, annotations = (None, []) if written is None else written
        media = {} if media_id is None else await load_media(info, [media_id])
        return AnnotateMediaPayload(
            media=next(iter(media.values()), None),
            annotations=list(map(annotation_of, annotations)),
            user_errors=list(map(user_error, problems)),
        )

    @strawberry.mutation(description="Take annotations back; those that cannot be are told, the others go.")
    @holds_to(Rule.ANNOTATORS)
    async def delete_annotations(
        self,
        info: Info,
        input: DeleteAnnotationsInput,  # noqa: A002
    ) -> DeleteAnnotationsPayload | None:
        decoded = [id_of("Annotation", global_id) for global_id in input.ids]
        work = delete_annotations(
            info.context.viewer,
            decoded,
            idempotency_key=input.idempotency_key,
            stores=info.context.runtime.stores,
        )
        deleted, problems = await outcome_of(work)
        gone = set() if deleted is None else deleted
        if deleted is not None:
            problems = [_unknown(index) for index, each in enumerate(decoded) if each not in deleted]
        taken = dict.fromkeys(
            global_id for global_id, each in zip(input.ids, decoded, strict=True) if each is not None and each in gone
        )
        return DeleteAnnotationsPayload(deleted_ids=list(taken), user_errors=list(map(user_error, problems)))


def _unknown(index: int) -> Problem:
    return Problem(ErrorCode.NOT_FOUND, "There is no such annotation that you may delete.", ("ids", str(index)))
