"""Mutations of media that exist: change, retry, moderate, delete."""

from __future__ import annotations

from typing import Any

import strawberry

from resolvers.changed_media import changed_media
from resolvers.problems import outcome_of
from schema.by_rule import holds_to
from schema.context import Info
from schema.deletion import DeleteMediaInput, deletion_of
from schema.field_rules import Rule
from schema.global_id import id_of
from schema.media_changes import (
    RetryProcessingInput,
    RetryProcessingPayload,
    UpdateMediaInput,
    UpdateMediaPayload,
)
from schema.moderation import ModerateMediaInput, ModerateMediaPayload
from schema.payloads import DeleteMediaPayload, user_error
from service.backpressure import Strain
from service.deletion import request_deletions
from service.errors import ErrorCode, Problem
from service.media_changes import update_media
from service.moderation import moderate_media
from service.processing_retry import retry_processing


@strawberry.type
class MediaMutations:
    @strawberry.mutation(description="Change what a media says of itself: only the fields that are given.")
    @holds_to(Rule.CHANGERS)
    async def update_media(self, info: Info, input: UpdateMediaInput) -> UpdateMediaPayload | None:  # noqa: A002
        media_id = id_of("Media", input.id)
        work = update_media(info.context.viewer, media_id, _changes(input), stores=info.context.runtime.stores)
        media, errors = await changed_media(info, work)
        return UpdateMediaPayload(media=media, user_errors=errors)

    @strawberry.mutation(description="Process a media again that FAILED through no fault of its file.")
    @holds_to(Rule.CHANGERS)
    async def retry_processing(self, info: Info, input: RetryProcessingInput) -> RetryProcessingPayload | None:  # noqa: A002
        runtime = info.context.runtime
        work = retry_processing(
            info.context.viewer,
            id_of("Media", input.id),
            idempotency_key=input.idempotency_key,
            stores=runtime.stores,
            object_store=runtime.object_store,
        )
        media, errors = await changed_media(info, info.context.backpressure.unless(work, *Strain))
        return RetryProcessingPayload(media=media, user_errors=errors)

    @strawberry.mutation(description="Take a READY media out of sight, or have a QUARANTINED one processed again.")
    @holds_to(Rule.MODERATORS)
    async def moderate_media(self, info: Info, input: ModerateMediaInput) -> ModerateMediaPayload | None:  # noqa: A002
        given = {"idempotency_key": input.idempotency_key, "decision": input.decision, "reason": input.reason}
        media_id = id_of("Media", input.id)
        work = moderate_media(info.context.viewer, media_id, given, stores=info.context.runtime.stores)
        media, errors = await changed_media(info, work)
        return ModerateMediaPayload(media=media, user_errors=errors)

    @strawberry.mutation(description="Hide media at once, and remove their bytes from storage.")
    @holds_to(Rule.DELETERS)
    async def delete_media(self, info: Info, input: DeleteMediaInput) -> DeleteMediaPayload | None:  # noqa: A002
        runtime = info.context.runtime
        decoded = [id_of("Media", global_id) for global_id in input.ids]
        work = request_deletions(
            info.context.viewer,
            decoded,
            idempotency_key=input.idempotency_key,
            stores=runtime.stores,
            media_bucket=runtime.object_store.media_bucket,
        )
        result, problems = await outcome_of(work)
        deletions = {} if result is None else result
        if result is not None:
            problems = [_unknown_media(index) for index, media_id in enumerate(decoded) if media_id not in result]
        return DeleteMediaPayload(
            deletions=[deletion_of(deletion) for deletion in deletions.values()],
            user_errors=list(map(user_error, problems)),
        )


def _changes(input: UpdateMediaInput) -> dict[str, Any]:  # noqa: A002
    given = {name: value for name, value in strawberry.asdict(input).items() if value is not strawberry.UNSET}
    del given["id"]
    return given


def _unknown_media(index: int) -> Problem:
    return Problem(ErrorCode.NOT_FOUND, "There is no such media.", ("ids", str(index)))
