"""All steps of an upload, for any number of files: batches of sessions, a few transfers at once, one result each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from service.client.answers import FileDetails, OwnedMedia, UploadPolicy, UploadSession
from service.client.errors import ClientError, UnusableFile
from service.client.local_file import LocalFile, inspect_file
from service.client.readiness import await_ready, watch
from service.client.sending import send_and_complete
from service.client.tracking import OnProgress, TrackedFile, UploadResult

if TYPE_CHECKING:
    from service.client.media_client import MediaClient

BATCH_FILES = 20


@dataclass(frozen=True, slots=True)
class UploadRequest:
    """What holds for all files. `patience_s`: how long to wait for each media once its bytes are up."""

    purpose: str
    visibility: str | None
    capture_id: str | None
    details: FileDetails
    titles_from_names: bool
    idempotency_key: str
    patience_s: float


@dataclass(frozen=True, slots=True)
class _Opened:
    tracked: TrackedFile
    file: LocalFile
    session: UploadSession


async def upload_all(
    client: MediaClient, paths: Sequence[Path], request: UploadRequest, on_progress: OnProgress
) -> list[UploadResult]:
    """One result a path, in order. Sessions are opened batch by batch: they run out while nobody sends."""
    files = [TrackedFile(index, path, on_progress) for index, path in enumerate(paths)]
    async with asyncio.TaskGroup() as processing:
        for start in range(0, len(files), BATCH_FILES):
            batch = files[start : start + BATCH_FILES]
            try:
                opened = await _open_batch(client, batch, request, f"{request.idempotency_key}-{start // BATCH_FILES}")
                pace = await client.pace(request.purpose)
            except ClientError as error:
                # The API took none of these; it would not take the rest either.
                for file in files[start:]:
                    if file.error is None:
                        file.refuse(error)
                break
            known = [file for file in batch if file.media_id is not None]
            if known:
                sent = asyncio.Event()
                processing.create_task(_see_through(client, known, opened, request.patience_s, pace, sent))
                await sent.wait()
    return [file.result() for file in files]


async def _open_batch(
    client: MediaClient, batch: Sequence[TrackedFile], request: UploadRequest, key: str
) -> list[_Opened]:
    readable = [(tracked, file) for tracked in batch if (file := await _inspected(tracked)) is not None]
    if not readable:
        return []
    outcomes = await client.create_uploads(
        [file for _, file in readable],
        purpose=request.purpose,
        idempotency_key=key,
        visibility=request.visibility,
        capture_id=request.capture_id,
        details=request.details,
        titles_from_names=request.titles_from_names,
    )
    opened = []
    for (tracked, file), outcome in zip(readable, outcomes, strict=True):
        match outcome:
            case ClientError():
                tracked.refuse(outcome)
            case OwnedMedia():
                tracked.recognise(outcome.id)
            case UploadSession():
                tracked.media_id = outcome.media_id
                opened.append(_Opened(tracked, file, outcome))
    return opened


async def _inspected(tracked: TrackedFile) -> LocalFile | None:
    try:
        file = await inspect_file(tracked.path)
    except UnusableFile as error:
        tracked.refuse(error)
        return None
    tracked.measured(file.byte_size)
    return file


async def _see_through(
    client: MediaClient,
    known: Sequence[TrackedFile],
    opened: Sequence[_Opened],
    patience_s: float,
    pace: UploadPolicy,
    sent: asyncio.Event,
) -> None:
    """Send what is to be sent and wait until all have ended; `sent` is set in between."""
    slots = asyncio.Semaphore(pace.max_concurrent_uploads)
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watch(client, known))
        await asyncio.gather(*(_send(client, each, pace.max_concurrent_parts, slots) for each in opened))
        sent.set()
        await asyncio.gather(*(await_ready(file, patience_s) for file in known if file.error is None))
        watching.cancel()


async def _send(client: MediaClient, opened: _Opened, parts_at_once: int, slots: asyncio.Semaphore) -> None:
    async with slots:
        try:
            await send_and_complete(client, opened.session, opened.file, opened.tracked, parts_at_once=parts_at_once)
        except ClientError as error:
            opened.tracked.refuse(error)
