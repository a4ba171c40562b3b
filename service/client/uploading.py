"""All steps of an upload, for any number of files: batches of sessions, a few transfers at once, one result each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from service.client.answers import FileDetails, StatusUpdate, UploadSession
from service.client.errors import ClientError, NotReady, UnusableFile
from service.client.local_file import LocalFile, inspect_file
from service.lifecycle import AWAITING_BYTES, TERMINAL, MediaStatus

if TYPE_CHECKING:
    from service.client.media_client import MediaClient

BATCH_FILES = 20
TRANSFERS_AT_ONCE = 3
# Stages that only this side knows of; once the bytes are up, the API's own statuses.
WAITING, SENDING, REFUSED = "WAITING", "SENDING", "REFUSED"
STILL_PROCESSING = "STILL_PROCESSING"


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the file at `index` of those given is: WAITING, SENDING, REFUSED, or at a status of its media."""

    index: int
    path: Path
    status: str
    bytes_sent: int
    byte_size: int


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class UploadResult:
    """What became of one file: `media` is READY, unless `error` says why not. `is_sent`: storage has its bytes."""

    path: Path
    media_id: str | None = None
    media: StatusUpdate | None = None
    error: ClientError | None = None
    is_sent: bool = False


@dataclass(frozen=True, slots=True)
class UploadRequest:
    """What holds for all files. `patience_s`: how long to wait for each media once its bytes are up."""

    purpose: str
    visibility: str | None
    details: FileDetails
    titles_from_names: bool
    idempotency_key: str
    patience_s: float


@dataclass(slots=True)
class _Item:
    """One file on its way."""

    index: int
    path: Path
    on_progress: OnProgress
    status: str = WAITING
    bytes_sent: int = 0
    byte_size: int = 0
    media_id: str | None = None
    error: ClientError | None = None
    is_sent: bool = False
    ended: asyncio.Future[StatusUpdate] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def _report(self) -> None:
        self.on_progress(Progress(self.index, self.path, self.status, self.bytes_sent, self.byte_size))

    def measured(self, byte_size: int) -> None:
        self.byte_size = byte_size
        self._report()

    def sent(self, bytes_sent: int) -> None:
        self.bytes_sent = bytes_sent
        # Storage's event may be faster than its answer to the PUT.
        self.status = SENDING if self.status == WAITING else self.status
        self._report()

    def refuse(self, error: ClientError) -> None:
        self.error, self.status = error, REFUSED
        self._report()

    def follow(self, update: StatusUpdate) -> None:
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
        media = None if self.error is not None else self.ended.result()
        return UploadResult(self.path, self.media_id, media, self.error, self.is_sent)


@dataclass(frozen=True, slots=True)
class _Opened:
    item: _Item
    file: LocalFile
    session: UploadSession


async def upload_all(
    client: MediaClient, paths: Sequence[Path], request: UploadRequest, on_progress: OnProgress
) -> list[UploadResult]:
    """One result a path, in order. Sessions are opened batch by batch: they run out while nobody sends."""
    items = [_Item(index, path, on_progress) for index, path in enumerate(paths)]
    async with asyncio.TaskGroup() as processing:
        for start in range(0, len(items), BATCH_FILES):
            key = f"{request.idempotency_key}-{start // BATCH_FILES}"
            try:
                opened = await _open_batch(client, items[start : start + BATCH_FILES], request, key)
            except ClientError as error:
                # The API took none of these; it would not take the rest either.
                for item in items[start:]:
                    if item.error is None:
                        item.refuse(error)
                break
            if opened:
                sent = asyncio.Event()
                processing.create_task(_see_through(client, opened, request.patience_s, sent))
                await sent.wait()
    return [item.result() for item in items]


async def _open_batch(client: MediaClient, batch: Sequence[_Item], request: UploadRequest, key: str) -> list[_Opened]:
    readable = [(item, file) for item in batch if (file := await _inspected(item)) is not None]
    if not readable:
        return []
    outcomes = await client.create_uploads(
        [file for _, file in readable],
        purpose=request.purpose,
        idempotency_key=key,
        visibility=request.visibility,
        details=request.details,
        titles_from_names=request.titles_from_names,
    )
    opened = []
    for (item, file), outcome in zip(readable, outcomes, strict=True):
        if isinstance(outcome, ClientError):
            item.refuse(outcome)
        else:
            item.media_id = outcome.media_id
            opened.append(_Opened(item, file, outcome))
    return opened


async def _inspected(item: _Item) -> LocalFile | None:
    try:
        file = await inspect_file(item.path)
    except UnusableFile as error:
        item.refuse(error)
        return None
    item.measured(file.byte_size)
    return file


async def _see_through(client: MediaClient, opened: Sequence[_Opened], patience_s: float, sent: asyncio.Event) -> None:
    """Send all and wait until all have ended; `sent` is set in between."""
    slots = asyncio.Semaphore(TRANSFERS_AT_ONCE)
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(_watch(client, opened))
        await asyncio.gather(*(_send(client, each, slots) for each in opened))
        sent.set()
        await asyncio.gather(*(_await_ready(each.item, patience_s) for each in opened if each.item.error is None))
        watching.cancel()


async def _watch(client: MediaClient, opened: Sequence[_Opened]) -> None:
    items = {each.session.media_id: each.item for each in opened}
    try:
        async with aclosing(client.follow(list(items))) as updates:
            async for update in updates:
                items[update.media_id].follow(update)
    except ClientError as error:
        for item in items.values():
            item.lose(error)


async def _send(client: MediaClient, opened: _Opened, slots: asyncio.Semaphore) -> None:
    async with slots:
        try:
            await client.send(opened.session, opened.file, on_bytes=opened.item.sent)
            opened.item.is_sent = True
            await client.complete(opened.session.id)
        except ClientError as error:
            opened.item.refuse(error)


async def _await_ready(item: _Item, patience_s: float) -> None:
    try:
        update = await _ended(item, patience_s)
    except ClientError as error:
        item.refuse(error)
    else:
        if update.status != MediaStatus.READY:
            item.refuse(_not_ready(update))


async def _ended(item: _Item, patience_s: float) -> StatusUpdate:
    try:
        async with asyncio.timeout(patience_s):
            return await item.ended
    except TimeoutError:
        message = (
            f"The bytes are up, but the media is still {item.status} after {patience_s:g} s; "
            "it may become READY without any help. Look at it later."
        )
        raise NotReady(STILL_PROCESSING, message, retryable=True) from None


def _not_ready(update: StatusUpdate) -> NotReady:
    failure = update.failure
    if failure is None:
        return NotReady(update.status, f"The media ended as {update.status}.")
    return NotReady(failure.code, failure.message, retryable=failure.retryable)
