"""What mutations return: their result, and the problems a user can do something about."""

from __future__ import annotations

import strawberry

from schema.deletion import Deletion
from schema.media import Media
from schema.upload import Upload, UploadPartTarget, UploadTarget
from service.errors import ErrorCode, Problem


@strawberry.type(description="A problem the caller can do something about.")
class UserError:
    code: ErrorCode
    message: str
    field: list[str] | None = strawberry.field(
        default=None, description='Path of the offending input, e.g. ["files", "2", "byteSize"].'
    )
    retryable: bool = False
    retry_after_ms: int | None = None


def user_error(problem: Problem) -> UserError:
    return UserError(
        code=problem.code,
        message=problem.message,
        field=None if problem.field is None else list(problem.field),
        retryable=problem.retryable,
        retry_after_ms=problem.retry_after_ms,
    )


@strawberry.type(description="What became of one file: exactly one of these is there.")
class UploadOutcome:
    upload: Upload | None = None
    duplicate: Media | None = strawberry.field(
        default=None, description="Content the viewer already has: nothing is to be sent."
    )
    user_errors: list[UserError] = strawberry.field(default_factory=list)


@strawberry.type
class CreateUploadsPayload:
    outcomes: list[UploadOutcome] = strawberry.field(
        default_factory=list, description="One per file, in the order of the input."
    )
    user_errors: list[UserError] = strawberry.field(default_factory=list)


@strawberry.type
class CompleteUploadPayload:
    media: Media | None = None
    user_errors: list[UserError] = strawberry.field(default_factory=list)


@strawberry.type
class AbortUploadPayload:
    media: Media | None = None
    user_errors: list[UserError] = strawberry.field(default_factory=list)


@strawberry.type
class SignUploadPartsPayload:
    parts: list[UploadPartTarget] = strawberry.field(default_factory=list)
    user_errors: list[UserError] = strawberry.field(default_factory=list)


@strawberry.type
class SignStorageRequestPayload:
    target: UploadTarget | None = None
    user_errors: list[UserError] = strawberry.field(default_factory=list)


@strawberry.type
class DeleteMediaPayload:
    deletions: list[Deletion] = strawberry.field(default_factory=list)
    user_errors: list[UserError] = strawberry.field(default_factory=list)
