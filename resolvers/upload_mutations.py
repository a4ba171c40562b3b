"""Mutations of upload sessions: open, sign, complete, abort."""

from __future__ import annotations

from typing import Any

import strawberry

from resolvers.problems import outcome_of
from resolvers.queries import load_media, load_uploads
from schema.context import Info
from schema.global_id import id_of
from schema.payloads import CompleteUploadPayload, CreateUploadsPayload, UploadOutcome, user_error
from schema.upload import CompleteUploadInput, CreateUploadsInput
from service.errors import ErrorCode, NotFound, Problem
from service.finalisation import complete_upload
from service.uploads import PlannedUpload, create_uploads


def _given(value: Any) -> Any:
    """An input as plain data under its GraphQL names, without what was left out."""
    if isinstance(value, dict):
        return {key: _given(inner) for key, inner in value.items() if inner is not None}
    return [_given(inner) for inner in value] if isinstance(value, list) else value


@strawberry.type
class UploadMutations:
    @strawberry.mutation(description="Open upload sessions for 1 to 20 files.")
    async def create_uploads(self, info: Info, input: CreateUploadsInput) -> CreateUploadsPayload | None:  # noqa: A002
        runtime = info.context.runtime
        work = create_uploads(
            info.context.viewer,
            _given(strawberry.asdict(input)),
            stores=runtime.stores,
            bucket=runtime.object_store.upload_bucket,
        )
        planned, problems = await outcome_of(work)
        if problems:
            runtime.metrics.count_upload(input.purpose, "refused")
        return CreateUploadsPayload(
            outcomes=await _outcomes(info, input, planned or []), user_errors=list(map(user_error, problems))
        )

    @strawberry.mutation(description="Say that the bytes are up. Free to repeat.")
    async def complete_upload(self, info: Info, input: CompleteUploadInput) -> CompleteUploadPayload | None:  # noqa: A002
        runtime, upload_id = info.context.runtime, id_of("Upload", input.upload_id)
        if upload_id is None:
            missing = NotFound("There is no such upload.", field=["uploadId"]).problem()
            return CompleteUploadPayload(user_errors=[user_error(missing)])
        work = complete_upload(
            info.context.viewer,
            upload_id,
            idempotency_key=input.idempotency_key,
            stores=runtime.stores,
            object_store=runtime.object_store,
        )
        media_id, problems = await outcome_of(work)
        media = None if media_id is None else (await load_media(info, [media_id])).get(media_id)
        return CompleteUploadPayload(media=media, user_errors=list(map(user_error, problems)))


async def _outcomes(info: Info, input: CreateUploadsInput, planned: list[PlannedUpload]) -> list[UploadOutcome]:  # noqa: A002
    uploads = await load_uploads(info, [plan.upload_id for plan in planned if plan.upload_id is not None])
    outcomes = []
    for plan in planned:
        if plan.problem is not None:
            info.context.runtime.metrics.count_upload(input.purpose, "refused")
        upload = None if plan.upload_id is None else uploads.get(plan.upload_id)
        problem = plan.problem or (None if upload else Problem(ErrorCode.NOT_FOUND, "This upload was deleted."))
        outcomes.append(UploadOutcome(upload=upload, user_errors=[] if problem is None else [user_error(problem)]))
    return outcomes
