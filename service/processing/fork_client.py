"""The jail's end of the fork server: start it, hand it jobs, hang up on them."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes.util
import os
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from service.errors import ConfigurationError
from service.processing.wire import Launch, Limits

_READY: Final = b"ready"
_START_S: Final = 30
_STOP_S: Final = 5
_READ_AHEAD_BYTES: Final = 256 * 1024

_OWN_FILES = Path("/proc/self/fd")


class ServerGone(Exception):
    """The fork server ended before the job did: killed, out of memory, or closed."""


class RunningJob:
    """One confined child, while it runs."""

    def __init__(self, reply: asyncio.StreamReader, line: socket.socket) -> None:
        self.reply = reply
        self._line = line

    async def exit_code(self) -> int:
        """Wait for the child's end; negative is the signal that ended it. ServerGone if nobody can tell any more."""
        status = await asyncio.get_running_loop().sock_recv(self._line, 16)
        if not status:
            raise ServerGone
        return int(status)


class ForkClient:
    """A running fork server. Use `start`."""

    def __init__(self, process: Process, control: socket.socket) -> None:
        self._process = process
        self._control = control

    @classmethod
    async def start(cls, limits: Limits, work: str) -> ForkClient:
        """Launch and wait until it is warm. ConfigurationError if this machine cannot confine a child."""
        if await asyncio.to_thread(ctypes.util.find_library, "seccomp") is None:
            raise ConfigurationError(
                "Pictures cannot be decoded safely: libseccomp is missing. Install it (Debian, Ubuntu: "
                "apt-get install libseccomp2) and start again."
            )
        control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        control.settimeout(0)
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-s", "-m", "service.processing.forkserver"),
                *(str(theirs.fileno()), limits.model_dump_json(), work),
                stdin=DEVNULL,
                stdout=DEVNULL,
                env=bare_environment(),
                pass_fds=(theirs.fileno(),),
                # Ctrl-C in a terminal is for the worker, which lets its jobs end.
                start_new_session=True,
            )
        client = cls(process, control)
        await client._wait_until_ready()
        return client

    async def _wait_until_ready(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_START_S):
                greeting = await loop.sock_recv(self._control, len(_READY))
        except TimeoutError:
            greeting = b""
        if greeting != _READY:
            await self.close()
            raise ConfigurationError(
                f"The image jail did not start (exit status {self._process.returncode}); its own words are above, on "
                "stderr. It needs Linux 5.3 or later with seccomp filters, and room for its memory limit."
            )

    @property
    def alive(self) -> bool:
        """Whether it can take jobs, as far as is known."""
        return self._process.returncode is None and self._control.fileno() >= 0

    @contextlib.asynccontextmanager
    async def job(self, path: Path, launch: Launch, request: bytes) -> AsyncIterator[RunningJob]:
        """Run one job on the file at `path` as `launch` says; leaving the block kills the child if it still runs."""
        readable, writable = os.pipe()
        output = os.fdopen(readable, "rb", 0)
        line, their_line = socket.socketpair()
        with line, their_line:
            try:
                self._send(path, launch.model_dump_json().encode() + b"\n" + request, writable, their_line)
            except BaseException:
                output.close()
                raise
            finally:
                os.close(writable)
                their_line.close()
            line.settimeout(0)
            reply = asyncio.StreamReader(limit=_READ_AHEAD_BYTES)
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(reply), output
            )
            try:
                yield RunningJob(reply, line)
            finally:
                transport.close()

    def _send(self, path: Path, message: bytes, reply: int, line: socket.socket) -> None:
        # A file of ours without a name is reached through a link of the kernel's; nobody else can put one there.
        follow = 0 if path.parent == _OWN_FILES else os.O_NOFOLLOW
        source = os.open(path, os.O_RDONLY | follow | os.O_CLOEXEC)
        try:
            socket.send_fds(self._control, [message], [source, reply, line.fileno()])
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ServerGone from error
        finally:
            os.close(source)

    async def close(self) -> None:
        """Hang up, which ends the server and its children; insist after a few seconds."""
        self._control.close()
        try:
            async with asyncio.timeout(_STOP_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


def bare_environment() -> dict[str, str]:
    """For Python in a process that may be taken over: none of ours, it must find no secret. One thread, as confined
    processes start no other.
    """
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    return {"PYTHONPATH": path, "LC_ALL": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
