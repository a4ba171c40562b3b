"""Mutations of media that exist: change, retry, delete."""

from __future__ import annotations

import strawberry

from resolvers.problems import outcome_of
from schema.context import Info
from schema.deletion import DeleteMediaInput, deletion_of
from schema.global_id import id_of
from schema.payloads import DeleteMediaPayload, user_error
from service.deletion import request_deletions
from service.errors import ErrorCode, Problem


@strawberry.type
class MediaMutations:
    @strawberry.mutation(description="Hide media at once, and remove their bytes from storage.")
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


def _unknown_media(index: int) -> Problem:
    return Problem(ErrorCode.NOT_FOUND, "There is no such media.", ("ids", str(index)))
