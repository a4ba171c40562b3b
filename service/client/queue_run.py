"""One process at work on an upload queue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol, TypeVar
from uuid import uuid4
from weakref import WeakValueDictionary

from service.client.answers import OwnedMedia, UploadPolicy, UploadSession
from service.client.errors import (
    EXPIRED,
    INCOMPLETE,
    NO_SUCH_UPLOAD,
    ClientError,
    FileChanged,
    InvalidConnection,
    StorageRefused,
    UnusableQueue,
)
from service.client.local_file import LocalFile, inspect_file, shown
from service.client.queue_rows import Entry, QueueRows
from service.client.sending import abandon, send_and_complete
from service.client.tracking import OnProgress, TrackedFile, UploadResult

if TYPE_CHECKING:
    from service.client.media_client import MediaClient

T = TypeVar("T")

# Pauses of one file, in seconds, while it cannot be sent; the last one repeats.
PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
# How often to look for what other processes leave.
POLL_S = 1.0
# The session is gone from the API, or its parts from storage.
SESSION_OVER = (EXPIRED, NO_SUCH_UPLOAD)
RESTARTS = 3
# These are about who asks or where: every other file would fare the same.
ABOUT_THE_CALLER = ("UNAUTHENTICATED", "NOT_PERMITTED", "NOT_GRAPHQL", "PROTOCOL_ERROR")


class InTurn(Protocol):
    """Runs a call on the rows off the event loop."""

    def __call__(self, work: Callable[[], T]) -> Awaitable[T]: ...


class QueueRun:
    """Claims entries under leases, sends them, and writes down what became of each before going on."""

    def __init__(
        self,
        client: MediaClient,
        rows: QueueRows,
        in_turn: InTurn,
        *,
        lease_s: float,
        keep_sent: bool,
        on_progress: OnProgress,
    ) -> None:
        self._client = client
        self._rows = rows
        self._in_turn = in_turn
        self._lease_s = lease_s
        self._keep_sent = keep_sent
        self._on_progress = on_progress
        self._owner = uuid4().hex
        self._sending: dict[int, asyncio.Task[None]] = {}
        self._results: dict[int, UploadResult] = {}
        self._refusal: ClientError | None = None
        self._slots: asyncio.Semaphore | None = None
        self._contents: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def drain(self, files_at_once: int) -> list[UploadResult]:
        """See `UploadQueue.run`. Cancelled, it gives its entries back."""
        try:
            async with asyncio.TaskGroup() as group:
                renewing = group.create_task(self._keep_leases())
                await asyncio.gather(*(self._work() for _ in range(files_at_once)))
                renewing.cancel()
        except ExceptionGroup as failed:
            # The queue itself cannot be used, which ends all that was under way.
            raise failed.exceptions[0] from None
        finally:
            await asyncio.shield(self._in_turn(lambda: self._rows.release(self._owner)))
        if self._refusal is not None:
            raise self._refusal
        return [self._results[entry_id] for entry_id in sorted(self._results)]

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 3)
            held = await self._in_turn(lambda: self._rows.renew(self._owner, self._lease_s))
            # After a long sleep of this machine another process may have taken them.
            for entry_id, task in self._sending.items():
                if entry_id not in held:
                    task.cancel()

    async def _work(self) -> None:
        while self._refusal is None:
            entry = await self._in_turn(lambda: self._rows.claim(self._owner, self._lease_s))
            if entry is not None:
                await self._handle(entry)
                continue
            due_in = await self._in_turn(lambda: self._rows.due_in(self._owner))
            if due_in is None:
                return
            await asyncio.sleep(min(max(due_in, 0.01), POLL_S))

    async def _handle(self, entry: Entry) -> None:
        sending = self._sending[entry.id] = asyncio.create_task(self._see_to(entry))
        try:
            await asyncio.wait([sending])
        finally:
            if not sending.done():
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
            self._sending.pop(entry.id, None)
        if not sending.cancelled():
            sending.result()

    async def _see_to(self, entry: Entry) -> None:
        tracked = TrackedFile(entry.id, entry.path, self._on_progress)
        try:
            await self._send(entry, tracked)
        except ClientError as error:
            self._sending.pop(entry.id, None)
            await self._note_failure(entry, tracked, error)
        else:
            # From here on a lease that is gone is one that was given back.
            self._sending.pop(entry.id, None)
            if self._keep_sent:
                await self._in_turn(lambda: self._rows.keep_sent(entry.id, self._owner, tracked.media_id))
            else:
                await self._in_turn(lambda: self._rows.remove(entry.id, self._owner))
            self._results[entry.id] = tracked.result()

    async def _send(self, entry: Entry, tracked: TrackedFile) -> None:
        file = await self._file_of(entry)
        tracked.measured(file.byte_size)
        # The same bytes under two names: once the first are up, the service needs the second no more.
        async with self._contents.setdefault(file.sha256, asyncio.Lock()):
            await self._upload(entry, file, tracked)

    async def _upload(self, entry: Entry, file: LocalFile, tracked: TrackedFile) -> None:
        [outcome] = await self._client.create_uploads(
            [file],
            purpose=entry.wish.purpose,
            idempotency_key=entry.idempotency_key,
            visibility=entry.wish.visibility,
            capture_id=entry.wish.capture_id,
            details=entry.wish.details,
            titles_from_names=entry.wish.titles_from_names,
        )
        match outcome:
            case OwnedMedia():
                tracked.recognise(outcome.id)
            case UploadSession():
                tracked.media_id = outcome.media_id
                await self._in_turn(lambda: self._rows.note_session(entry.id, outcome.id))
                pace = await self._client.pace(entry.wish.purpose)
                async with self._slots_of(pace):
                    await send_and_complete(
                        self._client, outcome, file, tracked, parts_at_once=pace.max_concurrent_parts
                    )
            case _:
                raise outcome

    def _slots_of(self, pace: UploadPolicy) -> asyncio.Semaphore:
        # One machine has one network, whatever its files are for.
        if self._slots is None:
            self._slots = asyncio.Semaphore(pace.max_concurrent_uploads)
        return self._slots

    async def _file_of(self, entry: Entry) -> LocalFile:
        """The file as it was announced, or will be. Raises FileChanged if it is another since then."""
        if entry.file is None:
            file = await inspect_file(entry.path)
            await self._in_turn(lambda: self._rows.note_file(entry.id, file))
            return file
        if entry.file.is_unchanged():
            return entry.file
        if entry.upload_id is not None:
            await abandon(self._client, entry.upload_id)
        raise FileChanged(f"{shown(entry.path)} changed before it was uploaded; upload it again.")

    async def _note_failure(self, entry: Entry, tracked: TrackedFile, error: ClientError) -> None:
        if error.code in ABOUT_THE_CALLER or isinstance(error, InvalidConnection | UnusableQueue):
            self._refusal = error
        elif error.retryable and error.code != INCOMPLETE:
            pause_s = PAUSES_S[min(entry.failures, len(PAUSES_S) - 1)]
            tracked.postpone()
            await self._in_turn(lambda: self._rows.postpone(entry.id, self._owner, pause_s))
        elif error.code in SESSION_OVER and entry.restarts < RESTARTS:
            await self._in_turn(lambda: self._rows.begin_anew(entry.id, self._owner))
        else:
            await self._fail(entry, tracked, error)

    async def _fail(self, entry: Entry, tracked: TrackedFile, error: ClientError) -> None:
        if not isinstance(error, StorageRefused):
            # What the API has refused it has also remembered under this key.
            await self._in_turn(lambda: self._rows.renew_request(entry.id, self._owner))
        await self._in_turn(lambda: self._rows.fail(entry.id, self._owner, error))
        tracked.refuse(error)
        self._results[entry.id] = tracked.result()
