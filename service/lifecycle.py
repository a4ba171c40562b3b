"""The status of a media: which there are, and which may follow which. Pure."""

from __future__ import annotations

import enum


class MediaStatus(enum.StrEnum):
    INITIATED = "INITIATED"
    UPLOADING = "UPLOADING"
    UPLOADED = "UPLOADED"
    PROCESSING = "PROCESSING"
    READY = "READY"
    FAILED = "FAILED"
    QUARANTINED = "QUARANTINED"
    EXPIRED = "EXPIRED"
    DELETED = "DELETED"


_S = MediaStatus

ALLOWED_TRANSITIONS: dict[MediaStatus, frozenset[MediaStatus]] = {
    _S.INITIATED: frozenset({_S.UPLOADING, _S.UPLOADED, _S.EXPIRED, _S.FAILED, _S.DELETED}),
    _S.UPLOADING: frozenset({_S.UPLOADED, _S.EXPIRED, _S.FAILED, _S.DELETED}),
    _S.UPLOADED: frozenset({_S.PROCESSING, _S.DELETED}),
    _S.PROCESSING: frozenset({_S.READY, _S.FAILED, _S.QUARANTINED, _S.DELETED}),
    _S.READY: frozenset({_S.QUARANTINED, _S.DELETED}),
    # Steps back are explicit acts: a retry, and a moderator's release.
    _S.FAILED: frozenset({_S.UPLOADED, _S.DELETED}),
    _S.QUARANTINED: frozenset({_S.UPLOADED, _S.DELETED}),
    _S.EXPIRED: frozenset({_S.DELETED}),
    _S.DELETED: frozenset(),
}

AWAITING_BYTES = frozenset({_S.INITIATED, _S.UPLOADING})

# A client that waits need wait no longer; only an explicit act can change these.
TERMINAL = frozenset({_S.READY, _S.FAILED, _S.QUARANTINED, _S.EXPIRED, _S.DELETED})


def sources_of(target: MediaStatus) -> frozenset[MediaStatus]:
    """Every status from which `target` may be reached in one step."""
    return frozenset(status for status, targets in ALLOWED_TRANSITIONS.items() if target in targets)
