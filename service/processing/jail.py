"""The jail, from outside: a file goes in, a `ProcessedFile` or a clear failure comes out."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from pydantic import ValidationError

from service.errors import FailureCode, ProcessingFailed
from service.models import (
    BasePicture,
    ProcessedFile,
    ViewImage,
)
from service.processing.answers import another_task, hostile, internal, read_file, read_header, read_view, verdict
from service.processing.base_sizes import base_size
from service.processing.fork_client import ForkClient, RunningJob, ServerGone
from service.processing.memory_file import nameless_memory
from service.processing.wire import (
    BaseHeader,
    Crashed,
    Launch,
    Limits,
    Processed,
    ProcessingRequest,
    Refused,
    Reply,
    Request,
    Viewed,
    ViewRequest,
)

# So much more readily than what somebody waits for does the rest yield the processor: about ten to one.
_PATIENT_NICENESS = 10

_Result = TypeVar("_Result")


class Jail:
    """Decodes in confined child processes, `concurrency` at a time. Safe to call from many tasks of one loop.

    Urgent requests have as many places of their own, and run before all others on the processor: they wait for nobody.
    What moves takes minutes, so that it has half as many more (`places_for_clips`) and takes none of the pictures',
    except for what is urgent of it, which is held to the time of a picture.
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
        places = concurrency or os.cpu_count() or 1
        self._urgent, self._patient = asyncio.Semaphore(places), asyncio.Semaphore(places)
        self._clips = asyncio.Semaphore(places_for_clips(places))
        # One each: what moves takes longer to start, and pictures need not wait for that.
        self._starting: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
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
        lasting = request.moves and not request.urgent
        limits = self._clip_limits if lasting else self._limits
        wall_s = 3 * limits.cpu_s if lasting else self._wall_s
        launch = Launch(limits=limits, niceness=0 if request.urgent else _PATIENT_NICENESS)

        async def read(reply: asyncio.StreamReader, answer: Reply) -> ProcessedFile:
            if not isinstance(answer, Processed):
                raise another_task()
            return await read_file(reply, answer, request)

        return await self._run(path, request, launch, wall_s, read)

    async def process_base(self, base: BasePicture, request: ProcessingRequest) -> ProcessedFile:
        """The same from the base that an earlier job on the same original has handed out, and that `serves` it.

        Byte for byte what the original would give. What a file is besides its pixels is not told anew.
        """
        header = BaseHeader.model_validate({"mode": base.mode, "width": base.width, "height": base.height})
        with nameless_memory(base.pixels) as path:
            file = await self.process(path, request.model_copy(update={"base": header, "keep_base": False}))
        return replace(file, width=base.original_size[0], height=base.original_size[1])

    async def view(self, path: Path, request: ViewRequest) -> ViewImage:
        """Show of the picture at `path` what `request` asks. Raises ProcessingFailed like `process`; waits for it."""

        async def read(reply: asyncio.StreamReader, answer: Reply) -> ViewImage:
            if not isinstance(answer, Viewed):
                raise another_task()
            return await read_view(reply, answer, request)

        launch = Launch(limits=self._limits, niceness=_PATIENT_NICENESS)
        return await self._run(path, request, launch, self._wall_s, read)

    async def _run(
        self, path: Path, request: Request, launch: Launch, wall_s: float, read: Callable[..., Awaitable[_Result]]
    ) -> _Result:
        work = self._clip_work if isinstance(request, ProcessingRequest) and request.moves else self._work
        async with self._places_of(request):
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
                raise internal("the fork server ended during the job") from error

    def _places_of(self, request: Request) -> asyncio.Semaphore:
        if isinstance(request, ProcessingRequest):
            if request.urgent:
                return self._urgent
            if request.moves:
                return self._clips
        return self._patient

    async def _running_server(self, work: str) -> ForkClient:
        async with self._starting[work]:
            if work in self._servers and not self._servers[work].alive:
                await self._stop_server(work)
            if work not in self._servers and not self._closed:
                self._servers[work] = await ForkClient.start(self._limits, work)
            if self._closed:
                # Perhaps while it started.
                await self._stop_server(work)
                raise internal("the jail is closed")
            return self._servers[work]

    async def _stop_server(self, work: str) -> None:
        server = self._servers.pop(work, None)
        if server is not None:
            await server.close()


def places_for_clips(places: int) -> int:
    """How many clips are worked on beside pictures that have so many `places`."""
    return max(1, places // 2)


def serves(base: BasePicture, request: ProcessingRequest) -> bool:
    """Whether `request` asks only for what `base` gives as the original would: a base of another size would not."""
    return not request.moves and base_size(base.original_size, request.renditions) == (base.width, base.height)


async def _result(job: RunningJob, limits: Limits, read: Callable[..., Awaitable[_Result]]) -> _Result:
    """What the child answers, as `read` understands the header and what follows it."""
    try:
        answer = await read_header(job.reply)
        if isinstance(answer, Refused):
            raise ProcessingFailed(answer.failure, answer.message, quarantine=answer.quarantine)
        if isinstance(answer, Crashed):
            raise internal(answer.detail)
        return await read(job.reply, answer)
    except asyncio.IncompleteReadError:
        raise verdict(await job.exit_code(), limits) from None
    except ValidationError as error:
        # Only a decoder that is no longer ours writes this.
        raise hostile("The file made its decoder answer nonsense.") from error
