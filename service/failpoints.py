"""Named places at which a process can be made to die, to show that nothing is lost.

Every step that a crash could separate from the next has one; the tests kill a real process at each of them.
"""

from __future__ import annotations

import enum
import os
import signal


class Failpoint(enum.StrEnum):
    """After which step the process dies; in the order in which an upload passes them, and then a deletion."""

    UPLOADS_PLANNED = "uploads_planned"
    QUOTA_RESERVED = "quota_reserved"
    MEDIA_INITIATED = "media_initiated"
    CONTENT_LINKED = "content_linked"
    SESSIONS_WRITTEN = "sessions_written"
    MULTIPART_CREATED = "multipart_created"
    MULTIPART_REMEMBERED = "multipart_remembered"
    UPLOADING_WRITTEN = "uploading_written"
    MULTIPART_ASSEMBLED = "multipart_assembled"
    BYTES_CONFIRMED = "bytes_confirmed"
    COMPLETION_NOTED = "completion_noted"
    UPLOADED_WRITTEN = "uploaded_written"
    PROCESSING_ENQUEUED = "processing_enqueued"
    JOB_CLAIMED = "job_claimed"
    MEDIA_HELD = "media_held"
    ORIGINAL_KEPT = "original_kept"
    ORIGINAL_FETCHED = "original_fetched"
    CONTENT_REGISTERED = "content_registered"
    ORIGINAL_LINKED = "original_linked"
    COPY_REMOVED = "copy_removed"
    RENDITION_STORED = "rendition_stored"
    RENDITIONS_CONFIRMED = "renditions_confirmed"
    READY_WRITTEN = "ready_written"
    RENDERING_ENQUEUED = "rendering_enqueued"
    RENDITIONS_COPIED = "renditions_copied"
    RENDERED = "rendered"
    JOB_COMPLETED = "job_completed"
    OBJECTS_REMOVED_WRITTEN = "objects_removed_written"
    VERIFICATION_WRITTEN = "verification_written"
    CERTIFICATE_APPENDED = "certificate_appended"
    CERTIFICATE_WRITTEN = "certificate_written"


_armed: Failpoint | None = None


def arm(failpoint: Failpoint | None) -> None:
    """From now on this process dies where it reaches `failpoint`; None disarms."""
    global _armed  # noqa: PLW0603 - a process dies as a whole
    _armed = failpoint


def reach(failpoint: Failpoint) -> None:
    """Die here, as by `kill -9`, if `failpoint` is armed; otherwise nothing."""
    if failpoint is _armed:
        os.kill(os.getpid(), signal.SIGKILL)
