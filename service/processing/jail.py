"""The jail, from outside: a file goes in, a `ProcessedFile` or a clear failure comes out."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from pydantic import ValidationError

from service.errors import FailureCode, ProcessingFailed
from service.models import EmbeddedMetadata, Fingerprints, ProcessedFile, Receipt, Rendition, ViewImage
from service.processing.detect import agrees, sniff
from service.processing.fork_client import ForkClient, RunningJob, ServerGone
from service.processing.wire import (
    LENGTH_BYTES,
    MAX_HEADER_BYTES,
    REPLY,
    Crashed,
    Launch,
    Limits,
    Processed,
    ProcessingRequest,
    Refused,
    RenditionHeader,
    Reply,
    Request,
    Viewed,
    ViewRequest,
)

# So much more readily than what somebody waits for does the rest yield the processor: about ten to one.
_PATIENT_NICENESS = 10

# Fractions that add up to the whole may exceed it by the last bits.
_ROUNDING = 1e-9

_Result = TypeVar("_Result")


class Jail:
    """Decodes in confined child processes, `concurrency` at a time. Safe to call from many tasks of one loop.

    Urgent requests have as many places of their own, and run before all others on the processor: they wait for nobody.
    `memory_bytes` bounds a child's address space; `cpu_s` its CPU seconds on a picture and `wall_s` the seconds that
    somebody waits for it; `clip_cpu_s` its CPU seconds on a clip, of which it may take three times as many by the
    clock. `work` names the module that children run on pictures (see `forkserver.Work`), `clip_work` the one for what
    moves: it is loaded with the first that comes.
    """

    def __init__(
        self,
        *,
        memory_bytes: int,
        cpu_s: int,
        clip_cpu_s: int = 300,
        wall_s: float = 60,
        concurrency: int | None = None,
        work: str = "service.processing.pipeline",
        clip_work: str = "service.processing.clip_pipeline",
    ) -> None:
        self._limits = Limits(memory_bytes=memory_bytes, cpu_s=cpu_s)
        self._clip_limits = Limits(memory_bytes=memory_bytes, cpu_s=clip_cpu_s)
        self._wall_s = wall_s
        self._work = work
        self._clip_work = clip_work
        self._slots = {urgent: asyncio.Semaphore(concurrency or os.cpu_count() or 1) for urgent in (True, False)}
        self._starting = asyncio.Lock()
        self._servers: dict[str, ForkClient] = {}
        self._closed = False

    async def start(self) -> None:
        """Warm up. ConfigurationError, with what to install, where no child can be confined."""
        await self._running_server(self._work)

    async def close(self) -> None:
        """End the fork servers, for good; jobs still running or waiting fail, retryable."""
        self._closed = True
        for work in tuple(self._servers):
            await self._stop_server(work)

    async def __aenter__(self) -> Jail:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def process(self, path: Path, request: ProcessingRequest) -> ProcessedFile:
        """Make of the file at `path` what `request` asks. ProcessingFailed says why not, and whether to try again."""
        limits = self._clip_limits if request.moves else self._limits
        wall_s = 3 * limits.cpu_s if request.moves else self._wall_s
        launch = Launch(limits=limits, niceness=0 if request.urgent else _PATIENT_NICENESS)

        async def read(reply: asyncio.StreamReader, answer: Reply) -> ProcessedFile:
            if not isinstance(answer, Processed):
                raise _another_task()
            return await _read_renditions(reply, answer, request)

        return await self._run(path, request, launch, wall_s, read)

    async def view(self, path: Path, request: ViewRequest) -> ViewImage:
        """Show of the picture at `path` what `request` asks. Raises ProcessingFailed like `process`; waits for it."""

        async def read(reply: asyncio.StreamReader, answer: Reply) -> ViewImage:
            if not isinstance(answer, Viewed):
                raise _another_task()
            return await _read_view(reply, answer, request)

        launch = Launch(limits=self._limits, niceness=_PATIENT_NICENESS)
        return await self._run(path, request, launch, self._wall_s, read)

    async def _run(
        self, path: Path, request: Request, launch: Launch, wall_s: float, read: Callable[..., Awaitable[_Result]]
    ) -> _Result:
        urgent = isinstance(request, ProcessingRequest) and request.urgent
        work = self._clip_work if isinstance(request, ProcessingRequest) and request.moves else self._work
        async with self._slots[urgent]:
            server = await self._running_server(work)
            try:
                async with (
                    asyncio.timeout(wall_s),
                    server.job(path, launch, request.model_dump_json().encode()) as job,
                ):
                    return await _result(job, launch.limits, read)
            except TimeoutError as error:
                raise ProcessingFailed(
                    FailureCode.DECODE_LIMIT_EXCEEDED,
                    f"Processing the file took more than {wall_s:g} seconds.",
                    retryable=True,
                ) from error
            except ServerGone as error:
                if self._servers.get(work) is server:
                    await self._stop_server(work)
                raise _internal("the fork server ended during the job") from error

    async def _running_server(self, work: str) -> ForkClient:
        async with self._starting:
            if self._closed:
                raise _internal("the jail is closed")
            if work in self._servers and not self._servers[work].alive:
                await self._stop_server(work)
            if work not in self._servers:
                self._servers[work] = await ForkClient.start(self._limits, work)
            return self._servers[work]

    async def _stop_server(self, work: str) -> None:
        server = self._servers.pop(work, None)
        if server is not None:
            await server.close()


async def _result(job: RunningJob, limits: Limits, read: Callable[..., Awaitable[_Result]]) -> _Result:
    """What the child answers, as `read` understands the header and what follows it."""
    try:
        answer = await _read_header(job.reply)
        if isinstance(answer, Refused):
            raise ProcessingFailed(answer.failure, answer.message, quarantine=answer.quarantine)
        if isinstance(answer, Crashed):
            raise _internal(answer.detail)
        return await read(job.reply, answer)
    except asyncio.IncompleteReadError:
        raise _verdict(await job.exit_code(), limits) from None
    except ValidationError as error:
        # Only a decoder that is no longer ours writes this.
        raise _hostile("The file made its decoder answer nonsense.") from error


def _verdict(code: int, limits: Limits) -> ProcessingFailed:
    """What a child's end without an answer says about the file."""
    if code >= 0:
        return _internal(f"the jailed child ended with status {code}")
    if -code == signal.SIGXCPU:
        return _hostile(f"Decoding the file takes more than {limits.cpu_s} seconds.")
    if -code == signal.SIGKILL:
        return ProcessingFailed(
            FailureCode.DECODE_LIMIT_EXCEEDED,
            "The system ended the decoder, most likely for want of memory.",
            retryable=True,
        )
    return _hostile(f"The decoder broke on this file ({signal.Signals(-code).name}).")


