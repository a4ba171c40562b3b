"""Uploads that outlive the process and wait for the network: files are queued first and sent when that is possible.

    async with UploadQueue(Path("uploads.db")) as queue:
        await queue.enqueue([Path("cat.jpg")], purpose="COMMUNITY")
        async with MediaClient("https://media.example/graphql", token) as client:
            for result in await queue.run(client):
                print(result.path, result.error or result.media_id)

A queue is one file, for one API and one user. Whatever ends the process, the next `run` goes on: under the same
idempotency keys, so with the same sessions, and without sending again what storage has confirmed.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from service.client.answers import FileDetails
from service.client.errors import FINAL, UnusableQueue
from service.client.local_file import shown
from service.client.queue_rows import FAILED, QUEUED, Entry, QueueRows, Wish
from service.client.queue_run import QueueRun
from service.client.tracking import SENDING, OnProgress, UploadResult

if TYPE_CHECKING:
    from service.client.media_client import MediaClient

T = TypeVar("T")

NO_DETAILS = FileDetails()
# At most: the service may want fewer on a slow network.
FILES_AT_ONCE = 3
# So long nobody touches the entries of a process that was killed.
LEASE_S = 5.0


@dataclass(frozen=True, slots=True)
class QueuedFile:
    """A file in the queue: QUEUED, SENDING (by any process), FAILED, and then why, or SENT, as `media_id`, if kept.

    `byte_size` once it was read.
    """

    id: int
    path: Path
    purpose: str
    status: str
    byte_size: int | None
    error_code: str | None
    error_message: str | None
    media_id: str | None

    @property
    def is_final(self) -> bool:
        """Whether it failed for what it is, e.g. of no type that is taken: no later try does better."""
        return self.status == FAILED and self.error_code in FINAL


class UploadQueue:
    """Use as an asynchronous context manager. Processes may share one: each file is sent by one of them at a time."""

    def __init__(self, path: Path, *, lease_s: float = LEASE_S) -> None:
        """Opens or makes the file at `path`. Raises UnusableQueue."""
        self._path = path
        self._lease_s = lease_s
        # One call at a time on the one connection, in order even if their callers are cancelled.
        self._thread = ThreadPoolExecutor(1, "upload-queue")
        try:
            self._rows = QueueRows(path)
        except sqlite3.Error as error:
            raise _unusable(path, error) from error

    async def __aenter__(self) -> UploadQueue:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._call(self._rows.close)
        self._thread.shutdown()

    async def enqueue(
        self,
        paths: Sequence[Path],
        *,
        purpose: str,
        visibility: str | None = None,
        capture_id: str | None = None,
        details: FileDetails = NO_DETAILS,
        titles_from_names: bool = False,
    ) -> None:
        """Keep files for uploading. On disk when this returns; nothing is read or sent yet.

        The same file for the same purpose, with the same details, waits once; if it had failed it is tried again.
        `capture_id` makes one capture of them, as for `MediaClient.create_uploads`; without it each is its own.
        """
        wish = Wish(
            purpose=purpose,
            visibility=visibility,
            capture_id=capture_id,
            details=details,
            titles_from_names=titles_from_names,
        )
        absolute = [path.absolute() for path in paths]
        await self._call(lambda: self._rows.add(absolute, wish))

    async def run(
        self,
        client: MediaClient,
        *,
        files_at_once: int = FILES_AT_ONCE,
        keep_sent: bool = False,
        on_progress: OnProgress = lambda progress: None,
    ) -> list[UploadResult]:
        """Upload until nothing is left but what failed; one result a file that this call has seen to its end.

        Waits for as long as the API or storage do not answer, and for files that another process is sending.
        A file is removed once storage and service have confirmed it (it may not be READY yet: see `see_ready`); with
        `keep_sent` it stays as SENT until `forget`, so that a process that dies first owes nobody an answer.
        Raises ApiError, and leaves everything queued, where the API takes no requests from this client at all.
        """
        run = QueueRun(
            client, self._rows, self._call, lease_s=self._lease_s, keep_sent=keep_sent, on_progress=on_progress
        )
        return await run.drain(files_at_once)

    async def status(self) -> list[QueuedFile]:
        """What is in the queue, oldest first."""
        return [_queued(entry) for entry in await self._call(self._rows.entries)]

    async def retry(self, ids: Sequence[int] | None = None) -> int:
        """Let failed files be tried again by the next `run`, all of them unless `ids` says which; how many."""
        return await self._call(lambda: self._rows.retry(ids))

    async def forget(self, ids: Sequence[int]) -> int:
        """Remove files that are not being sent; how many. What was begun runs out by itself."""
        return await self._call(lambda: self._rows.forget(ids))

    async def _call(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except sqlite3.Error as error:
            raise _unusable(self._path, error) from error


def _queued(entry: Entry) -> QueuedFile:
    status = SENDING if entry.state == QUEUED and entry.is_leased else entry.state
    size = None if entry.file is None else entry.file.byte_size
    why = entry.error_code, entry.error_message
    return QueuedFile(entry.id, entry.path, entry.wish.purpose, status, size, *why, entry.media_id)


def _unusable(path: Path, error: sqlite3.Error) -> UnusableQueue:
    return UnusableQueue(f"The queue {shown(path)} cannot be used: {error}.")
