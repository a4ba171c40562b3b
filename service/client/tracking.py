"""One file on its way: where it is, and what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from service.client.answers import StatusUpdate
from service.client.errors import ClientError
from service.lifecycle import AWAITING_BYTES, TERMINAL

# Stages that only this side knows of; once the bytes are up, the API's own statuses.
WAITING, SENDING, SENT, OFFLINE, REFUSED = "WAITING", "SENDING", "SENT", "OFFLINE", "REFUSED"
DUPLICATE = "DUPLICATE"


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a file is: WAITING, SENDING, OFFLINE (to be tried again), SENT, DUPLICATE (there was nothing to send),
    REFUSED, or at a status of its media.

    `index`: its place among the files given, or the id of its entry in an upload queue. Sizes in bytes.
    """

    index: int
    path: Path
    status: str
    bytes_sent: int
    byte_size: int


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class UploadResult:
    """What became of one file: `media` is READY, unless `error` says why not or nobody waited for it.

    `is_sent`: storage has its bytes. `is_duplicate`: it had them before, as `media_id`, and nothing was sent.
    """

    path: Path
    media_id: str | None = None
    media: StatusUpdate | None = None
    error: ClientError | None = None
    is_sent: bool = False
    is_duplicate: bool = False


@dataclass(slots=True)
class TrackedFile:
    """One file on its way. Each method is an event, and reports where that leaves the file."""

    index: int
    path: Path
    on_progress: OnProgress
    status: str = WAITING
    bytes_sent: int = 0
    byte_size: int = 0
    media_id: str | None = None
    error: ClientError | None = None
    is_sent: bool = False
    is_duplicate: bool = False
    ended: asyncio.Future[StatusUpdate] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def _report(self) -> None:
        self.on_progress(Progress(self.index, self.path, self.status, self.bytes_sent, self.byte_size))

    def measured(self, byte_size: int) -> None:
        """The file was read: it has `byte_size` bytes."""
        self.byte_size = byte_size
        self._report()

    def recognise(self, media_id: str) -> None:
        """The caller has these bytes already."""
        self.media_id, self.is_duplicate, self.is_sent, self.status = media_id, True, True, DUPLICATE
        self._report()

    def sent(self, bytes_sent: int) -> None:
        """So many bytes of it are out."""
        self.bytes_sent = bytes_sent
        # Storage's event may be faster than its answer to the PUT.
        self.status = SENDING if self.status == WAITING else self.status
        self._report()

    def confirm(self) -> None:
        """Storage has its bytes."""
        self.is_sent = True
        self.status = SENT if self.status in {WAITING, SENDING} else self.status
        self._report()

    def postpone(self) -> None:
        """Not now: whoever should take it does not answer."""
        self.status = OFFLINE
        self._report()

    def refuse(self, error: ClientError) -> None:
        """It goes no further."""
        self.error, self.status = error, REFUSED
        self._report()

    def follow(self, update: StatusUpdate) -> None:
        """Its media has a status."""
        if update.status not in AWAITING_BYTES and self.error is None:
            self.status = update.status
            self._report()
        if update.status in TERMINAL and not self.ended.done():
            self.ended.set_result(update)

    def lose(self, error: ClientError) -> None:
        """Nothing more will be heard of the media."""
        if not self.ended.done():
            self.ended.set_exception(error)
            # A file that failed on its way up asks no more.
            self.ended.exception()

    def result(self) -> UploadResult:
        """What became of it; with the media if that has ended."""
        has_ended = self.error is None and self.ended.done()
        media = self.ended.result() if has_ended else None
        return UploadResult(self.path, self.media_id, media, self.error, self.is_sent, self.is_duplicate)
