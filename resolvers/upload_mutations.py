"""Mutations of upload sessions: open, sign, complete, abort."""

from __future__ import annotations

from typing import Any

import strawberry

from resolvers.changed_media import changed_media
from resolvers.problems import outcome_of
from resolvers.queries import load_media, load_uploads
from schema.by_rule import holds_to
from schema.context import Info
from schema.field_rules import Rule
from schema.global_id import id_of
from schema.payloads import (
    AbortUploadPayload,
    CompleteUploadPayload,
    CreateUploadsPayload,
    SignStorageRequestPayload,
    SignUploadPartsPayload,
    UploadOutcome,
    user_error,
)
from schema.scalars import ByteSize
from schema.upload import UploadPartTarget, target_of
from schema.upload_inputs import (
    AbortUploadInput,
    CompleteUploadInput,
    CreateUploadsInput,
    SignStorageRequestInput,
    SignUploadPartsInput,
)
from service.assembly import ClaimedPart
from service.backpressure import Strain
from service.errors import ErrorCode, Problem
from service.finalisation import complete_upload
from service.quotas import byte_limits
from service.storage_signing import StorageRequest, sign_storage_request
from service.upload_sessions import abort_upload, sign_parts
from service.uploads import PlannedUpload, create_uploads


def _given(value: Any) -> Any:
    """An input as plain data under its GraphQL names, without what was left out."""
    if isinstance(value, dict):
        return {key: _given(inner) for key, inner in value.items() if inner is not None}
    return [_given(inner) for inner in value] if isinstance(value, list) else value


@strawberry.type
class UploadMutations:
    @strawberry.mutation(description="Open upload sessions for 1 to 20 files.")
    @holds_to(Rule.SIGNED_IN)
    async def create_uploads(self, info: Info, input: CreateUploadsInput) -> CreateUploadsPayload | None:  # noqa: A002
        runtime = info.context.runtime
        work = create_uploads(
            info.context.viewer,
            _given(strawberry.asdict(input)),
            stores=runtime.stores,
            object_store=runtime.object_store,
            largest_file=runtime.settings.scanner.largest_file,
            limits=byte_limits(info.context.viewer, runtime.settings.limits),
        )
        planned, problems = await outcome_of(info.context.backpressure.unless(work, *Strain))
        if problems:
            runtime.metrics.count_upload(input.purpose, "refused")
        return CreateUploadsPayload(
            outcomes=await _outcomes(info, input, planned or []), user_errors=list(map(user_error, problems))
        )

    @strawberry.mutation(description="Presign up to 100 parts of a MULTIPART upload, when they are about to be sent.")
    @holds_to(Rule.UPLOADER)
    async def sign_upload_parts(
        self,
        info: Info,
        input: SignUploadPartsInput,  # noqa: A002
    ) -> SignUploadPartsPayload | None:
        runtime = info.context.runtime
        work = sign_parts(
            info.context.viewer,
            id_of("Upload", input.upload_id),
            input.part_numbers,
            sha256s={each.number: each.sha256 for each in input.part_checksums or ()},
            stores=runtime.stores,
            object_store=runtime.object_store,
        )
        signed, problems = await outcome_of(work)
        parts = [
            UploadPartTarget(number=part.number, byte_size=ByteSize(part.byte_size), target=target_of(request))
            for part, request in signed or ()
        ]
        return SignUploadPartsPayload(parts=parts, user_errors=list(map(user_error, problems)))

    @strawberry.mutation(
        description="Presign one request for an upload library that speaks S3 itself. Never deletes an object."
    )
    @holds_to(Rule.UPLOADER)
    async def sign_storage_request(
        self,
        info: Info,
        input: SignStorageRequestInput,  # noqa: A002
    ) -> SignStorageRequestPayload | None:
        runtime = info.context.runtime
        request = StorageRequest(
            method=input.method,
            key=input.key,
            storage_upload_id=input.storage_upload_id,
            part_number=input.part_number,
            content_type=input.content_type,
        )
        work = sign_storage_request(
            info.context.viewer,
            id_of("Upload", input.upload_id),
            request,
            stores=runtime.stores,
            object_store=runtime.object_store,
        )
        signed, problems = await outcome_of(work)
        target = None if signed is None else target_of(signed)
        return SignStorageRequestPayload(target=target, user_errors=list(map(user_error, problems)))

    @strawberry.mutation(description="Say that the bytes are up. Free to repeat.")
    @holds_to(Rule.UPLOADER)
    async def complete_upload(self, info: Info, input: CompleteUploadInput) -> CompleteUploadPayload | None:  # noqa: A002
        runtime = info.context.runtime
        parts = None if input.parts is None else [ClaimedPart(part.number, part.etag) for part in input.parts]
        work = complete_upload(
            info.context.viewer,
            id_of("Upload", input.upload_id),
            idempotency_key=input.idempotency_key,
            parts=parts,
            stores=runtime.stores,
            object_store=runtime.object_store,
        )
        media, errors = await changed_media(info, work)
        return CompleteUploadPayload(media=media, user_errors=errors)

    @strawberry.mutation(description="End a session whose bytes are no longer wanted; its media becomes EXPIRED.")
    @holds_to(Rule.UPLOADER)
    async def abort_upload(self, info: Info, input: AbortUploadInput) -> AbortUploadPayload | None:  # noqa: A002
        runtime = info.context.runtime
        work = abort_upload(
            info.context.viewer,
            id_of("Upload", input.upload_id),
            idempotency_key=input.idempotency_key,
            stores=runtime.stores,
            object_store=runtime.object_store,
        )
        media, errors = await changed_media(info, work)
        return AbortUploadPayload(media=media, user_errors=errors)


async def _outcomes(info: Info, input: CreateUploadsInput, planned: list[PlannedUpload]) -> list[UploadOutcome]:  # noqa: A002
    uploads = await load_uploads(info, [plan.upload_id for plan in planned if plan.upload_id is not None])
    duplicates = await load_media(info, [plan.duplicate_id for plan in planned if plan.duplicate_id is not None])
    outcomes = []
    for plan in planned:
        if plan.problem is not None:
            info.context.runtime.metrics.count_upload(input.purpose, "refused")
        upload = None if plan.upload_id is None else uploads.get(plan.upload_id)
        duplicate = None if plan.duplicate_id is None else duplicates.get(plan.duplicate_id)
        problem = plan.problem
        if problem is None and upload is None and duplicate is None:
            problem = Problem(ErrorCode.NOT_FOUND, "This upload was deleted.")
        outcomes.append(
            UploadOutcome(
                upload=upload, duplicate=duplicate, user_errors=[] if problem is None else [user_error(problem)]
            )
        )
    return outcomes
