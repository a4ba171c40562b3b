"""What can go wrong for a client, as one tree.

ClientError            code, message, retryable, retry_after_s
├── ApiError           the API refused; `code` is its own (`UserErrorCode`, or UNAUTHENTICATED and the like)
├── Unreachable        no usable answer from the API or from storage (retryable)
├── StorageRefused     storage did not take the bytes; `code` is its own
│   └── TargetExpired  the presigned request is no longer good; ask the API for another
├── UnusableFile       the file cannot be read, or is empty
│   └── FileChanged    it changed on the way; as it is now it may go up
├── NotReady           the bytes are up, but the media did not become READY; `code` says why
├── UnusableQueue      the file of an upload queue cannot be read or written
└── InvalidConnection  the address or the token cannot be used at all
"""

from __future__ import annotations

from typing import Final

# Codes of the API that this client has an answer to.
INCOMPLETE: Final = "UPLOAD_INCOMPLETE"
RATE_LIMITED: Final = "RATE_LIMITED"
EXPIRED: Final = "UPLOAD_EXPIRED"
NOT_FOUND: Final = "NOT_FOUND"
STATE_CONFLICT: Final = "STATE_CONFLICT"
# Of storage: the parts are gone, dropped or put together.
NO_SUCH_UPLOAD: Final = "NoSuchUpload"
# Of this side.
UNUSABLE: Final = "UNUSABLE_FILE"
# About the file or what was said of it: no later try does better while these stay as they are.
FINAL: Final = frozenset({"INVALID_INPUT", "BAD_USER_INPUT", "TYPE_NOT_ALLOWED", "TOO_LARGE", UNUSABLE})


class ClientError(Exception):
    """Root of the tree. `retryable`: the same call may succeed later, at the earliest in `retry_after_s` seconds."""

    def __init__(self, code: str, message: str, *, retryable: bool = False, retry_after_s: float = 0) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable
        self.retry_after_s = retry_after_s


class ApiError(ClientError):
    pass


class Unreachable(ClientError):
    """`reason`: the same whatever was asked for, as a predicate: "does not answer (connection refused)"."""

    def __init__(self, message: str, *, reason: str = "does not answer", retry_after_s: float = 0) -> None:
        super().__init__("UNREACHABLE", message, retryable=True, retry_after_s=retry_after_s)
        self.reason = reason


class StorageRefused(ClientError):
    pass


class TargetExpired(StorageRefused):
    pass


class UnusableFile(ClientError):
    def __init__(self, message: str, *, code: str = UNUSABLE) -> None:
        super().__init__(code, message)


class FileChanged(UnusableFile):
    def __init__(self, message: str) -> None:
        super().__init__(message, code="FILE_CHANGED")


class NotReady(ClientError):
    pass


class InvalidConnection(ClientError):
    def __init__(self, message: str) -> None:
        super().__init__("INVALID_CONNECTION", message)


class UnusableQueue(ClientError):
    def __init__(self, message: str) -> None:
        super().__init__("UNUSABLE_QUEUE", message)
