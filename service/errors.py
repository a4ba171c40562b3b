"""Every expected problem, as one tree.

    MediaServiceError                code, message, field, retryable, retry_after_ms
    ├── InvalidInput                 the request itself is wrong; `field` says where
    │   ├── SeveralInvalid           several things are wrong; each is told with its own `field`
    │   ├── TypeNotAllowed           the purpose does not take this content type
    │   └── TooLarge                 more bytes or pixels than the purpose allows
    ├── NotFound                     unknown, or not for this viewer: the two look alike
    ├── NotPermitted                 the viewer may see it but not do this
    ├── QuotaExceeded
    ├── ChecksumMismatch             storage holds other bytes than were announced
    ├── UploadIncomplete             storage does not hold the whole object yet (retryable)
    │   └── PartsMismatch            the list of parts itself is wrong: it will not hold later either
    ├── UploadExpired                the session is over; start a new one
    ├── StateConflict                the media is in a status that does not allow this
    ├── VersionConflict              the media changed since the caller read it
    ├── IdempotencyKeyReused         same key, different input
    ├── RateLimited                  (retryable)
    ├── TemporarilyUnavailable       a part of the service did not answer (retryable)
    │   ├── StorageRefused           storage answered, and refused (retryable, but an attempt is counted)
    │   └── OnHold                   a legal hold forbids it (retryable; until it is lifted, seldom)
    └── ProcessingFailed             why a media cannot become READY; written to `media.failure`
        └── MalwareFound             a scanner knows the file
    ConfigurationError               the process must not start with these settings

Use cases raise these; one mapping turns them into `userErrors`; the worker reads `retryable` to choose between
another attempt and FAILED. Anything else that escapes is a bug: it is masked for clients and logged.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class ErrorCode(enum.StrEnum):
    """Codes clients may branch on (`UserErrorCode` in the schema)."""

    INVALID_INPUT = "INVALID_INPUT"
    NOT_FOUND = "NOT_FOUND"
    NOT_PERMITTED = "NOT_PERMITTED"
    TYPE_NOT_ALLOWED = "TYPE_NOT_ALLOWED"
    TOO_LARGE = "TOO_LARGE"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    CHECKSUM_MISMATCH = "CHECKSUM_MISMATCH"
    UPLOAD_INCOMPLETE = "UPLOAD_INCOMPLETE"
    UPLOAD_EXPIRED = "UPLOAD_EXPIRED"
    STATE_CONFLICT = "STATE_CONFLICT"
    VERSION_CONFLICT = "VERSION_CONFLICT"
    IDEMPOTENCY_KEY_REUSED = "IDEMPOTENCY_KEY_REUSED"
    RATE_LIMITED = "RATE_LIMITED"
    TEMPORARILY_UNAVAILABLE = "TEMPORARILY_UNAVAILABLE"


class FailureCode(enum.StrEnum):
    """Why a media ended in FAILED or QUARANTINED (`MediaFailure.code`)."""

    TYPE_MISMATCH = "TYPE_MISMATCH"
    UNSUPPORTED_FORMAT = "UNSUPPORTED_FORMAT"
    CORRUPT_FILE = "CORRUPT_FILE"
    TOO_MANY_PIXELS = "TOO_MANY_PIXELS"
    CLIP_TOO_LONG = "CLIP_TOO_LONG"
    DECODE_LIMIT_EXCEEDED = "DECODE_LIMIT_EXCEEDED"
    MALWARE_FOUND = "MALWARE_FOUND"
    MODERATED = "MODERATED"
    SCAN_FAILED = "SCAN_FAILED"
    ORIGINAL_MISSING = "ORIGINAL_MISSING"
    CHECKSUM_MISMATCH = "CHECKSUM_MISMATCH"
    STORAGE_UNAVAILABLE = "STORAGE_UNAVAILABLE"
    INTERNAL = "INTERNAL"


@dataclass(frozen=True, slots=True)
class Problem:
    """An expected error as a value: what clients see of it, and what is remembered of a refused file."""

    code: ErrorCode
    message: str
    field: tuple[str, ...] | None = None
    retryable: bool = False
    retry_after_ms: int | None = None


class MediaServiceError(Exception):
    """Root of the tree: a problem the caller can be told about in full."""

    code: ClassVar[ErrorCode]
    retryable: bool = False
    retry_after_ms: int | None = None

    def __init__(self, message: str, *, field: Sequence[str | int] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = None if field is None else tuple(str(part) for part in field)

    def problem(self) -> Problem:
        return Problem(self.code, self.message, self.field, self.retryable, self.retry_after_ms)

    def problems(self) -> list[Problem]:
        """All that is to be told of it."""
        return [self.problem()]


class InvalidInput(MediaServiceError):
    code = ErrorCode.INVALID_INPUT


class SeveralInvalid(InvalidInput):
    """`errors`: at least one; the message is that of the first."""

    def __init__(self, errors: Sequence[InvalidInput]) -> None:
        super().__init__(errors[0].message, field=errors[0].field)
        self.errors = tuple(errors)

    def problems(self) -> list[Problem]:
        return [error.problem() for error in self.errors]


class TypeNotAllowed(InvalidInput):
    code = ErrorCode.TYPE_NOT_ALLOWED


class TooLarge(InvalidInput):
    code = ErrorCode.TOO_LARGE


class NotFound(MediaServiceError):
    code = ErrorCode.NOT_FOUND


class NotPermitted(MediaServiceError):
    code = ErrorCode.NOT_PERMITTED


class QuotaExceeded(MediaServiceError):
    code = ErrorCode.QUOTA_EXCEEDED


class ChecksumMismatch(MediaServiceError):
    code = ErrorCode.CHECKSUM_MISMATCH


class UploadIncomplete(MediaServiceError):
    code = ErrorCode.UPLOAD_INCOMPLETE
    retryable = True


class PartsMismatch(UploadIncomplete):
    retryable = False


class UploadExpired(MediaServiceError):
    code = ErrorCode.UPLOAD_EXPIRED


class StateConflict(MediaServiceError):
    code = ErrorCode.STATE_CONFLICT


class VersionConflict(MediaServiceError):
    code = ErrorCode.VERSION_CONFLICT


class IdempotencyKeyReused(MediaServiceError):
    code = ErrorCode.IDEMPOTENCY_KEY_REUSED


class RateLimited(MediaServiceError):
    code = ErrorCode.RATE_LIMITED
    retryable = True

    def __init__(self, message: str, *, retry_after_ms: int) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class TemporarilyUnavailable(MediaServiceError):
    code = ErrorCode.TEMPORARILY_UNAVAILABLE
    retryable = True

    def __init__(self, message: str, *, retry_after_ms: int = 1000) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class StorageRefused(TemporarilyUnavailable):
    """Storage answered, and refused: another attempt may help, but waiting alone will not."""


class OnHold(TemporarilyUnavailable):
    """A legal hold keeps what a job would remove. It may last for years: `retry_after_ms` is long."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retry_after_ms=900_000)


class ProcessingFailed(MediaServiceError):
    """Processing cannot go on. `quarantine` marks files that look hostile rather than broken."""

    code = ErrorCode.STATE_CONFLICT

    def __init__(
        self, failure: FailureCode, message: str, *, retryable: bool = False, quarantine: bool = False
    ) -> None:
        super().__init__(message)
        self.failure = failure
        self.retryable = retryable
        self.quarantine = quarantine


class MalwareFound(ProcessingFailed):
    """A scanner knows the file. `signature` and `engine` are for logs and receipts: owners are not told them."""

    def __init__(self, *, signature: str, engine: str) -> None:
        message = "The file contains malware and was locked away. Check the device that it comes from."
        super().__init__(FailureCode.MALWARE_FOUND, message, quarantine=True)
        self.signature = signature
        self.engine = engine


class ConfigurationError(Exception):
    """Settings that must not go live; the message says which and what to set instead."""