def _hostile(message: str) -> ProcessingFailed:
    return ProcessingFailed(FailureCode.DECODE_LIMIT_EXCEEDED, message, quarantine=True)


def _internal(detail: str) -> ProcessingFailed:
    failure = ProcessingFailed(
        FailureCode.INTERNAL, "The picture could not be processed through a fault of ours.", retryable=True
    )
    failure.add_note(detail)
    return failure


def _another_task() -> ProcessingFailed:
    return _internal("the child did another task than it was given")


async def _read_header(reply: asyncio.StreamReader) -> Reply:
    length = int.from_bytes(await reply.readexactly(LENGTH_BYTES), "big")
    if length > MAX_HEADER_BYTES:
        raise _hostile("The file made its decoder answer without end.")
    return REPLY.validate_json(await reply.readexactly(length))


async def _read_renditions(reply: asyncio.StreamReader, answer: Processed, request: ProcessingRequest) -> ProcessedFile:
    content_type = answer.content_type or request.content_type
    if not (agrees(content_type, request.content_type) and _as_asked(answer.renditions, request)):
        raise _hostile("The file made its decoder answer something that was not asked.")
    renditions = []
    for header in answer.renditions:
        body = await reply.readexactly(header.bytes)
        if sniff(body) != header.format.content_type:
            raise _hostile("The file made its decoder answer something that is no picture.")
        renditions.append(Rendition(header.name, header.format, header.width, header.height, body))
    told, place = answer.metadata, (answer.metadata.latitude, answer.metadata.longitude)
    return ProcessedFile(
        content_type=content_type,
        width=answer.width,
        height=answer.height,
        renditions=tuple(renditions),
        frame_count=answer.frame_count,
        duration_ms=answer.duration_ms,
        fingerprints=None if answer.fingerprints is None else Fingerprints(**answer.fingerprints.model_dump()),
        metadata=EmbeddedMetadata(
            captured_at=told.captured_at,
            camera_make=told.camera_make,
            camera_model=told.camera_model,
            location=None if place[0] is None or place[1] is None else (place[0], place[1]),
        ),
        receipts=tuple(Receipt(**receipt.model_dump()) for receipt in answer.receipts),
    )


async def _read_view(reply: asyncio.StreamReader, answer: Viewed, request: ViewRequest) -> ViewImage:
    body, box = await reply.readexactly(answer.bytes), answer.box
    # PNG, section 11.2.2: the header chunk comes first, and begins with both sides.
    sides = (int.from_bytes(body[16:20], "big"), int.from_bytes(body[20:24], "big"))
    fractions = (box.x, box.y, box.width, box.height, box.x + box.width, box.y + box.height)
    if (
        sniff(body) != "image/png"
        or sides != (answer.width, answer.height)
        or max(sides) > request.max_side
        or not all(0 <= fraction <= 1 + _ROUNDING for fraction in fractions)
    ):
        raise _hostile("The file made its decoder show something that was not asked.")
    return ViewImage(body, answer.width, answer.height, box)


def _as_asked(headers: tuple[RenditionHeader, ...], request: ProcessingRequest) -> bool:
    wanted = [(policy.name, format_, policy.max_side) for policy in request.renditions for format_ in policy.formats]
    return len(headers) == len(wanted) and all(
        (header.name, header.format) == (name, format_) and max(header.width, header.height) <= max_side
        for header, (name, format_, max_side) in zip(headers, wanted, strict=True)
    )
